//! `multipart/form-data` (RFC 7578): where the parts of a whole body are. Nothing is copied.

use std::ops::Range;

use bytes::Bytes;

/// Most parts of one body.
const PARTS_MAX: usize = 64;

/// Longest header block of a part, in bytes.
const PART_HEAD_BYTES_MAX: usize = 8 << 10;

/// Longest boundary (RFC 2046 section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The content type names no usable boundary.
    #[error("content-type has no usable boundary")]
    NoBoundary,
    /// The body does not begin with the boundary.
    #[error("the body does not begin with the boundary")]
    NoStart,
    /// A part has no end.
    #[error("a part is not ended by the boundary")]
    Unended,
    /// A part's headers are broken or too long.
    #[error("a part has broken headers")]
    BadPart,
    /// Too many parts.
    #[error("more than 64 parts")]
    TooManyParts,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name of its field.
    pub name: String,
    /// Name of its file, if it is one.
    pub filename: Option<String>,
    /// Its content type, if it names one.
    pub content_type: Option<String>,
    /// Where its value is in the body.
    pub value: Range<usize>,
}

/// The boundary in a content type; `None` when it is another type or has no usable one.
pub fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let is_usable = !boundary.is_empty()
        && boundary.len() <= BOUNDARY_BYTES_MAX
        && boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    is_usable.then_some(boundary)
}

/// Finds the parts of `body`.
///
/// # Errors
/// When the body is not what its content type says, or exceeds a limit.
pub fn scan(content_type: &str, body: &[u8]) -> Result<Vec<Part>, Malformed> {
    let boundary = boundary(content_type).ok_or(Malformed::NoBoundary)?;
    let delimiter = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    let opening = delimiter.as_bytes().get(2..).unwrap_or_default();
    let mut at = if body.starts_with(opening) {
        opening.len()
    } else {
        finder.find(body).ok_or(Malformed::NoStart)? + delimiter.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if !rest.get(padding..).unwrap_or_default().starts_with(b"\r\n") {
            return Err(Malformed::Unended);
        }
        if parts.len() == PARTS_MAX {
            return Err(Malformed::TooManyParts);
        }
        // The line end stays, so that a part without headers begins with an empty line too.
        at += padding;
        let rest = body.get(at..).unwrap_or_default();
        let window = rest.get(..rest.len().min(PART_HEAD_BYTES_MAX)).unwrap_or_default();
        let head = memchr::memmem::find(window, b"\r\n\r\n").ok_or(Malformed::BadPart)?;
        let value_start = at + head + 4;
        // The line end before the delimiter may be the one that ends the headers of an empty part.
        let search_from = value_start - 2;
        let found = finder.find(body.get(search_from..).unwrap_or_default()).ok_or(Malformed::Unended)?;
        let value_end = (search_from + found).max(value_start);
        let head = rest.get(2..head).unwrap_or_default();
        parts.push(part(head, value_start..value_end)?);
        at = search_from + found + delimiter.len();
    }
}

/// The body with the value of `part` replaced, as pieces that share its memory.
pub fn replace(body: &Bytes, part: &Part, value: Bytes) -> Vec<Bytes> {
    let end = part.value.end.min(body.len());
    let start = part.value.start.min(end);
    let rest = body.slice(end..);
    // An empty part may share its line end with the delimiter behind it; a part with a value cannot.
    let line_end = if rest.starts_with(b"\r\n") { Bytes::new() } else { Bytes::from_static(b"\r\n") };
    vec![body.slice(..start), value, line_end, rest]
}

fn part(head: &[u8], value: Range<usize>) -> Result<Part, Malformed> {
    let head = std::str::from_utf8(head).map_err(|_| Malformed::BadPart)?;
    let mut part = Part { name: String::new(), filename: None, content_type: None, value };
    let mut is_form_data = false;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, text) = line.split_once(':').ok_or(Malformed::BadPart)?;
        if name.eq_ignore_ascii_case("content-disposition") {
            let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
            is_form_data = kind.trim().eq_ignore_ascii_case("form-data");
            part.name = parameter(parameters, "name").ok_or(Malformed::BadPart)?;
            part.filename = parameter(parameters, "filename");
        } else if name.eq_ignore_ascii_case("content-type") {
            part.content_type = Some(text.trim().to_owned());
        }
    }
    if is_form_data { Ok(part) } else { Err(Malformed::BadPart) }
}

/// The value of one parameter of a header, which may be quoted, with backslashes inside.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        if rest.is_empty() {
            return None;
        }
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let (value, behind) = behind.split_at(end);
                (value.trim().to_owned(), behind)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// A quoted value, behind its first quote, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; charset=utf-8; boundary=\"a b\"";
    const BODY: &str = concat!(
        "--a b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n",
        "--a b\r\ncontent-disposition: form-data; name=file; filename=\"a\\\"b.wav\"\r\nContent-Type: audio/wav\r\n\r\n",
        "RIFF\r\n--a c\r\n\r\n--a b\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--a b--\r\n",
    );

    #[test]
    fn finds_parts_and_their_values() {
        let parts = scan(TYPE, BODY.as_bytes()).expect("a good body");
        let values: Vec<(&str, &str)> =
            parts.iter().map(|part| (part.name.as_str(), &BODY[part.value.clone()])).collect();
        assert_eq!(values, [("model", "whisper-1"), ("file", "RIFF\r\n--a c\r\n"), ("empty", "")]);
        assert_eq!(parts[1].filename.as_deref(), Some("a\"b.wav"));
        assert_eq!(parts[1].content_type.as_deref(), Some("audio/wav"));
    }

    #[test]
    fn replaces_a_value_and_keeps_the_rest() {
        let body = Bytes::from_static(BODY.as_bytes());
        let parts = scan(TYPE, &body).expect("a good body");
        let pieces = replace(&body, &parts[0], Bytes::from_static(b"other"));
        let joined: Vec<u8> = pieces.concat();
        assert_eq!(joined, BODY.replace("whisper-1", "other").as_bytes());
    }

    #[test]
    fn refuses_what_is_not_whole() {
        assert_eq!(scan("application/json", b""), Err(Malformed::NoBoundary));
        assert_eq!(scan("multipart/form-data; boundary=x", b"--y\r\n"), Err(Malformed::NoStart));
        for end in 0..BODY.len() - 4 {
            assert!(scan(TYPE, &BODY.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
