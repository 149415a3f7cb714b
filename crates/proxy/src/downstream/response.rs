//! A response on its way to a client: its head and body in the framing of HTTP/1.1.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderName, Response, StatusCode, Version};
use http_body::Body;
use tollgate_wire::http1::Framing;

use crate::answer::AnswerBody;
use crate::date::Date;
use crate::line::Pieces;

/// What the connection says by itself, whatever a backend said.
const OWN_HEADERS: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// What a request says about the response to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) version: Version,
    /// Whether only the head is wanted.
    pub(super) is_head: bool,
    /// Whether another request may follow.
    pub(super) keeps_alive: bool,
}

/// A response that is being sent.
pub(super) struct Outgoing {
    body: AnswerBody,
    framing: Framing,
    keeps_alive: bool,
    /// The head, until it leaves with the first bytes of the body.
    head: BytesMut,
    /// What is to be written now.
    pub(super) pieces: Pieces,
    state: State,
}

/// How much of the body has been gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    More,
    All,
    /// No more will come, although it is not all.
    BrokenOff,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Whole, and the connection goes on.
    KeepsAlive,
    /// Whole, and the last of the connection.
    Closes,
    /// It has to be seen that it is not whole.
    BrokenOff,
}

impl Outgoing {
    pub(super) fn new(response: Response<AnswerBody>, asked: Asked, date: &Date) -> Self {
        let (parts, mut body) = response.into_parts();
        let is_bare = asked.is_head || has_no_body(parts.status);
        let framing = match body.size_hint().exact() {
            Some(bytes) => Framing::Sized(bytes),
            None if asked.version == Version::HTTP_10 => Framing::UntilClose,
            None => Framing::Chunked,
        };
        let says_close = parts.headers.get(CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        let keeps_alive = asked.keeps_alive && !says_close && framing != Framing::UntilClose;
        let mut head = Head::new(asked.version, parts.status, parts.headers.len());
        for (name, value) in &parts.headers {
            if !OWN_HEADERS.contains(name) {
                head.line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
            }
        }
        match (keeps_alive, asked.version) {
            (false, _) => head.line(&[b"connection: close"]),
            (true, Version::HTTP_10) => head.line(&[b"connection: keep-alive"]),
            (true, _) => {}
        }
        match framing {
            // RFC 9110 section 8.6.
            _ if has_no_body(parts.status) => {}
            Framing::Sized(bytes) => {
                head.line(&[b"content-length: ", itoa::Buffer::new().format(bytes).as_bytes()])
            }
            Framing::Chunked => head.line(&[b"transfer-encoding: chunked"]),
            Framing::UntilClose => {}
        }
        if !parts.headers.contains_key(DATE) {
            head.line(&[b"date: ", &date.now()]);
        }
        head.line(&[]);
        if is_bare {
            body.skip();
        }
        let state = if is_bare || body.is_end_stream() { State::All } else { State::More };
        Self { body, framing, keeps_alive, head: head.0, pieces: Pieces::default(), state }
    }

    /// Gathers what can be written now. Pending when the body has nothing to give; there may be pieces all the same.
    pub(super) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.pieces.is_empty() || self.state != State::More {
            self.push_head();
            return Poll::Ready(());
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.push_head();
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if self.body.is_end_stream() {
                    self.state = State::All;
                }
                self.push(data);
            }
            Some(Err(_)) => {
                self.state = State::BrokenOff;
                self.push_head();
            }
            None => {
                self.state = State::All;
                self.push(Bytes::new());
            }
        }
        Poll::Ready(())
    }

    /// How it ended, once all is written.
    pub(super) fn sent(&self) -> Option<Sent> {
        match self.state {
            _ if !self.pieces.is_empty() => None,
            State::More => None,
            State::All if self.keeps_alive => Some(Sent::KeepsAlive),
            State::All => Some(Sent::Closes),
            State::BrokenOff => Some(Sent::BrokenOff),
        }
    }

    fn push_head(&mut self) {
        self.pieces.push(std::mem::take(&mut self.head).freeze());
    }

    /// Adds `data` in its framing, and the end of the body behind it when that has come.
    fn push(&mut self, data: Bytes) {
        if self.framing != Framing::Chunked {
            self.push_head();
            self.pieces.push(data);
            return;
        }
        let ends = self.state == State::All;
        let end: &[u8] = match (data.is_empty(), ends) {
            (true, true) => b"0\r\n\r\n",
            (true, false) => b"",
            (false, true) => b"\r\n0\r\n\r\n",
            (false, false) => b"\r\n",
        };
        if !data.is_empty() {
            // Writing to memory does not fail.
            let _ = write!((&mut self.head).writer(), "{:x}\r\n", data.len());
        }
        self.push_head();
        self.pieces.push(data);
        self.pieces.push(Bytes::from_static(end));
    }
}

/// Whether responses of this status never have a body (RFC 9110 section 6.4.1).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The text of a head.
struct Head(BytesMut);

impl Head {
    fn new(version: Version, status: StatusCode, headers: usize) -> Self {
        let mut head = Self(BytesMut::with_capacity(160 + headers * 64));
        let version: &[u8] = if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
        let reason = status.canonical_reason().unwrap_or_default();
        head.line(&[version, status.as_str().as_bytes(), b" ", reason.as_bytes()]);
        head
    }

    fn line(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self.0.extend_from_slice(b"\r\n");
    }
}
