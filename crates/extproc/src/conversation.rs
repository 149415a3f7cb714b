//! One gRPC stream: a message in, its answer out, and nothing in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tollgate_envoy::processing::{ProcessingRequest, ProcessingResponse};
use tollgate_telemetry::Telemetry;
use tonic::{Status, Streaming};

use crate::attempt::AttemptSide;
use crate::listener::ListenerSide;

/// Who is at the other end.
pub(crate) enum Side {
    /// A listener, with a request.
    Listener(Box<ListenerSide>),
    /// A cluster, with one try at one of its hosts.
    Attempt(Box<AttemptSide>),
    /// Nobody any more.
    Over,
}

/// One gRPC stream of Envoy's. Dropping it ends what it was about.
pub struct Conversation {
    pub(crate) input: Streaming<ProcessingRequest>,
    pub(crate) side: Side,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Conversation {
    /// Answers one message; `None` when it needs no answer. A bug ends this stream and no other.
    fn take(&mut self, message: ProcessingRequest) -> Result<Option<ProcessingResponse>, Status> {
        let side = &mut self.side;
        let answered = catch_unwind(AssertUnwindSafe(|| match side {
            Side::Listener(listener) => listener.take(message),
            Side::Attempt(attempt) => attempt.take(message),
            Side::Over => Ok(None),
        }));
        answered.unwrap_or_else(|_| {
            self.telemetry.panicked();
            self.side = Side::Over;
            Err(Status::internal("internal error of the gateway"))
        })
    }
}

impl Stream for Conversation {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(Ok(message)) = ready!(Pin::new(&mut self.input).poll_next(context)) else {
                self.side = Side::Over;
                return Poll::Ready(None);
            };
            match self.take(message) {
                Ok(Some(response)) => return Poll::Ready(Some(Ok(response))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }
}
