//! Credentials that others lend for a while: fetched on first need, renewed ahead of their end, one fetch for all who wait.
//!
//! All fetches are made by one thread, the [`Keeper`]'s, so that none belongs to a request that may be given up.

mod keeper;
pub(crate) mod ledger;
mod renewal;
mod surroundings;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tollgate_config::bundle::Proof;

use crate::clock;

pub(crate) use keeper::{Fetch, Keeper};
pub(crate) use renewal::{ENDLESS, backoff};
pub(crate) use surroundings::Surroundings;

/// How long a request waits for a credential. An Envoy waits 10 seconds for its processor.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// A credential that is fetched. Dropping it ends its renewal.
pub(crate) struct Live {
    state: watch::Receiver<State>,
    wanted: Arc<Notify>,
    is_retired: Arc<AtomicBool>,
    doubts: Arc<Notify>,
    task: AbortHandle,
}

/// What is known of a credential that is fetched.
#[derive(Clone, Default)]
struct State {
    /// The last one that was fetched, and when it ends.
    proof: Option<(Proof, Option<SystemTime>)>,
    /// How things stand after the last fetch.
    outlook: Outlook,
}

/// How things stand after the last fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Outlook {
    /// A fetch will come, or was good.
    #[default]
    Good,
    /// Waiting is no use for the moment.
    Bad,
}

impl State {
    /// The credential, if it is still good.
    fn proof_at(&self, now: SystemTime) -> Option<&Proof> {
        let (proof, end) = self.proof.as_ref()?;
        end.is_none_or(|end| now < end).then_some(proof)
    }
}

/// What there is of a credential at the moment.
pub(crate) enum Found {
    /// The credential.
    Proof(Proof),
    /// It can be waited for.
    Later(Awaited),
    /// It was fetched in vain, and is fetched again in a while.
    Unavailable,
}

/// A credential that is being fetched. It belongs to nobody who waits.
pub(crate) struct Awaited {
    state: watch::Receiver<State>,
}

impl Live {
    /// What there is at the moment.
    pub(crate) fn find(&self) -> Found {
        let state = self.state.borrow();
        if let Some(proof) = state.proof_at(clock::now()) {
            return Found::Proof(proof.clone());
        }
        self.wanted.notify_one();
        match state.outlook {
            Outlook::Good => Found::Later(Awaited { state: self.state.clone() }),
            Outlook::Bad => Found::Unavailable,
        }
    }

    /// Has it fetched anew, because a backend has not taken it: it may have been revoked ahead of its end. It serves on until then. One
    /// that was fetched in the last 5 seconds is left alone.
    pub(crate) fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Ends the renewal. Whoever still needs the credential, under a configuration before the one that is served, has it fetched by that.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Awaited {
    /// The credential, once it is there; `None` when it cannot be had, or not in time.
    pub(crate) async fn proof(mut self) -> Option<Proof> {
        let settled = |state: &State| state.outlook == Outlook::Bad || state.proof_at(clock::now()).is_some();
        let waiting = tokio::time::timeout(WAIT_MAX, self.state.wait_for(settled));
        let state = waiting.await.ok()?.ok()?;
        state.proof_at(clock::now()).cloned()
    }
}

impl fmt::Debug for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Awaited(..)")
    }
}

#[cfg(test)]
mod tests;
