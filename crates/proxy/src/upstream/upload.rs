//! The body of a request on its way from a client to a backend, piece by piece: nothing more is read than the backend takes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Sleep;
use tollgate_exchange::BodyFraming;
use tollgate_wire::http1::Framing;

use crate::line::Pieces;
use crate::service::RequestBody;

/// The body of a request that is passed on.
pub(crate) struct Upload<'a, B> {
    body: &'a mut B,
    framing: Option<Framing>,
    /// Bytes that have been taken from the client.
    pub(crate) bytes: u64,
    state: State,
    /// Fires when the client has taken too long.
    patience: Pin<Box<Sleep>>,
    /// How long the backend may take to answer once it has everything.
    first_byte: Option<Duration>,
    /// Fires when it has.
    overdue: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    More,
    /// Only the end of the framing has to be written.
    Ending,
    Ended,
}

/// What came of a look for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// There are pieces to write.
    Pieces,
    /// All is written.
    Nothing,
}

/// Why the body ends too early, or an answer is not waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// The client broke off, or what it sends is malformed.
    #[error("the client broke off")]
    Broken,
    /// The body did not come in time.
    #[error("the client sends too slowly")]
    Slow,
    /// The client has left.
    #[error("the client has left")]
    Gone,
    /// The backend has all of it, and does not begin to answer.
    #[error("the backend does not answer")]
    Unanswered,
}

impl<'a, B: RequestBody> Upload<'a, B> {
    /// A body that has to come within `limit`, and be answered within `first_byte` after its end.
    pub(crate) fn new(
        body: &'a mut B,
        framing: BodyFraming,
        limit: Duration,
        first_byte: Option<Duration>,
    ) -> Self {
        body.pass();
        let (framing, state) = match framing {
            BodyFraming::Absent => (None, State::Ended),
            BodyFraming::Sized(bytes) => (Some(Framing::Sized(bytes)), State::More),
            BodyFraming::Unsized => (Some(Framing::Chunked), State::More),
        };
        let patience = Box::pin(tokio::time::sleep(limit));
        Self { body, framing, bytes: 0, state, patience, first_byte, overdue: None }
    }

    /// How it is framed; `None` when there is none.
    pub(super) fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Whether the request can still be sent from its beginning.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    /// Begins again, after a connection on which nothing arrived.
    pub(super) fn rewind(&mut self) {
        if self.state == State::Ended && self.framing == Some(Framing::Chunked) {
            self.state = State::Ending;
        }
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Stopped>>> {
        loop {
            if self.state != State::More {
                return Poll::Ready(None);
            }
            match Pin::new(&mut *self.body).poll_frame(cx) {
                Poll::Pending => {
                    ready!(self.patience.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(Stopped::Slow)));
                }
                Poll::Ready(None) => self.state = State::Ending,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Stopped::Broken))),
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if !data.is_empty() {
                        self.bytes += data.len() as u64;
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    /// The next piece in its framing for HTTP/1.1.
    pub(super) fn poll_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &mut Pieces,
    ) -> Poll<Result<More, Stopped>> {
        let is_chunked = self.framing == Some(Framing::Chunked);
        match ready!(self.poll_data(cx)) {
            Some(Err(stopped)) => return Poll::Ready(Err(stopped)),
            Some(Ok(data)) if is_chunked => {
                pieces.push(format!("{:x}\r\n", data.len()).into());
                pieces.push(data);
                pieces.push(Bytes::from_static(b"\r\n"));
            }
            Some(Ok(data)) => pieces.push(data),
            None if self.state == State::Ending && is_chunked => {
                self.state = State::Ended;
                pieces.push(Bytes::from_static(b"0\r\n\r\n"));
            }
            None => {
                self.state = State::Ended;
                return Poll::Ready(Ok(More::Nothing));
            }
        }
        Poll::Ready(Ok(More::Pieces))
    }

    /// Completes when there is no use in waiting for an answer. For when the body is over.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Stopped> {
        if let Some(limit) = self.first_byte {
            let overdue = self.overdue.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if overdue.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Stopped::Unanswered);
            }
        }
        self.body.poll_left(cx).map(|()| Stopped::Gone)
    }
}
