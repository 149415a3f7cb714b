//! The head of a request.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri, Version};

use super::{Framing, Malformed, Tried, content_length, headers, is_chunked, place, range, says};

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 128 << 10;

/// Most headers of a request.
const HEADERS_MAX: usize = 128;

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// What is asked for: a path; a URL of `http` or `https`; for CONNECT host and port; for OPTIONS perhaps `*`.
    pub target: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// How its body is framed; never until the connection closes.
    pub framing: Framing,
    /// Whether the client would send another request on the connection.
    pub keeps_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub awaits_continue: bool,
}

/// A head that cannot be read: what follows on the connection means nothing.
#[derive(Debug)]
pub struct Unreadable {
    /// Why.
    pub mistake: Mistake,
    /// Method and path, where at least these can be read.
    pub asked: Option<(Method, String)>,
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// It is none of HTTP/1.
    Malformed(Malformed),
    /// It is larger than the limits.
    TooLarge,
    /// It frames its body in two ways.
    TwoFramings,
}

impl From<Malformed> for Mistake {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads the heads of requests, one after the other.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// How many bytes have been searched for the end of the head.
    searched: usize,
    tried: Tried,
}

impl RequestReader {
    /// Reads a head off the front of `buffer`; `None` when more has to come.
    ///
    /// # Errors
    /// When it can never become a head that is served. Nothing is to be read after that.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, Unreadable> {
        if self.searched == 0 {
            // Some clients end a body with a line end too many (RFC 9112 section 2.2).
            while buffer.starts_with(b"\r\n") {
                buffer.advance(2);
            }
            if buffer.is_empty() || *buffer == b"\r"[..] {
                return Ok(None);
            }
        }
        match self.find_end(buffer) {
            Ok(Some(end)) => {
                *self = Self::default();
                let text = buffer.split_to(end).freeze();
                head(&text).map(Some).map_err(|mistake| unreadable(mistake, &text))
            }
            Ok(None) => Ok(None),
            Err(mistake) => Err(unreadable(mistake, buffer)),
        }
    }

    /// The length of the head, if all of it is there.
    fn find_end(&mut self, buffer: &[u8]) -> Result<Option<usize>, Mistake> {
        for at in memchr::memchr_iter(b'\n', buffer.get(self.searched..).unwrap_or_default()) {
            let line = buffer.get(..self.searched + at).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Malformed("the end of a line").into());
            };
            if line.ends_with(b"\r\n") {
                let end = line.len() + 2;
                return if end > HEAD_BYTES_MAX { Err(Mistake::TooLarge) } else { Ok(Some(end)) };
            }
        }
        self.searched = buffer.len();
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(Mistake::TooLarge);
        }
        if self.tried.is_due(buffer.len()) {
            let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            httparse::Request::new(&mut []).parse_with_uninit_headers(buffer, &mut slots).map_err(mistake)?;
        }
        Ok(None)
    }
}

fn mistake(error: httparse::Error) -> Mistake {
    match error {
        httparse::Error::TooManyHeaders => Mistake::TooLarge,
        httparse::Error::HeaderName => Malformed("the name of a header").into(),
        httparse::Error::HeaderValue => Malformed("the value of a header").into(),
        httparse::Error::NewLine => Malformed("the end of a line").into(),
        httparse::Error::Version => Malformed("a version other than 1.0 and 1.1").into(),
        httparse::Error::Status | httparse::Error::Token => Malformed("the first line").into(),
    }
}

/// What can be told of a head that is not read, for the error that answers it.
fn unreadable(mistake: Mistake, text: &[u8]) -> Unreadable {
    let asked = || {
        let line = text.split(|byte| *byte == b'\r').next()?;
        let mut words = line.split(|byte| *byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let path = words.next()?.split(|byte| *byte == b'?').next()?;
        // A line that is not all there may end in the middle of a path.
        words.next()?;
        Some((method, std::str::from_utf8(path).ok()?.to_owned()))
    };
    Unreadable { mistake, asked: asked() }
}

/// The head that `text` is, all of it.
fn head(text: &Bytes) -> Result<RequestHead, Mistake> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(text, &mut slots) {
        Ok(httparse::Status::Complete(length)) if length == text.len() => {}
        Ok(_) => return Err(Malformed("the end of a line").into()),
        Err(error) => return Err(mistake(error)),
    }
    let method = parsed.method.ok_or(Malformed("the first line"))?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed("the method"))?;
    let target = target(text, &method, parsed.path.ok_or(Malformed("the first line"))?)?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let headers = headers(text, parsed.headers.iter().map(|header| place(text, header)))?;
    let framing = framing(version, &headers)?;
    let wishes_to_stay = match version {
        Version::HTTP_10 => says(&headers, &CONNECTION, "keep-alive"),
        _ => true,
    };
    // After CONNECT a client may take the connection for a tunnel, whatever it is told.
    let keeps_alive = wishes_to_stay && !says(&headers, &CONNECTION, "close") && method != Method::CONNECT;
    let awaits_continue = version == Version::HTTP_11
        && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(RequestHead { method, target, version, headers, framing, keeps_alive, awaits_continue })
}

/// The four forms of a target (RFC 9112 section 3.2), each with the methods that it is for.
fn target(text: &Bytes, method: &Method, target: &str) -> Result<Uri, Malformed> {
    const WRONG: Malformed = Malformed("the target of the request");
    let (begin, end) = range(text, target.as_bytes());
    // A fragment is never sent; who reads it as one drops what another takes for a part of the path.
    if target.contains('#') || text.get(begin..end).is_none() {
        return Err(WRONG);
    }
    let uri = Uri::from_maybe_shared(text.slice(begin..end)).map_err(|_| WRONG)?;
    let is_good = match (uri.scheme_str(), uri.authority()) {
        (None, None) if target == "*" => *method == Method::OPTIONS,
        (None, None) => target.starts_with('/') && *method != Method::CONNECT,
        (None, Some(authority)) => authority.port().is_some() && *method == Method::CONNECT,
        (Some("http" | "https"), Some(_)) => *method != Method::CONNECT,
        (Some(_), _) => false,
    };
    if is_good { Ok(uri) } else { Err(WRONG) }
}

/// How the body of a request ends (RFC 9112 section 6.3). Whoever stands before or behind might believe the other of two
/// framings, or one that this version does not have.
fn framing(version: Version, headers: &HeaderMap) -> Result<Framing, Mistake> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Framing::Sized(content_length(headers)?.unwrap_or(0)));
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(Mistake::TwoFramings);
    }
    if version == Version::HTTP_10 {
        return Err(Malformed("a transfer-encoding in HTTP/1.0").into());
    }
    is_chunked(headers)?;
    Ok(Framing::Chunked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Option<(RequestHead, Vec<u8>)>, Mistake> {
        let mut buffer = BytesMut::from(text);
        let head = RequestReader::default().read(&mut buffer).map_err(|unreadable| unreadable.mistake)?;
        Ok(head.map(|head| (head, buffer.to_vec())))
    }

    fn head(text: &str) -> RequestHead {
        read(text.as_bytes()).unwrap_or_else(|mistake| panic!("{mistake:?}: {text}")).expect("all of it").0
    }

    #[test]
    fn reads_a_head_and_leaves_the_body() {
        let text = b"\r\n\r\nPOST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nx-a: 1\r\nX-A:  2 \r\n\r\nhi";
        let (mut reader, mut buffer) = (RequestReader::default(), BytesMut::new());
        for byte in &text[..text.len() - 3] {
            buffer.extend_from_slice(&[*byte]);
            assert!(reader.read(&mut buffer).expect("no mistake").is_none());
        }
        buffer.extend_from_slice(&text[text.len() - 3..]);
        let head = reader.read(&mut buffer).expect("no mistake").expect("all of it");
        assert_eq!((head.method.as_str(), head.target.path()), ("POST", "/v1/x"));
        assert_eq!((head.framing, head.version), (Framing::Sized(2), Version::HTTP_11));
        assert!(head.keeps_alive && !head.awaits_continue);
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(&buffer[..], b"hi");
    }

    #[test]
    fn reads_one_request_after_the_other() {
        let mut buffer =
            BytesMut::from("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\nGET");
        let mut reader = RequestReader::default();
        for path in ["/a", "/b"] {
            let head = reader.read(&mut buffer).expect("no mistake").expect("all of it");
            assert_eq!(head.target.path(), path);
        }
        assert!(reader.read(&mut buffer).expect("no mistake").is_none());
    }

    #[test]
    fn knows_what_the_client_wants_of_the_connection() {
        for (line, keeps_alive, awaits_continue) in [
            ("GET / HTTP/1.1\r\nx: y", true, false),
            ("GET / HTTP/1.1\r\nconnection: x, Close", false, false),
            ("GET / HTTP/1.0\r\nx: y", false, false),
            ("GET / HTTP/1.0\r\nconnection: Keep-Alive", true, false),
            ("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\nexpect: 100-continue", true, false),
            ("POST / HTTP/1.1\r\nexpect: 100-Continue", true, true),
            ("POST / HTTP/1.1\r\nexpect: more", true, false),
            ("CONNECT a:443 HTTP/1.1\r\nx: y", false, false),
        ] {
            let head = head(&format!("{line}\r\n\r\n"));
            assert_eq!((head.keeps_alive, head.awaits_continue), (keeps_alive, awaits_continue), "{line}");
        }
    }

    #[test]
    fn takes_each_form_of_target_with_its_methods_only() {
        for (line, authority, path) in [
            ("GET /a?b", None, "/a"),
            ("GET http://h:1/a?b", Some("h:1"), "/a"),
            ("GET https://h", Some("h"), "/"),
            ("OPTIONS *", None, "*"),
            ("CONNECT h:443", Some("h:443"), ""),
        ] {
            let head = head(&format!("{line} HTTP/1.1\r\n\r\n"));
            let told = head.target.authority().map(|authority| authority.as_str());
            assert_eq!((told, head.target.path()), (authority, path), "{line}");
        }
        for line in [
            "GET *",
            "GET h:443",
            "GET h",
            "CONNECT /a",
            "CONNECT h",
            "CONNECT http://h/",
            "GET ftp://h/a",
            "GET /a#b",
            "GET a",
        ] {
            assert!(read(format!("{line} HTTP/1.1\r\n\r\n").as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for (headers, mistake) in [
            ("content-length: 3\r\ntransfer-encoding: chunked", Some(Mistake::TwoFramings)),
            ("transfer-encoding: chunked\r\ncontent-length: 3", Some(Mistake::TwoFramings)),
            ("transfer-encoding: x\r\ncontent-length: 3", Some(Mistake::TwoFramings)),
            ("content-length: 3\r\ncontent-length: 4", None),
            ("content-length: 3, 3", None),
            ("content-length: +3", None),
            ("content-length: -3", None),
            ("content-length: 3 4", None),
            ("content-length: 0x3", None),
            ("content-length:", None),
            ("content-length: 99999999999999999999", None),
            ("transfer-encoding: gzip, chunked", None),
            ("transfer-encoding: chunked, identity", None),
            ("transfer-encoding: identity", None),
            ("transfer-encoding: \"chunked\"", None),
            ("transfer-encoding:", None),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", None),
            ("transfer-encoding : chunked", None),
            ("content-length : 3", None),
            (" content-length: 3", None),
            ("x: a\r\n folded", None),
            ("x: a\r\n\tfolded", None),
            ("x: a\nb: c", None),
            ("x: a\rb: c", None),
            ("x: a\r\r\nb: c", None),
            ("x: a\0b", None),
            ("x\0: a", None),
            ("x: \x7f", None),
            ("a b: c", None),
            (": c", None),
            ("no colon", None),
        ] {
            let found = read(format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n").as_bytes()).map(drop);
            assert!(found.is_err(), "{headers:?}");
            assert!(mistake.is_none() || found == Err(mistake.expect("one")), "{headers:?}: {found:?}");
        }
        let same = head("POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n");
        assert_eq!(same.framing, Framing::Sized(3));
        assert_eq!(head("POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n").framing, Framing::Chunked);
        assert!(read(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn refuses_what_is_no_request_as_soon_as_it_can_be_seen() {
        for text in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"GET / HTTP/2\r\n",
            b"GET / HTTP/1.2\r\n",
            b"GET /\r\n\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET /\x01 HTTP/1.1\r\n",
            b"G(T / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\n",
            b"\nGET / HTTP/1.1\r\n",
            b"\rGET / HTTP/1.1\r\n",
            b" GET / HTTP/1.1\r\n",
        ] {
            let mistake = read(text).expect_err(&String::from_utf8_lossy(text));
            assert!(matches!(mistake, Mistake::Malformed(_)), "{mistake:?}");
        }
    }

    #[test]
    fn has_limits_and_tells_what_was_asked() {
        let line = "GET /v1/models?x HTTP/1.1\r\n";
        let endless = format!("{line}x: {}", "a".repeat(HEAD_BYTES_MAX));
        let many = format!("{line}{}", "x: a\r\n".repeat(HEADERS_MAX + 1));
        let ended = format!("{endless}\r\n\r\n");
        for text in [endless, many.clone(), format!("{many}\r\n"), ended] {
            let unreadable =
                RequestReader::default().read(&mut BytesMut::from(text.as_str())).expect_err("a limit");
            assert_eq!(unreadable.mistake, Mistake::TooLarge);
            assert_eq!(unreadable.asked, Some((Method::GET, "/v1/models".to_owned())));
        }
        assert_eq!(head(&format!("{line}{}\r\n", "x: a\r\n".repeat(HEADERS_MAX))).headers.len(), HEADERS_MAX);
    }
}
