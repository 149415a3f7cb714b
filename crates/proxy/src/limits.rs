//! Until when the body of a response may go on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::clock;
use crate::drain::Drain;

/// The bounds of one body.
pub(crate) struct Limits {
    idle: Option<IdleTimer>,
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Arc<Drain>,
    cut: Pin<Box<OwnedNotified>>,
}

impl Limits {
    /// Bounds on silence, which is counted from now on, and on the whole; and the end of everything.
    pub(crate) fn new(idle: Option<Duration>, deadline: Option<Instant>, drain: Arc<Drain>) -> Self {
        Self {
            idle: idle.map(IdleTimer::new),
            deadline: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into()))),
            cut: drain.cut_signal(),
            drain,
        }
    }

    /// Notes that something has come.
    pub(crate) fn touch(&mut self, now: Instant) {
        if let Some(idle) = &mut self.idle {
            idle.last = now;
        }
    }

    /// What is overstepped. If nothing is, the context is woken when that may have changed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Fault> {
        if self.cut.as_mut().poll(cx).is_ready() || self.drain.is_cutting() {
            return Some(Fault::Gateway(GatewayFault::Draining));
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Some(Fault::Backend(BackendFault::Deadline));
        }
        let idle = self.idle.as_mut()?;
        idle.poll(cx).then_some(Fault::Backend(BackendFault::IdleTimeout))
    }
}

/// Fires when nothing has come for a while. Re-armed only when it fires, so that an event costs no timer work.
struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    /// One that begins now.
    fn new(limit: Duration) -> Self {
        Self { limit, last: clock::now(), sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Whether nothing has come for the whole limit.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let due = self.last + self.limit;
            if due <= clock::now() {
                return true;
            }
            self.sleep.as_mut().reset(due.into());
        }
        false
    }
}
