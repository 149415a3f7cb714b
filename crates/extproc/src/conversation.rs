//! One gRPC stream: messages in, answers out; it is woken as well when a backend has been silent for too long, and when all has to end.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::time::{Sleep, sleep};
use tollgate_envoy::processor::{Incoming, Messages, Outgoing};
use tollgate_telemetry::Telemetry;
use tollgate_terms::{BackendFault, Fault, GatewayFault};
use tonic::Status;

use crate::attempt::AttemptSide;
use crate::listener::ListenerSide;
use crate::running::Running;

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
    input: Messages,
    side: Side,
    telemetry: Arc<Telemetry>,
    answers: VecDeque<Outgoing>,
    /// When the backend has been silent for too long.
    silence: Option<Pin<Box<Sleep>>>,
    /// Whether it was told that all has to end.
    is_cut: bool,
}

impl Conversation {
    pub(crate) fn new(input: Messages, side: Side, telemetry: Arc<Telemetry>) -> Self {
        Self { input, side, telemetry, answers: VecDeque::with_capacity(2), silence: None, is_cut: false }
    }

    /// Does something by which the stream may end, and so may all that it is about. A bug ends this stream and no other.
    fn guard(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Status>) -> Result<(), Status> {
        let done = catch_unwind(AssertUnwindSafe(|| act(self))).unwrap_or_else(|_| {
            self.telemetry.panicked();
            Err(Status::internal("internal error of the gateway"))
        });
        if done.is_err() {
            self.side.fail();
            self.side = Side::Over;
        }
        done
    }

    /// Answers one message.
    fn take(&mut self, message: Incoming) -> Result<(), Status> {
        match &mut self.side {
            Side::Listener(listener) => listener.take(message, &mut self.answers)?,
            Side::Attempt(attempt) => attempt.take(message, &mut self.answers)?,
            Side::Over => {}
        }
        self.listen();
        Ok(())
    }

    /// Does what has to be done without a message.
    fn attend(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        if !self.is_cut && self.side.has_to_end(context) {
            self.is_cut = true;
            self.side.end(&mut self.answers);
        }
        if let (Side::Attempt(attempt), Some(silence)) = (&mut self.side, &mut self.silence)
            && silence.as_mut().poll(context).is_ready()
        {
            self.silence = None;
            attempt.break_off(Fault::Backend(BackendFault::IdleTimeout), &mut self.answers);
        }
        if let Side::Listener(listener) = &mut self.side {
            return listener.poll(context, &mut self.answers);
        }
        let Side::Attempt(attempt) = &mut self.side else { return Ok(()) };
        if attempt.poll(context, &mut self.answers)?.is_ready() {
            self.listen();
        }
        Ok(())
    }

    /// Counts the silence from now on.
    fn listen(&mut self) {
        self.silence = match &self.side {
            Side::Attempt(attempt) => attempt.patience().map(|patience| Box::pin(sleep(patience))),
            _ => None,
        };
    }
}

impl Side {
    /// Notes that its stream ends with an error, so that Envoy answers by itself: without a word to a listener's stream that is over.
    fn fail(&self) {
        let Some(running) = self.running() else { return };
        running.fail(Fault::Gateway(GatewayFault::Internal));
        if let Self::Listener(_) = self {
            running.set_status(500);
        }
    }

    /// The exchange that it is about.
    fn running(&self) -> Option<&Arc<Running>> {
        match self {
            Self::Listener(listener) => listener.running(),
            Self::Attempt(attempt) => attempt.running(),
            Self::Over => None,
        }
    }

    /// Whether all has to end. If not, the context is woken when it has.
    fn has_to_end(&self, context: &Context<'_>) -> bool {
        match self {
            Self::Listener(listener) => {
                listener.running().is_some_and(|running| running.listener.poll(context))
            }
            Self::Attempt(attempt) => attempt.running().is_some_and(|running| running.attempt.poll(context)),
            Self::Over => false,
        }
    }

    fn end(&mut self, answers: &mut VecDeque<Outgoing>) {
        match self {
            Self::Listener(listener) => listener.cut(answers),
            Self::Attempt(attempt) => attempt.break_off(Fault::Gateway(GatewayFault::Draining), answers),
            Self::Over => {}
        }
    }
}

impl Stream for Conversation {
    type Item = Result<Outgoing, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Poll::Ready(Some(Ok(answer)));
            }
            if matches!(&self.side, Side::Attempt(attempt) if attempt.is_broken_off()) {
                self.side = Side::Over;
                // Envoy would keep its backend's stream open when an answer ends before that; by an error it lets go of both.
                return Poll::Ready(Some(Err(Status::aborted("the answer was broken off"))));
            }
            match self.input.poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Err(status) = self.guard(|this| this.take(message)) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                Poll::Ready(_) => {
                    self.side = Side::Over;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if let Err(status) = self.guard(|this| this.attend(context)) {
                        return Poll::Ready(Some(Err(status)));
                    }
                    if self.answers.is_empty() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
