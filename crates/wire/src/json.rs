//! One pass over a JSON text: proof that it is well formed, and where its members are. Nothing is copied.
//!
//! Gateway and provider must read the same request. So the whole text is validated (RFC 8259), and a key that stands
//! twice in the top two levels is refused: parsers differ in which one they believe.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

pub use self::cursor::{Apart, Cursor, Item};
pub use self::edit::{Edit, Path, edit, splice};
use self::scanner::{DEPTH_MAX, Ending, Scanner};
pub use self::text::Text;
pub use self::value::{Keys, Map, Number, Value};
pub use self::walk::{members, string_length};
pub use self::written::{Around, WrittenList};

mod cursor;
mod edit;
mod reader;
mod scanner;
mod text;
mod value;
mod value_serde;
mod walk;
mod written;

/// Bounds on a text.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deepest nesting of arrays and objects.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 128 }
    }
}

/// Why a text is refused. Offsets are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// Anything that JSON's grammar does not allow.
    #[error("expected {expected} at byte {at}")]
    Syntax {
        /// What would have been right.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// Nested deeper than the limit.
    #[error("nested too deep at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// Valid JSON, but not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// A key that stands twice in one of the top two levels.
    #[error("duplicate key {key:?} at byte {at}")]
    DuplicateKey {
        /// The key, unescaped.
        key: String,
        /// Where it stands for the second time.
        at: usize,
    },
    /// Something after the object.
    #[error("unexpected data after the object at byte {at}")]
    TrailingData {
        /// Where.
        at: usize,
    },
}

/// Where the members of an object are, and those of the objects directly inside it.
#[derive(Debug, Clone, Default)]
pub struct Object {
    members: Vec<Member>,
    inner: Vec<Member>,
    /// Offset just behind the opening brace.
    open: usize,
    /// Offset of the closing brace.
    close: usize,
    /// How many arrays and objects there are, itself included.
    containers: usize,
    /// Where its longer strings end, in the order of the text.
    endings: Vec<Ending>,
}

/// A text to be read into values, and what is known of it where it has been scanned.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    text: &'a Bytes,
    scanned: Option<&'a Object>,
}

/// One member. Ranges are into the scanned text.
#[derive(Debug, Clone)]
struct Member {
    /// The key between its quotes, as written.
    key: Range<usize>,
    value: Range<usize>,
    /// Its own members in `Object::inner`, if the value is an object.
    inner: Option<Range<usize>>,
}

/// Validates `text` and finds its members.
///
/// # Errors
/// When it is not one well-formed JSON object within `limits`, or a key stands twice in its top two levels.
pub fn scan(text: &[u8], limits: Limits) -> Result<Object, Malformed> {
    check_utf8(text)?;
    let mut scanner = Scanner::new(text, limits.depth_max.min(DEPTH_MAX));
    scanner.endings = Some(Vec::with_capacity(LONG_STRINGS));
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        scanner.value(0)?;
        return Err(Malformed::NotAnObject);
    }
    let mut object = Object::default();
    object.open = scanner.at + 1;
    object.members = scanner.object(1, &mut Some(&mut object.inner))?;
    object.close = scanner.at - 1;
    object.containers = scanner.containers;
    object.endings = scanner.endings.take().unwrap_or_default();
    scanner.skip_space();
    if scanner.at < text.len() {
        return Err(Malformed::TrailingData { at: scanner.at });
    }
    Ok(object)
}

/// Room for the endings of as many strings as a conversation of some turns has.
const LONG_STRINGS: usize = 32;

fn check_utf8(text: &[u8]) -> Result<(), Malformed> {
    if simdutf8::basic::from_utf8(text).is_ok() {
        return Ok(());
    }
    let at = simdutf8::compat::from_utf8(text).err().map_or(0, |error| error.valid_up_to());
    Err(Malformed::NotUtf8 { at })
}

impl<'a> Document<'a> {
    /// `text`, whose members [`scan`] has found: what it knows of the strings is not looked for again.
    pub fn scanned(text: &'a Bytes, object: &'a Object) -> Self {
        Self { text, scanned: Some(object) }
    }

    /// The text itself.
    pub fn text(&self) -> &'a Bytes {
        self.text
    }
}

/// A text of which nothing is known.
impl<'a> From<&'a Bytes> for Document<'a> {
    fn from(text: &'a Bytes) -> Self {
        Self { text, scanned: None }
    }
}

impl Object {
    /// How many arrays and objects the text has, at any depth.
    pub fn containers(&self) -> usize {
        self.containers
    }

    /// The value of `key` in `text`, the text that was scanned.
    pub fn get(&self, text: &[u8], key: &str) -> Option<Range<usize>> {
        find(&self.members, text, key).map(|member| member.value.clone())
    }

    /// Keys without their escapes and values of its members, in the order in which they stand in `text`.
    pub fn members<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = (Cow<'a, [u8]>, &'a [u8])> {
        self.members.iter().filter_map(|member| {
            Some((key_of(text.get(member.key.clone())?), text.get(member.value.clone())?))
        })
    }

    /// The value of `inner` in the object that is the value of `key`.
    pub fn get2(&self, text: &[u8], key: &str, inner: &str) -> Option<Range<usize>> {
        let members = self.inner.get(find(&self.members, text, key)?.inner.clone()?)?;
        find(members, text, inner).map(|member| member.value.clone())
    }
}

fn find<'a>(members: &'a [Member], text: &[u8], key: &str) -> Option<&'a Member> {
    members.iter().find(|member| text.get(member.key.clone()).is_some_and(|raw| is_key(raw, key.as_bytes())))
}

/// Whether `raw` says `key`. Most others are told apart by how they begin, or by their length: one with escapes is longer than what it says.
fn is_key(raw: &[u8], key: &[u8]) -> bool {
    let begins_so = raw.first() == key.first() || raw.starts_with(b"\\");
    begins_so
        && match raw.len().cmp(&key.len()) {
            Ordering::Less => false,
            Ordering::Equal => raw == key && !raw.contains(&b'\\'),
            Ordering::Greater => raw.contains(&b'\\') && unescape(raw).as_bytes() == key,
        }
}

/// A key without its escapes.
fn key_of(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.contains(&b'\\') { Cow::Owned(unescape(raw).into_bytes()) } else { Cow::Borrowed(raw) }
}

/// The text of a JSON string literal, quotes included in `raw`. `None` when `raw` is not one.
pub fn text_value(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return Some(Cow::Owned(unescape(inner)));
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// Resolves the escapes of a validated string. A lone surrogate becomes U+FFFD.
fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (character, length) = match escape.get(1) {
            Some(b'u') => unicode_escape(escape),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(&other) => (char::from(other), 2),
            None => (char::REPLACEMENT_CHARACTER, 1),
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
}

/// Whether the escapes of a validated string name half of a character only, a lone surrogate, which is no text.
fn has_half_character(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = rest.get(at..).unwrap_or_default();
        let length = match escape.get(1) {
            Some(b'u') => {
                let (character, length) = unicode_escape(escape);
                let is_told = escape.get(2..6).is_some_and(|digits| digits.eq_ignore_ascii_case(b"fffd"));
                if character == char::REPLACEMENT_CHARACTER && !is_told {
                    return true;
                }
                length
            }
            _ => 2,
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    false
}

/// The character of `\uXXXX` or of a surrogate pair, and the length of its escape.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |from: usize| -> Option<u32> {
        if escape.get(from..from + 2)? != b"\\u" {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(escape.get(from + 2..from + 6)?).ok()?, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        (Some(code), _) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
        (None, _) => (char::REPLACEMENT_CHARACTER, escape.len().min(6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_however_it_is_escaped() {
        for (raw, key, expected) in [
            ("", "", true),
            ("model", "model", true),
            ("models", "model", false),
            ("mode", "model", false),
            (r"\u006dodel", "model", true),
            (r"mod\u0065l", "model", true),
            (r"\u006dodels", "model", false),
            (r"a\\b", r"a\b", true),
            // A line feed, and not a backslash.
            (r"a\n", r"a\n", false),
            (r"a\n", "a\n", true),
            ("\\u00e9", "é", true),
        ] {
            assert_eq!(is_key(raw.as_bytes(), key.as_bytes()), expected, "{raw} {key}");
        }
    }
}
