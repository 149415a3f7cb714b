//! The head of a response.

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::{Framing, Malformed, Tried, content_length, headers, is_chunked, place, says};

/// Largest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// Most headers of a response.
const HEADERS_MAX: usize = 128;

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status, 200 or above: interim responses are read over.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether another request may follow on the connection when the body is over.
    pub keeps_alive: bool,
}

/// Reads the head of the response to a POST.
#[derive(Debug, Default)]
pub struct ResponseReader {
    /// How many bytes have been searched for the end of the head.
    searched: usize,
    tried: Tried,
}

impl ResponseReader {
    /// Reads the head off the front of `buffer`; `None` when more has to come.
    ///
    /// # Errors
    /// When it is malformed, larger than the limits, or switches protocols.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Malformed> {
        loop {
            skip_empty_lines(buffer);
            let is_due = self.tried.is_due(buffer.len()) || self.finds_end(buffer);
            self.searched = buffer.len();
            match if is_due { take(buffer)? } else { Taken::Nothing } {
                Taken::Interim => *self = Self::default(),
                Taken::Head(head) => return Ok(Some(head)),
                Taken::Nothing if buffer.len() < HEAD_BYTES_MAX => return Ok(None),
                Taken::Nothing => return Err(Malformed("a head beyond the limit")),
            }
        }
    }

    /// Whether an empty line is in what has come since the last time.
    fn finds_end(&self, buffer: &[u8]) -> bool {
        let from = self.searched;
        memchr::memchr_iter(b'\n', buffer.get(from..).unwrap_or_default()).any(|at| {
            let line = buffer.get(..from + at).unwrap_or_default();
            line.strip_suffix(b"\r").unwrap_or(line).ends_with(b"\n")
        })
    }
}

/// Some backends end the body before with a line end too many.
fn skip_empty_lines(buffer: &mut BytesMut) {
    let mut rest = &buffer[..];
    while let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = after;
    }
    let empty = buffer.len() - rest.len();
    buffer.advance(empty);
}

/// What was at the front of a buffer.
enum Taken {
    /// A part of a head, which still is.
    Nothing,
    /// An interim response.
    Interim,
    /// The head.
    Head(ResponseHead),
}

fn take(buffer: &mut BytesMut) -> Result<Taken, Malformed> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut slots);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Taken::Nothing),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("too many headers")),
        Err(_) => return Err(Malformed("no head of HTTP/1")),
    };
    let is_old = parsed.version == Some(0);
    let code = parsed.code.ok_or(Malformed("no status"))?;
    let status = StatusCode::from_u16(code).map_err(|_| Malformed("no status"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed("a switch of protocols that nobody asked for"));
    }
    if status.is_informational() {
        buffer.advance(length);
        return Ok(Taken::Interim);
    }
    let places: Vec<_> = parsed.headers.iter().map(|header| place(buffer, header)).collect();
    let text = buffer.split_to(length).freeze();
    let headers = headers(&text, places.into_iter())?;
    let framing = framing(status, &headers)?;
    let both = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let keeps_alive =
        !is_old && !both && framing != Framing::UntilClose && !says(&headers, &CONNECTION, "close");
    Ok(Taken::Head(ResponseHead { status, headers, framing, keeps_alive }))
}

/// How the body of a response to a POST ends (RFC 9112 section 6.3).
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<Framing, Malformed> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Sized(0));
    }
    if is_chunked(headers)? {
        return Ok(Framing::Chunked);
    }
    Ok(content_length(headers)?.map_or(Framing::UntilClose, Framing::Sized))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(ResponseHead, String)>, Malformed> {
        let mut buffer = BytesMut::from(text);
        let head = ResponseReader::default().read(&mut buffer)?;
        Ok(head.map(|head| (head, String::from_utf8_lossy(&buffer).into_owned())))
    }

    #[test]
    fn reads_a_head_and_leaves_the_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-a: 1\r\nX-A:  2 \r\n\r\nhi";
        for cut in 0..text.len() - 2 {
            assert!(read(&text[..cut]).expect("no mistake").is_none(), "{cut}");
        }
        let (head, rest) = read(text).expect("a head").expect("all of it");
        assert_eq!((head.status.as_u16(), head.framing, head.keeps_alive), (200, Framing::Sized(2), true));
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(rest, "hi");
    }

    /// What is read when the text comes byte by byte.
    fn read_slowly(text: &[u8]) -> Result<Option<ResponseHead>, Malformed> {
        let (mut reader, mut buffer) = (ResponseReader::default(), BytesMut::new());
        for byte in text {
            buffer.extend_from_slice(&[*byte]);
            if let Some(head) = reader.read(&mut buffer)? {
                assert!(buffer.is_empty());
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    #[test]
    fn reads_over_interim_responses() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: a\r\n\r\nHTTP/1.1 201 X\r\ncontent-length: 0\r\n\r\n";
        let (head, _) = read(text).expect("a head").expect("all of it");
        assert_eq!((head.status.as_u16(), head.headers.len()), (201, 1));
        let head = read_slowly(text.as_bytes()).expect("a head").expect("all of it");
        assert_eq!((head.status.as_u16(), head.headers.len()), (201, 1));
    }

    #[test]
    fn knows_the_end_whatever_the_lines_end_with() {
        for text in ["\r\n\nHTTP/1.1 200 X\nx: a\n\n", "HTTP/1.1 200\r\nx:\n\r\n", "\n\r\nHTTP/1.1 200 \n\n"]
        {
            assert!(read(text).expect("no mistake").is_some(), "{text:?}");
            assert!(read_slowly(text.as_bytes()).expect("no mistake").is_some(), "{text:?}");
        }
        assert!(read_slowly(b"HTTP/1.1 200 X\r\r\n\r\n").is_err());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn a_head_in_single_bytes_costs_no_more_than_another() {
        let began = std::time::Instant::now();
        let long = "a".repeat(HEAD_BYTES_MAX - 100);
        let head = format!("HTTP/1.1 200 X\r\nx: {long}\r\n\r\n");
        assert!(read_slowly(head.as_bytes()).expect("a head").is_some());
        let reason = format!("HTTP/1.1 200 {long}");
        assert!(read_slowly(reason.as_bytes()).expect("nothing wrong").is_none());
        let empty = "\r\n".repeat(HEAD_BYTES_MAX);
        assert!(read_slowly(empty.as_bytes()).expect("nothing wrong").is_none());
        // One look at each byte for each byte that comes would take minutes.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn knows_how_the_body_ends_and_whether_the_connection_goes_on() {
        for (headers, framing, keeps_alive) in [
            ("transfer-encoding: Chunked", Framing::Chunked, true),
            ("content-length: 3\r\ncontent-length: 3", Framing::Sized(3), true),
            ("content-length: 3\r\ntransfer-encoding: chunked", Framing::Chunked, false),
            ("x: y", Framing::UntilClose, false),
            ("content-length: 3\r\nconnection: x, Close", Framing::Sized(3), false),
        ] {
            let (head, _) =
                read(&format!("HTTP/1.1 200 X\r\n{headers}\r\n\r\n")).expect("a head").expect("whole");
            assert_eq!((head.framing, head.keeps_alive), (framing, keeps_alive), "{headers}");
        }
        let (head, _) = read("HTTP/1.1 204 X\r\ncontent-length: 3\r\n\r\n").expect("a head").expect("whole");
        assert_eq!(head.framing, Framing::Sized(0));
        let (head, _) = read("HTTP/1.0 200 X\r\ncontent-length: 3\r\n\r\n").expect("a head").expect("whole");
        assert!(!head.keeps_alive);
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for headers in [
            "content-length: 3\r\ncontent-length: 4",
            "content-length: 3, 3",
            "content-length: +3",
            "content-length: 99999999999999999999",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "x: a\r\n folded",
            "a b: c",
        ] {
            assert!(read(&format!("HTTP/1.1 200 X\r\n{headers}\r\n\r\n")).is_err(), "{headers}");
        }
        for text in ["HTTP/1.1 101 X\r\n\r\n", "HTTP/2 200 X\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(read(text).is_err(), "{text}");
        }
        let endless = format!("HTTP/1.1 200 X\r\nx: {}", "a".repeat(HEAD_BYTES_MAX));
        assert!(read(&endless).is_err());
        let many = "x: a\r\n".repeat(HEADERS_MAX + 1);
        assert!(read(&format!("HTTP/1.1 200 X\r\n{many}\r\n")).is_err());
    }
}
