//! What the core tells a data plane to do next, what it may ask, and what it is told.

use std::sync::Arc;

use tollgate_config::bundle::{Backend, Proof};
use tollgate_policy::quota::{Claim, Standing};
use tollgate_terms::{AttemptId, Fault, Secret};

use crate::refusal::LocalReply;

/// The next step of an exchange or attempt.
#[derive(Debug)]
pub enum Step<T> {
    /// Go on, with this.
    Forward(T),
    /// Nothing to pass on yet: bring the next piece.
    Hold,
    /// Find the answer to this and hand it to `supply`.
    Ask(Need),
    /// Answer the client with this; the backend's answer is not wanted any more.
    Reply(LocalReply),
    /// Give this attempt up and make another.
    Retry(Fault),
}

/// What the core cannot know by itself. `effects` finds the answers.
#[derive(Debug)]
pub enum Need {
    /// Whether limits have something left for the attempt.
    Quota {
        /// Names the attempt: no two have the same.
        id: AttemptId,
        /// What it wants to take, all or nothing.
        claims: Arc<[Claim]>,
    },
    /// What proves the gateway to a backend.
    Credential {
        /// The backend, whose credential is as configured.
        backend: Arc<Backend>,
        /// The parts of a credential that the request itself brought, in the order of
        /// [`CredentialKind::offered_parts`](tollgate_config::bundle::CredentialKind::offered_parts). None where the
        /// configuration allows none.
        offered: Vec<Option<Offered>>,
    },
}

/// A part of a credential that a request brought with it. Not printable, like every secret.
#[derive(Clone)]
pub struct Offered(pub Secret);

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offered(..)")
    }
}

/// The answer to a [`Need`].
pub enum Answer {
    /// What was claimed is taken, and each limit now stands so.
    Granted(Vec<Standing>),
    /// Nothing is taken, since one of the claims does not fit.
    Exceeded {
        /// Which.
        at: usize,
        /// How each limit stands.
        standings: Vec<Standing>,
    },
    /// Nobody knows how the limits stand.
    Unchecked,
    /// The proof; `None` when the backend is to be called without one.
    Credential(Option<Proof>),
    /// There is no credential, and the backend must not be called without one.
    MissingCredential,
    /// The request brought a part of a credential, and the rest is missing.
    HalfCredential,
    /// The configured credential cannot be had at the moment.
    UnavailableCredential,
}
