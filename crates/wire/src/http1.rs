//! Messages of HTTP/1.1 (RFC 9112), read from bytes that are cut anywhere: requests of clients, responses of backends.
//!
//! Strict where a mistake could make two readers see different messages: one framing, whole line ends, no folding. What is
//! wrong breaks the message; nothing is guessed.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::body::{BodyDecoder, Decoded};
pub use self::request::{Mistake, RequestHead, RequestReader, Unreadable};
pub use self::response::{ResponseHead, ResponseReader};

mod body;
mod request;
mod response;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Sized(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What comes is no message of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

/// How many bytes of a head there were when they were last looked at in earnest. They are looked at again only when they have doubled, so that a head
/// that comes in many pieces costs no more than another.
#[derive(Debug, Default)]
struct Tried(usize);

impl Tried {
    /// Whether so many bytes are worth a look; they are taken to have had it then.
    fn is_due(&mut self, length: usize) -> bool {
        let is_due = length / 2 >= self.0;
        if is_due {
            self.0 = length;
        }
        is_due
    }
}

/// Where name and value of a header are in a head.
struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

fn place(text: &[u8], header: &httparse::Header<'_>) -> Place {
    Place { name: range(text, header.name.as_bytes()), value: range(text, header.value) }
}

/// Where `part`, a slice of `text`, is in it.
fn range(text: &[u8], part: &[u8]) -> (usize, usize) {
    let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    (offset, offset.wrapping_add(part.len()))
}

/// Room for what a gateway adds to a head before it passes it on: an id, and how limits stand.
const ADDED: usize = 4;

/// Header values share the memory of the head.
fn headers(text: &Bytes, places: impl ExactSizeIterator<Item = Place>) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(places.len() + ADDED);
    for place in places {
        let name = text.get(place.name.0..place.name.1).ok_or(Malformed("a header"))?;
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed("the name of a header"))?;
        text.get(place.value.0..place.value.1).ok_or(Malformed("a header"))?;
        let value = text.slice(place.value.0..place.value.1);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed("the value of a header"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The one length that is told, if any is. Who tells it twice has to tell the same.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let told = digits(value.as_bytes()).ok_or(Malformed("the value of content-length"))?;
        if length.replace(told).is_some_and(|before| before != told) {
            return Err(Malformed("two values of content-length"));
        }
    }
    Ok(length)
}

fn digits(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Whether `chunked` is the one transfer coding.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        (Some(_), _) => Err(Malformed("a transfer-encoding other than chunked")),
    }
}

/// Whether a list header has `word` in it.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
}
