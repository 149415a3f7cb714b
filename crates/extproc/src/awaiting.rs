//! A try whose credential is being fetched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tollgate_config::bundle::Proof;
use tollgate_effects::Awaited;
use tollgate_envoy::processing::HeaderValue;
use tollgate_exchange::{Attempt, Ending};
use tollgate_terms::{ClientFault, Fault};

use crate::running::Running;

/// A try, as far as it has come.
pub(crate) struct Begun {
    pub(crate) attempt: Attempt,
    pub(crate) number: u32,
    pub(crate) running: Arc<Running>,
    /// What Envoy's request says.
    pub(crate) sent: Vec<HeaderValue>,
    /// What the backend is asked as.
    pub(crate) authority: Option<String>,
}

/// A try whose credential is being fetched.
pub(crate) struct Awaiting {
    /// Until the credential is there.
    begun: Option<Begun>,
    credential: Pin<Box<dyn Future<Output = Option<Proof>> + Send>>,
}

impl Awaiting {
    pub(crate) fn new(begun: Begun, awaited: Awaited) -> Self {
        Self { begun: Some(begun), credential: Box::pin(awaited.proof()) }
    }

    /// The try and what was waited for, once that is there or cannot be had.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(Begun, Option<Proof>)>> {
        let Poll::Ready(proof) = self.credential.as_mut().poll(context) else { return Poll::Pending };
        Poll::Ready(self.begun.take().map(|begun| (begun, proof)))
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
