//! A connection of HTTP/1.1 to a backend. It is driven by whoever uses it, has no task of its own, and holds no buffer while
//! nothing comes. See `docs/decisions/0005-connections-are-driven-by-their-users.md`.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate_wire::http1::{BodyDecoder, Decoded, Framing, ResponseHead, ResponseReader};

use super::upload::{More, Stopped, Upload};
use crate::line::{Line, Pieces, Transport};
use crate::service::RequestBody;

/// What the connection says by itself, whatever a configuration wants: who says it twice is understood in two ways.
const OWN_HEADERS: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// A connection that takes one request at a time.
pub(super) struct Http1 {
    line: Line<Box<dyn Transport>>,
    /// Whether the last request was written whole.
    written: bool,
    keeps_alive: bool,
}

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection ended, and nothing of a response had come.
    #[error("closed before the response")]
    Closed,
    /// The connection ended or failed in the middle of the response.
    #[error("cut: {0}")]
    Cut(io::Error),
    /// What came is no response.
    #[error(transparent)]
    Malformed(#[from] tollgate_wire::http1::Malformed),
}

impl Http1 {
    /// A new connection.
    pub(super) fn new(transport: impl Transport + 'static) -> Self {
        Self { line: Line::new(Box::new(transport)), written: true, keeps_alive: true }
    }

    /// Whether a request can be sent now: the last exchange is over, and the backend has neither closed the connection nor
    /// said anything on it.
    pub(super) fn is_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.written
            && self.keeps_alive
            && self.line.buffer.is_empty()
            && self.line.poll_fill(&mut cx).is_pending()
    }

    /// Sends a request, and waits for the head of the response. Gives up writing when the response comes before all is
    /// written; the connection is of no further use then.
    pub(super) async fn send(&mut self, mut request: Pieces) -> Result<ResponseHead, Broken> {
        self.written = false;
        let (mut reader, mut has_come) = (ResponseReader::default(), false);
        poll_fn(|cx| {
            let failed = self.poll_write(cx, &mut request);
            loop {
                if let Some(head) = reader.read(&mut self.line.buffer)? {
                    self.keeps_alive = head.keeps_alive;
                    return Poll::Ready(Ok(head));
                }
                match self.line.poll_fill(cx) {
                    // A backend that says no and closes may be heard although writing failed.
                    Poll::Pending if failed.is_none() => return Poll::Pending,
                    Poll::Pending | Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) if !has_come => {
                        return Poll::Ready(Err(Broken::Closed));
                    }
                    Poll::Pending | Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Cut(ended()))),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Cut(error))),
                    Poll::Ready(Ok(_)) => has_come = true,
                }
            }
        })
        .await
    }

    /// Sends the `head` of a request and passes its body on, and waits for the head of the response. What is left of the body when
    /// the backend has answered is passed on only if the answer is a success; otherwise the connection is of no further use.
    pub(super) async fn pass(
        &mut self,
        head: Bytes,
        upload: &mut Upload<'_, impl RequestBody>,
    ) -> Result<ResponseHead, NotPassed> {
        self.written = false;
        let mut pieces = Pieces::from_iter([head]);
        let mut reader = ResponseReader::default();
        let (mut answer, mut failed, mut has_come) = (None, false, false);
        poll_fn(|cx| {
            while !failed && !self.written {
                match self.line.poll_write(cx, &mut pieces) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => failed = true,
                    Poll::Ready(Ok(())) => match upload.poll_pieces(cx, &mut pieces) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(More::Pieces)) => {}
                        Poll::Ready(Ok(More::Nothing)) => self.written = true,
                        Poll::Ready(Err(stopped)) => return Poll::Ready(Err(NotPassed::Stopped(stopped))),
                    },
                }
            }
            while answer.is_none() {
                if let Some(head) = reader.read(&mut self.line.buffer).map_err(Broken::from)? {
                    self.keeps_alive = head.keeps_alive;
                    answer = Some(head);
                    break;
                }
                match self.line.poll_fill(cx) {
                    // A backend that says no and closes may be heard although writing failed.
                    Poll::Pending if !failed => break,
                    Poll::Pending | Poll::Ready(Ok(0) | Err(_)) if !has_come => {
                        return Poll::Ready(Err(Broken::Closed.into()));
                    }
                    Poll::Pending | Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(Broken::Cut(ended()).into()));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Cut(error).into())),
                    Poll::Ready(Ok(_)) => has_come = true,
                }
            }
            let is_refusal = answer.as_ref().is_some_and(|head| !head.status.is_success());
            if (self.written || failed || is_refusal)
                && let Some(head) = answer.take()
            {
                return Poll::Ready(Ok(head));
            }
            if self.written
                && let Poll::Ready(stopped) = upload.poll_stopped(cx)
            {
                return Poll::Ready(Err(NotPassed::Stopped(stopped)));
            }
            Poll::Pending
        })
        .await
    }

    /// More of the body that `decoder` takes out of its framing; `None` at its end.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut BodyDecoder,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match decoder.decode(&mut self.line.buffer) {
                Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::Nothing) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            match self.line.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if decoder.close() => return Poll::Ready(None),
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(Broken::Cut(ended())))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(Broken::Cut(error)))),
            }
        }
    }

    /// Writes what can be written now. Tells when writing has failed.
    fn poll_write(&mut self, cx: &mut Context<'_>, request: &mut Pieces) -> Option<io::Error> {
        match self.line.poll_write(cx, request) {
            Poll::Ready(Ok(())) => {
                self.written = true;
                None
            }
            Poll::Ready(Err(error)) => Some(error),
            Poll::Pending => None,
        }
    }
}

/// Why a request was not passed on, or not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPassed {
    /// Because of the backend.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Because of the client.
    #[error(transparent)]
    Stopped(Stopped),
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// A request of these parts as it goes over the line. `path` has been checked to be one.
pub(super) fn request(
    method: &Method,
    path: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    body: &[Bytes],
) -> Pieces {
    let body_bytes: usize = body.iter().map(Bytes::len).sum();
    let head = head(method, path, host, headers, Some(Framing::Sized(body_bytes as u64)));
    std::iter::once(head).chain(body.iter().cloned()).collect()
}

/// The head of a request; without a framing it has no body.
pub(super) fn head(
    method: &Method,
    path: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    framing: Option<Framing>,
) -> Bytes {
    let headers = || headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(name));
    let header_bytes: usize = headers().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = BytesMut::with_capacity(header_bytes + path.len() + host.len() + 96);
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| head.extend_from_slice(part));
        head.extend_from_slice(b"\r\n");
    };
    line(&[method.as_str().as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1"]);
    line(&[b"host: ", host.as_bytes()]);
    for (name, value) in headers() {
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    match framing {
        None => {}
        Some(Framing::Sized(bytes)) => line(&[b"content-length: ", bytes.to_string().as_bytes()]),
        Some(Framing::Chunked | Framing::UntilClose) => line(&[b"transfer-encoding: chunked"]),
    }
    line(&[]);
    head.freeze()
}
