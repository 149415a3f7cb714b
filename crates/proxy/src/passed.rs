//! The body of a response to a request of a plain rule: it goes to the client as it comes from the backend. However it ends, it
//! settles its exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_exchange::Outcome;
use tollgate_terms::{BackendFault, Fault};

use crate::answer::BrokenOff;
use crate::clock;
use crate::drain::Drain;
use crate::limits::Limits;
use crate::serving::InFlight;
use crate::settle::Running;
use crate::upstream::Inbound;

/// The body of a response that is passed on.
pub(crate) struct PassedBody {
    /// Until it is over.
    inbound: Option<Inbound>,
    running: Box<Running>,
    in_flight: Option<InFlight>,
    /// What is told of the length of a body that does not come: that of a response to `HEAD`.
    told: Option<SizeHint>,
    limits: Limits,
}

/// Everything that a body takes over.
pub(crate) struct PassedParts {
    pub(crate) inbound: Inbound,
    pub(crate) running: Box<Running>,
    pub(crate) in_flight: InFlight,
    pub(crate) told: Option<SizeHint>,
    pub(crate) idle_limit: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) drain: Arc<Drain>,
}

impl PassedBody {
    pub(crate) fn new(parts: PassedParts) -> Self {
        parts.running.patience.set(parts.idle_limit);
        let mut body = Self {
            inbound: Some(parts.inbound),
            running: parts.running,
            in_flight: Some(parts.in_flight),
            told: parts.told,
            limits: Limits::new(parts.idle_limit, parts.deadline, parts.drain),
        };
        body.finish_if_over();
        body
    }

    /// Whether all has been given.
    pub(crate) fn is_over(&self) -> bool {
        self.inbound.is_none()
    }

    /// The length of what is left, or the one that is told instead.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match (&self.inbound, &self.told) {
            (_, Some(told)) => *told,
            (Some(inbound), None) => inbound.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }

    /// Gives up what nobody wants: a response without a body has had one all the same.
    pub(crate) fn skip(&mut self) {
        if self.inbound.take().is_some() {
            self.finish(Outcome::Complete, None);
        }
    }

    /// The next piece.
    pub(crate) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            let Some(inbound) = &mut self.inbound else { return Poll::Ready(None) };
            let fault = match Pin::new(inbound).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers end here.
                    let Ok(data) = frame.into_data() else { continue };
                    self.limits.touch(clock::now());
                    self.running.add_body_bytes(data.len());
                    self.finish_if_over();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => Fault::Backend(BackendFault::Cut),
                Poll::Ready(None) => {
                    self.release();
                    return Poll::Ready(None);
                }
                Poll::Pending => match self.limits.poll(cx) {
                    None => return Poll::Pending,
                    Some(fault) => fault,
                },
            };
            self.inbound = None;
            self.finish(Outcome::of(&fault), Some(fault.label()));
            return Poll::Ready(Some(Err(BrokenOff)));
        }
    }

    fn finish_if_over(&mut self) {
        if self.inbound.as_ref().is_some_and(Body::is_end_stream) {
            self.release();
        }
    }

    /// Gives the connection back: the response on it is complete.
    fn release(&mut self) {
        if let Some(inbound) = self.inbound.take() {
            inbound.release();
        }
        self.finish(Outcome::Complete, None);
    }

    fn finish(&mut self, outcome: Outcome, fault: Option<&'static str>) {
        self.in_flight = None;
        self.running.settle(outcome, fault);
    }
}
