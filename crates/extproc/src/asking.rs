//! What a listener's stream waits for before it answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tollgate_effects::Credentials;
use tollgate_effects::quota::Reservation;
use tollgate_envoy::processor::Phase;
use tollgate_exchange::authorize::{Keyring, Wanted};
use tollgate_exchange::{ClientRequest, Detour, LocalReply, Passage, Refusal, Routed};

use crate::processor::Shared;

/// Limits or an issuer, while they are asked.
pub(crate) struct Asking(Pin<Box<dyn Future<Output = Told> + Send>>);

/// What they say.
pub(crate) enum Told {
    /// Whether limits let a request of a plain rule through.
    Passage(Result<Option<Reservation>, Refusal>),
    /// To which model a request goes: to that of the limit at this place, which has nothing left.
    Model(Box<Led>, Option<usize>),
    /// The keys that a request has missed, if they can be had.
    Keys(Box<Missing>, Option<Arc<Keyring>>),
}

/// A request of which a budget is asked to which model it goes.
pub(crate) struct Led {
    pub(crate) detour: Detour,
    pub(crate) request: (Arc<Routed>, ClientRequest),
    pub(crate) phase: Phase,
}

/// A request that has missed keys.
pub(crate) struct Missing {
    pub(crate) stage: Stage,
    /// What the client gets if they do not come.
    pub(crate) reply: LocalReply,
}

/// How far a request was read.
pub(crate) enum Stage {
    Head { is_end: bool },
    Body(Bytes, Phase),
}

impl Asking {
    pub(crate) fn passage(mut passage: Box<Passage>, shared: &Shared) -> Self {
        let quotas = shared.quotas().clone();
        Self(Box::pin(async move { Told::Passage(tollgate_effects::admit(&mut passage, &quotas).await) }))
    }

    pub(crate) fn model(led: Led, shared: &Shared) -> Self {
        let (led, quotas) = (Box::new(led), shared.quotas().clone());
        Self(Box::pin(async move {
            let at = tollgate_effects::ask(&led.detour, &quotas).await;
            Told::Model(led, at)
        }))
    }

    /// Asks for `wanted`, for a request that had the keys in `used`.
    pub(crate) fn keys(
        missing: Missing,
        (wanted, used): (Wanted, Arc<Keyring>),
        credentials: &Credentials,
    ) -> Self {
        let (missing, credentials) = (Box::new(missing), credentials.clone());
        Self(Box::pin(async move {
            let keyring = credentials.renewed_keys(&wanted, &used).await;
            Told::Keys(missing, keyring)
        }))
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        self.0.as_mut().poll(context)
    }
}
