//! Going away gracefully: first no new connections, then no new requests, at the end no more bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

const DRAINING: u8 = 1;
const CUTTING: u8 = 2;

/// How far the gateway has gone on its way out, shared by all its parts.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    phase: AtomicU8,
    exchanges: AtomicUsize,
    draining: Arc<Notify>,
    cutting: Arc<Notify>,
    idle: Notify,
}

impl Drain {
    /// Begins to drain: connections end after the request that they are serving.
    pub(crate) fn begin(&self) {
        self.phase.store(DRAINING, Ordering::SeqCst);
        self.draining.notify_waiters();
    }

    /// Ends what is still running, with an error where one can be told.
    pub(crate) fn cut(&self) {
        self.phase.store(CUTTING, Ordering::SeqCst);
        self.draining.notify_waiters();
        self.cutting.notify_waiters();
    }

    /// Whether draining has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.phase.load(Ordering::SeqCst) >= DRAINING
    }

    /// Whether the grace period is over.
    pub(crate) fn is_cutting(&self) -> bool {
        self.phase.load(Ordering::SeqCst) >= CUTTING
    }

    /// Completes when draining begins.
    pub(crate) async fn begun(&self) {
        self.reach(DRAINING, &self.draining).await;
    }

    /// Completes when the grace period is over.
    pub(crate) async fn cut_off(&self) {
        self.reach(CUTTING, &self.cutting).await;
    }

    async fn reach(&self, phase: u8, signal: &Notify) {
        let notified = signal.notified();
        if self.phase.load(Ordering::SeqCst) < phase {
            notified.await;
        }
    }

    /// A future that completes when the grace period is over. Register by polling, then ask [`Drain::is_cutting`].
    pub(crate) fn cut_signal(&self) -> Pin<Box<OwnedNotified>> {
        Box::pin(Arc::clone(&self.cutting).notified_owned())
    }

    /// Counts an exchange in until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> ExchangeGuard {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        ExchangeGuard(Arc::clone(self))
    }

    /// Completes when no exchange is running.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.exchanges.load(Ordering::SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One running exchange.
#[derive(Debug)]
pub(crate) struct ExchangeGuard(Arc<Drain>);

impl ExchangeGuard {
    /// Whether the grace period is over.
    pub(crate) fn is_cutting(&self) -> bool {
        self.0.is_cutting()
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        if self.0.exchanges.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
