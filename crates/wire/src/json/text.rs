//! A text in a JSON document. A long one is not copied: it shares the memory of the document, and is kept as it was written there,
//! so that it can be written again without being read.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::scanner::plain_run;
use super::unescape;
use super::value::{Map, Value};

/// A text. Two that read the same are equal, however they were written.
#[derive(Clone)]
pub struct Text(Repr);

// Invariant: the bytes are UTF-8.
#[derive(Clone)]
enum Repr {
    /// As it reads, in the first of these bytes.
    Short {
        form: ShortForm,
        length: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    Long {
        form: Form,
        bytes: Bytes,
    },
    /// One of ours, in which nothing is escaped.
    Word(&'static str),
}

/// Longest text that is copied instead of shared: keys, types, roles, most ids.
const SHORT_BYTES_MAX: usize = 30;

/// What is known of how a short text is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShortForm {
    /// Nothing.
    Read,
    /// As it reads: nothing in it is escaped.
    Same,
}

/// How the bytes of a long text tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it reads.
    Read,
    /// As it reads, and just so it is written: nothing in it is escaped.
    Same,
    /// As it stands between quotes, with the escapes that we would write too.
    Escaped,
}

/// The escapes in a string of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Escapes {
    /// None.
    None,
    /// Only those that we write too.
    Usual,
    /// Others too.
    Other,
}

impl Text {
    /// The text of a string of a document: what stands between its quotes, with such escapes in it. `from_here` is the document from there on.
    pub(super) fn of_string(
        between: &[u8],
        escapes: Escapes,
        from_here: &[u8],
        share: impl FnOnce() -> Bytes,
    ) -> Self {
        let is_short = between.len() <= SHORT_BYTES_MAX;
        match escapes {
            Escapes::None if is_short => Self::same(between, from_here),
            Escapes::None => Self(Repr::Long { form: Form::Same, bytes: share() }),
            Escapes::Usual if !is_short => Self(Repr::Long { form: Form::Escaped, bytes: share() }),
            Escapes::Usual | Escapes::Other => Self::from(unescape(between)),
        }
    }

    /// A short text without escapes. Where enough stands behind it as many bytes are copied as there is room for, which takes no call.
    fn same(text: &[u8], from_here: &[u8]) -> Self {
        let length = u8::try_from(text.len()).unwrap_or_default();
        let bytes = from_here.first_chunk().copied().unwrap_or_else(|| padded(text));
        Self(Repr::Short { form: ShortForm::Same, length, bytes })
    }

    fn short(text: &[u8]) -> Option<Self> {
        let length =
            u8::try_from(text.len()).ok().filter(|&length| usize::from(length) <= SHORT_BYTES_MAX)?;
        Some(Self(Repr::Short { form: ShortForm::Read, length, bytes: padded(text) }))
    }

    /// A word of ours, such as a key: one that holds nothing that has to be escaped.
    #[inline]
    pub fn word(word: &'static str) -> Self {
        debug_assert_eq!(plain_run(word.as_bytes()), word.len(), "{word:?} would have to be escaped");
        Self(Repr::Word(word))
    }

    /// The document of a value, as a text.
    pub fn of_document(value: &Value) -> Self {
        Self(Repr::Long { form: Form::Read, bytes: value.to_bytes() })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether there is nothing to see in it.
    pub fn is_blank(&self) -> bool {
        // Nearly every text shows it with its first byte.
        let shows = self.bytes().first().is_some_and(|byte| byte.is_ascii_alphanumeric());
        !shows && self.as_str().trim().is_empty()
    }

    /// The document that the text is, if it is one of an object.
    pub fn read_object(&self) -> Option<Map> {
        if !self.begins_as_object() {
            return None;
        }
        let document = match &self.0 {
            Repr::Long { form: Form::Read | Form::Same, bytes } => bytes.clone(),
            Repr::Short { .. } | Repr::Word(_) | Repr::Long { form: Form::Escaped, .. } => {
                Bytes::from(self.as_str().into_owned())
            }
        };
        match Value::read(&document) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        }
    }

    /// Whether its first byte is a brace, after such spaces as may stand before one.
    fn begins_as_object(&self) -> bool {
        let mut rest = self.bytes();
        loop {
            rest = match rest {
                [b' ' | b'\n' | b'\r' | b'\t', behind @ ..] | [b'\\', b'n' | b'r' | b't', behind @ ..] => {
                    behind
                }
                _ => return rest.first() == Some(&b'{'),
            };
        }
    }

    /// The text as it reads. Costs a copy where something in it is escaped.
    pub fn as_str(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Long { form: Form::Escaped, bytes } => Cow::Owned(unescape(bytes)),
            Repr::Word(word) => Cow::Borrowed(word),
            Repr::Short { .. } | Repr::Long { form: Form::Read | Form::Same, .. } => {
                Cow::Borrowed(std::str::from_utf8(self.bytes()).unwrap_or_default())
            }
        }
    }

    /// The bytes of the text as it reads: to tell words apart they need not be known to be UTF-8, which costs a look at each.
    pub fn as_bytes(&self) -> Cow<'_, [u8]> {
        match self.as_it_reads() {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(unescape(self.bytes()).into_bytes()),
        }
    }

    /// The text, to keep.
    pub fn into_string(self) -> String {
        self.as_str().into_owned()
    }

    /// Several texts as one. A single one is not copied.
    pub fn join(mut texts: Vec<Self>, between: &str) -> Self {
        match texts.as_slice() {
            [] | [_] => texts.pop().unwrap_or_default(),
            several => several.iter().map(Self::as_str).collect::<Vec<_>>().join(between).into(),
        }
    }

    /// Appends the text as a JSON string.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (bytes, is_as_written) = match &self.0 {
            Repr::Short { form, length, bytes } => {
                (bytes.get(..usize::from(*length)).unwrap_or_default(), *form == ShortForm::Same)
            }
            Repr::Long { form, bytes } => (&**bytes, *form != Form::Read),
            Repr::Word(word) => (word.as_bytes(), true),
        };
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        if is_as_written {
            out.extend_from_slice(bytes);
        } else {
            escape(bytes, out);
        }
        out.push(b'"');
    }

    /// How many bytes it takes, as it reads or as it is written.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// About how many bytes it is written in.
    pub(super) fn written_bytes(&self) -> usize {
        self.bytes().len() + 2
    }

    /// The bytes of the text as it reads, where nothing in them is escaped: keys are compared often, and hardly ever are.
    #[inline]
    pub(super) fn as_it_reads(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Long { form: Form::Escaped, .. } => None,
            Repr::Short { .. } | Repr::Word(_) | Repr::Long { form: Form::Read | Form::Same, .. } => {
                Some(self.bytes())
            }
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { length, bytes, .. } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Repr::Long { bytes, .. } => bytes,
            Repr::Word(word) => word.as_bytes(),
        }
    }
}

/// A short text, and zeros behind it.
fn padded(text: &[u8]) -> [u8; SHORT_BYTES_MAX] {
    let mut bytes = [0; SHORT_BYTES_MAX];
    if let Some(own) = bytes.get_mut(..text.len()) {
        own.copy_from_slice(text);
    }
    bytes
}

/// Appends a text as it stands between quotes. What is escaped, and how, is what `serde_json` does.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = behind.split_first() else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = behind;
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let shared = || Self(Repr::Long { form: Form::Read, bytes: Bytes::copy_from_slice(text.as_bytes()) });
        Self::short(text.as_bytes()).unwrap_or_else(shared)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        match Self::short(text.as_bytes()) {
            Some(short) => short,
            None => Self(Repr::Long { form: Form::Read, bytes: Bytes::from(text) }),
        }
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::word("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        match (self.as_it_reads(), other.as_it_reads()) {
            (Some(own), Some(others)) => own == others,
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        match self.as_it_reads() {
            Some(own) => own == other.as_bytes(),
            None => self.as_str() == other,
        }
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_str(), formatter)
    }
}
