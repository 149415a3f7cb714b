//! Where something stood.

use std::fmt;

/// JSON pointer to where something stood in the source body. Most are never told, so that of a turn's text is kept as the numbers in it
/// and is written when somebody asks.
#[derive(Debug, Clone)]
pub struct Origin(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Written(String),
    Text { list: &'static str, turn: usize, content: &'static str, part: Option<usize> },
}

impl Origin {
    /// That of a text in the member `content` of a turn, which is an item of `list`: the whole member, or one of its parts.
    pub fn of_text(list: &'static str, turn: usize, content: &'static str, part: Option<usize>) -> Self {
        Self(Repr::Text { list, turn, content, part })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Written(pointer) => formatter.write_str(pointer),
            Repr::Text { list, turn, content, part: None } => write!(formatter, "/{list}/{turn}/{content}"),
            Repr::Text { list, turn, content, part: Some(part) } => {
                write!(formatter, "/{list}/{turn}/{content}/{part}")
            }
        }
    }
}

impl From<String> for Origin {
    fn from(pointer: String) -> Self {
        Self(Repr::Written(pointer))
    }
}

impl From<&str> for Origin {
    fn from(pointer: &str) -> Self {
        Self(Repr::Written(pointer.to_owned()))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin.0 {
            Repr::Written(pointer) => pointer,
            Repr::Text { .. } => origin.to_string(),
        }
    }
}

impl From<&Origin> for String {
    fn from(origin: &Origin) -> Self {
        origin.to_string()
    }
}

/// Those that are written alike are equal.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Origin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_a_pointer() {
        for (origin, pointer) in [
            (Origin::of_text("messages", 2, "content", None), "/messages/2/content"),
            (Origin::of_text("contents", 0, "parts", Some(13)), "/contents/0/parts/13"),
        ] {
            assert_eq!(origin.to_string(), pointer);
            assert_eq!(origin, Origin::from(pointer));
            assert_ne!(origin, Origin::from("/messages/2"));
            assert_eq!(String::from(origin), pointer);
        }
    }
}
