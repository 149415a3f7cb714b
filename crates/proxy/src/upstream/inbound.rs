//! The body of a response as it comes from a backend, and the connection that it comes in on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1::Http1;
use super::pool::BackendPool;

/// The body of a response. Dropped before it is complete, it closes its connection.
pub(crate) struct Inbound {
    incoming: Incoming,
    source: Source,
}

/// What a response comes in on.
pub(super) enum Source {
    /// A connection that is its own for so long.
    Http1 { connection: Http1, pool: Arc<BackendPool>, endpoint: usize },
    /// A connection that is shared, and driven by its own task.
    Http2,
}

impl Inbound {
    pub(super) fn new(incoming: Incoming, source: Source) -> Self {
        Self { incoming, source }
    }

    /// Whether what has arrived may not have come out yet, because the connection is driven by another task.
    pub(crate) fn lags_behind(&self) -> bool {
        matches!(self.source, Source::Http2)
    }

    /// Gives the connection back: the response on it is complete.
    pub(crate) fn release(self) {
        if let Source::Http1 { connection, pool, endpoint } = self.source {
            pool.put_idle(endpoint, connection);
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, source } = &mut *self;
        let mut incoming = Pin::new(incoming);
        match (incoming.as_mut().poll_frame(cx), source) {
            (Poll::Pending, Source::Http1 { connection, .. }) => {
                connection.drive(cx);
                incoming.poll_frame(cx)
            }
            (polled, _) => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
