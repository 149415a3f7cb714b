//! Where something stood.

use std::fmt;

/// JSON pointer to where something stood in a body. Most are never told, so that one of few steps is kept as these and is written when
/// somebody asks.
#[derive(Debug, Clone)]
pub struct Origin(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Written(String),
    /// `/{list}/{item}/{member}/{part}`, as far as they are there.
    Steps {
        list: &'static str,
        item: Option<u32>,
        member: Option<&'static str>,
        part: Option<u32>,
    },
}

impl Origin {
    /// The item of a list in the body.
    #[inline]
    pub fn of_item(list: &'static str, index: usize) -> Self {
        Self(Repr::Steps { list, item: Some(number(index)), member: None, part: None })
    }

    /// That of a text in the member `content` of a turn, which is an item of `list`: the whole member, or one of its parts.
    #[inline]
    pub fn of_text(list: &'static str, turn: usize, content: &'static str, part: Option<usize>) -> Self {
        let (item, member) = (Some(number(turn)), Some(content));
        Self(Repr::Steps { list, item, member, part: part.map(number) })
    }

    /// The member `key` of what stands here; of several keys with slashes between them each is in the one before.
    pub fn member(&self, key: &'static str) -> Self {
        Self(match self.0 {
            Repr::Written(ref pointer) if pointer.is_empty() => {
                Repr::Steps { list: key, item: None, member: None, part: None }
            }
            Repr::Steps { list, item, member: None, part: None } => {
                Repr::Steps { list, item, member: Some(key), part: None }
            }
            Repr::Written(ref pointer) => Repr::Written([pointer, "/", key].concat()),
            Repr::Steps { .. } => Repr::Written(format!("{self}/{key}")),
        })
    }

    /// The item of the list that stands here.
    pub fn item(&self, index: usize) -> Self {
        Self(match self.0 {
            Repr::Steps { list, item: None, member: None, part: None } => {
                Repr::Steps { list, item: Some(number(index)), member: None, part: None }
            }
            Repr::Steps { list, item, member: member @ Some(_), part: None } => {
                Repr::Steps { list, item, member, part: Some(number(index)) }
            }
            _ => Repr::Written(format!("{self}/{index}")),
        })
    }
}

/// An index as it is kept. No body has more items than that holds; where a provider tells a number that is larger, the largest stands for it.
#[inline]
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The body itself.
impl Default for Origin {
    fn default() -> Self {
        Self(Repr::Written(String::new()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Written(pointer) => formatter.write_str(pointer),
            Repr::Steps { list, item, member, part } => {
                write!(formatter, "/{list}")?;
                item.iter().try_for_each(|item| write!(formatter, "/{item}"))?;
                member.iter().try_for_each(|member| write!(formatter, "/{member}"))?;
                part.iter().try_for_each(|part| write!(formatter, "/{part}"))
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
            Repr::Steps { .. } => origin.to_string(),
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
        let message = Origin::of_item("messages", 2);
        for (origin, pointer) in [
            (Origin::default(), ""),
            (Origin::default().member("messages"), "/messages"),
            (message.clone(), "/messages/2"),
            (Origin::of_text("messages", 2, "content", None), "/messages/2/content"),
            (Origin::of_text("contents", 0, "parts", Some(13)), "/contents/0/parts/13"),
            (message.member("tool_calls").item(1).member("function"), "/messages/2/tool_calls/1/function"),
            (message.member("a/b").item(1).item(3), "/messages/2/a/b/1/3"),
            (message.item(3), "/messages/2/3"),
            (Origin::from("/x").member("y").item(4), "/x/y/4"),
            (Origin::default().member("x").member("y"), "/x/y"),
        ] {
            assert_eq!(origin.to_string(), pointer);
            assert_eq!(origin, Origin::from(pointer));
            assert_ne!(origin, Origin::from("/messages/1"));
            assert_eq!(String::from(origin), pointer);
        }
    }
}
