//! The body of a request as it comes from a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_wire::http1::{BodyDecoder, Decoded};

use crate::collect::trusted_bytes;
use crate::line::{Line, Pieces, Transport};
use crate::service::RequestBody;

/// Longest rest of a body that nobody wants which is read over, so that the connection can go on.
const UNWANTED_BYTES_MAX: u64 = 64 << 10;

/// What tells a client to send the body (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The body of a request.
pub(super) struct Incoming<'a, T> {
    line: &'a mut Line<T>,
    decoder: BodyDecoder,
    /// Whether the client waits to be told that the body is wanted.
    awaits_continue: bool,
    interim: Pieces,
    /// Whether it comes out in one piece as far as possible.
    is_gathered: bool,
}

/// The body ended before it was complete, or its framing is broken.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body of a request is cut")]
pub(super) struct CutShort;

impl<'a, T: Transport> Incoming<'a, T> {
    /// The body that `decoder` takes out of what comes over `line`.
    pub(super) fn new(line: &'a mut Line<T>, decoder: BodyDecoder, awaits_continue: bool) -> Self {
        Self { line, decoder, awaits_continue, interim: Pieces::default(), is_gathered: true }
    }

    /// What is left of the body when nobody wants more of it; `None` when another request cannot follow behind it.
    pub(super) fn into_rest(self) -> Option<BodyDecoder> {
        let is_short = self.decoder.bytes_left().is_some_and(|bytes| bytes <= UNWANTED_BYTES_MAX);
        // Who was not told to go on may send the body or not.
        let is_certain = !self.awaits_continue && self.interim.is_empty();
        (self.decoder.is_over() || (is_short && is_certain)).then_some(self.decoder)
    }

    /// Tells the client to go on, if it waits for that.
    fn poll_welcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CutShort>> {
        if self.awaits_continue {
            self.awaits_continue = false;
            // Who has begun to send does not wait any more.
            if self.line.buffer.is_empty() && !self.decoder.is_over() {
                self.interim.push(Bytes::from_static(CONTINUE));
            }
        }
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.line.poll_write(cx, &mut self.interim).map_err(|_| CutShort)
    }

    /// How many bytes are gathered before any are handed out: as many as there will be, as far as their announcement can be
    /// trusted, so that a body comes out in one piece.
    fn gathers(&self) -> usize {
        let left = self.decoder.bytes_left().filter(|_| self.is_gathered);
        left.map_or(0, |left| trusted_bytes(left, self.line.buffer.len()))
    }
}

impl<T: Transport> Body for Incoming<'_, T> {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        ready!(this.poll_welcome(cx))?;
        loop {
            let gathers = this.gathers();
            if this.line.buffer.len() >= gathers {
                match this.decoder.decode(&mut this.line.buffer) {
                    Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Decoded::End) => return Poll::Ready(None),
                    Ok(Decoded::Nothing) => {}
                    Err(_) => return Poll::Ready(Some(Err(CutShort))),
                }
            } else if !this.line.buffer.is_empty() {
                this.line.gather(gathers);
            }
            match ready!(this.line.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(CutShort))),
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.bytes_left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<T: Transport> RequestBody for Incoming<'_, T> {
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.line.poll_left(cx)
    }

    fn pass(&mut self) {
        self.is_gathered = false;
    }
}
