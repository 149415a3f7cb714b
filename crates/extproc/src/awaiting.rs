//! A try that waits: for its credential, or for whoever keeps the counters of its limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tollgate_effects::{Arrived, Awaiting as Awaited, Tried};
use tollgate_envoy::processor::Headers;
use tollgate_exchange::Ending;
use tollgate_terms::{ClientFault, Fault};

use crate::running::Running;

/// A try, as far as it has come.
pub(crate) struct Begun {
    pub(crate) attempt: Tried,
    pub(crate) number: u32,
    pub(crate) running: Arc<Running>,
    /// What Envoy's request says.
    pub(crate) sent: Headers,
    /// What the backend is asked as.
    pub(crate) authority: Option<String>,
}

/// A try that waits.
pub(crate) struct Awaiting {
    /// Until what it waits for is there.
    begun: Option<Begun>,
    arriving: Pin<Box<dyn Future<Output = Arrived> + Send>>,
}

impl Awaiting {
    pub(crate) fn new(begun: Begun, awaited: Awaited) -> Self {
        Self { begun: Some(begun), arriving: Box::pin(awaited.arrived()) }
    }

    /// The try and what was waited for, once that is there or cannot be had.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(Begun, Arrived)>> {
        let Poll::Ready(arrived) = self.arriving.as_mut().poll(context) else { return Poll::Pending };
        Poll::Ready(self.begun.take().map(|begun| (begun, arrived)))
    }

    /// The exchange that it is about.
    pub(crate) fn running(&self) -> Option<&Arc<Running>> {
        self.begun.as_ref().map(|begun| &begun.running)
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if let Some(Begun { attempt, running, .. }) = self.begun.take() {
            running.end_attempt(attempt, Ending::GivenUp(Fault::Client(ClientFault::Gone)));
        }
    }
}
