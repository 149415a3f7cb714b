//! The body of a response as it comes from a backend, and the connection that it comes in on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc::Sender;
use tollgate_wire::http1::BodyDecoder;

use super::http1::Http1;
use super::pool::BackendPool;

/// The body of a response. Dropped before it is complete, it closes its connection.
pub(crate) enum Inbound {
    /// On a connection that is its own for so long.
    Http1(Box<OwnConnection>),
    /// On a connection that is shared, and driven by its own task.
    Http2(Incoming),
    /// The same, while the request is not over and nobody wants the rest of it: to end it would end the response too.
    Http2Unfinished {
        /// The response.
        incoming: Incoming,
        /// Held, so that the request does not end.
        _request: Sender<Option<Bytes>>,
    },
}

/// A connection that one response comes in on.
pub(crate) struct OwnConnection {
    pub(super) connection: Http1,
    pub(super) decoder: BodyDecoder,
    pub(super) pool: Arc<BackendPool>,
    pub(super) endpoint: usize,
}

/// A body ended before it was complete.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a body is cut")]
pub(crate) struct CutShort;

impl Inbound {
    /// Whether what has arrived may not have come out yet, because the connection is driven by another task.
    pub(crate) fn lags_behind(&self) -> bool {
        matches!(self, Self::Http2(_) | Self::Http2Unfinished { .. })
    }

    /// Gives the connection back: the response on it is complete.
    pub(crate) fn release(self) {
        if let Self::Http1(own) = self
            && own.decoder.is_over()
        {
            own.pool.put_idle(own.endpoint, own.connection);
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let polled = match &mut *self {
            Self::Http1(own) => own.connection.poll_body(cx, &mut own.decoder).map(|polled| {
                let cut = |error| {
                    tracing::debug!(%error, "the body of a response broke off");
                    CutShort
                };
                polled.map(|result| result.map(Frame::data).map_err(cut))
            }),
            Self::Http2(incoming) | Self::Http2Unfinished { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map_err(|_| CutShort)
            }
        };
        #[cfg(test)]
        crate::tests::trip_over(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(own) => own.decoder.is_over(),
            Self::Http2(incoming) | Self::Http2Unfinished { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(own) => own.decoder.bytes_left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Http2(incoming) | Self::Http2Unfinished { incoming, .. } => incoming.size_hint(),
        }
    }
}
