//! A request body: made of pieces, sent without joining them, or passed on as it comes from a client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

use super::inbound::CutShort;

/// What of a request body is not sent yet.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    /// All of it is at hand.
    Pieces {
        /// In order.
        pieces: VecDeque<Bytes>,
        /// How many bytes they have.
        bytes: u64,
    },
    /// It comes from a client.
    Passed {
        /// Pieces, then `None` for the end. Without that end it is cut.
        pieces: Receiver<Option<Bytes>>,
        /// How many bytes will have come, if that is known.
        bytes: Option<u64>,
    },
}

impl UpstreamBody {
    /// A body of these pieces, in this order.
    pub(crate) fn new(pieces: &[Bytes]) -> Self {
        let pieces: VecDeque<Bytes> = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::Pieces { pieces, bytes }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match self.get_mut() {
            Self::Pieces { pieces, bytes } => {
                let piece = pieces.pop_front();
                if let Some(piece) = &piece {
                    *bytes -= piece.len() as u64;
                }
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Self::Passed { pieces, .. } => pieces.poll_recv(cx).map(|piece| match piece {
                Some(piece) => piece.map(|piece| Ok(Frame::data(piece))),
                None => Some(Err(CutShort)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Pieces { pieces, .. } if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pieces { bytes, .. } => SizeHint::with_exact(*bytes),
            Self::Passed { bytes, .. } => bytes.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
