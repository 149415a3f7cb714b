//! Places in sources: lines and columns, and how they are found again by the path of a field.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A place in a source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The path of a field while a tree is walked: each step borrows the one before it.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) if is_plain(key) => f.write_str(key),
            Path::Key(parent, key) if is_plain(key) => write!(f, "{parent}.{key}"),
            Path::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Whether a key can stand in a path without quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The positions of a value and of everything in it, without the values themselves, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) inner: Inner,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inner {
    Nothing,
    Items(Vec<Place>),
    Members(Vec<(String, Place)>),
}

impl Place {
    /// The position of what `path` names, or of the nearest thing around it that exists.
    fn find(&self, path: &str) -> Position {
        let mut place = self;
        for step in Steps(path) {
            let inner = match (&place.inner, step) {
                (Inner::Items(items), Step::Index(index)) => items.get(index),
                (Inner::Members(members), Step::Key(key)) => {
                    members.iter().find(|member| member.0 == key).map(|member| &member.1)
                }
                _ => None,
            };
            match inner {
                Some(inner) => place = inner,
                None => break,
            }
        }
        place.position
    }
}

enum Step {
    Key(String),
    Index(usize),
}

/// Takes a path such as `spec.rules[0].name` or `metadata.annotations["a.b/c"]` apart. Ends at the first mistake.
struct Steps<'a>(&'a str);

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let rest = self.0.strip_prefix('.').unwrap_or(self.0);
        if let Some(quoted) = rest.strip_prefix('[').filter(|rest| rest.starts_with('"')) {
            let mut keys = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let key = keys.next()?.ok()?;
            self.0 = quoted.get(keys.byte_offset()..)?.strip_prefix(']')?;
            return Some(Step::Key(key));
        }
        if let Some(index) = rest.strip_prefix('[') {
            let (index, rest) = index.split_once(']')?;
            self.0 = rest;
            return Some(Step::Index(index.parse().ok()?));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        (!key.is_empty()).then(|| Step::Key(key.to_owned()))
    }
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq)]
struct Origin {
    file: Arc<str>,
    place: Arc<Place>,
}

impl<T> Located<T> {
    /// A value that was written nowhere, such as one that comes from an API.
    pub fn nowhere(value: T) -> Self {
        Self { value, origin: None }
    }

    pub(crate) fn new(value: T, file: &Arc<str>, place: Place) -> Self {
        Self { value, origin: Some(Origin { file: Arc::clone(file), place: Arc::new(place) }) }
    }

    /// The name of the source that it was written in.
    pub fn file(&self) -> Option<&str> {
        self.origin.as_ref().map(|origin| &*origin.file)
    }

    /// Where the field at `path` was written, or the nearest thing around it: `spec.rules[0].name`, or the whole
    /// value for the empty path. `None` when the value was written nowhere.
    pub fn position(&self, path: &str) -> Option<Position> {
        self.origin.as_ref().map(|origin| origin.place.find(path))
    }

    /// Another value from the same place, such as a reference to a part of this one.
    pub fn with<U>(&self, value: U) -> Located<U> {
        Located { value, origin: self.origin.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, inner: Inner) -> Place {
        Place { position: Position { line, column: 1 }, inner }
    }

    #[test]
    fn finds_fields_by_path_and_else_what_is_around_them() {
        let annotations = at(4, Inner::Members(vec![("a.b/c[0]\"".into(), at(5, Inner::Nothing))]));
        let items = at(2, Inner::Items(vec![at(3, Inner::Members(vec![("notes".into(), annotations)]))]));
        let tree = at(1, Inner::Members(vec![("items".into(), items)]));
        for (path, line) in [
            ("", 1),
            ("items", 2),
            ("items[0]", 3),
            ("items[1].notes", 2),
            ("items[0].notes", 4),
            ("items[0].absent.notes", 3),
            (r#"items[0].notes["a.b/c[0]\""]"#, 5),
            ("items[x", 2),
            ("[", 1),
        ] {
            assert_eq!(tree.find(path).line, line, "{path}");
        }
    }

    #[test]
    fn writes_paths_that_it_finds_again() {
        let (root, items) = (Path::Root, Path::Root.key("items"));
        let (first, odd) = (items.index(0), root.key("a.b/c"));
        assert_eq!(first.key("name").to_string(), "items[0].name");
        assert_eq!(odd.key("x").to_string(), r#"["a.b/c"].x"#);
    }
}
