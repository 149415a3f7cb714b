//! Waits that must not take too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::clock;

/// Tells when a wait has taken too long. Its timer is set anew only when it fires, so that a request costs no timer work.
#[derive(Default)]
pub(crate) struct Overdue {
    /// When the wait was first looked at.
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Overdue {
    /// Another wait begins.
    pub(crate) fn restart(&mut self) {
        self.since = None;
    }

    /// Completes when this wait has lasted for `limit`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let due = *self.since.get_or_insert_with(clock::now) + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if due <= clock::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due.into());
        }
    }
}
