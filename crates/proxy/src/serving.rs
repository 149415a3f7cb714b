//! What all workers serve from: replaced whole at each reload, never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tollgate_config::bundle::{Backend, Ejection};
use tollgate_config::{CompiledRule, Snapshot};
use tollgate_effects::{Credentials, Secrets};
use tollgate_policy::health::{Health, Others, Sign};
use tollgate_terms::{BackendName, FastMap};

use crate::door::Door;
use crate::upstream::Way;

/// One configuration, ready to serve.
pub(crate) struct Serving {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) credentials: Credentials,
    /// Where to listen, and who answers there.
    pub(crate) doors: BTreeMap<SocketAddr, Arc<Door>>,
    /// Live state of each backend; survives reloads.
    backends: FastMap<BackendName, Arc<BackendState>>,
    /// For the credentials that proxies are shown.
    secrets: Secrets,
}

/// What all workers know of one backend.
#[derive(Debug, Default)]
pub(crate) struct BackendState {
    health: Mutex<Health>,
    in_flight: AtomicU32,
}

impl Serving {
    /// Prepares a configuration. What is known of backends that stay is taken over from `before`.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        secrets: &Secrets,
        doors: BTreeMap<SocketAddr, Arc<Door>>,
        before: Option<&Self>,
    ) -> Self {
        let known = |name: &BackendName| before.and_then(|before| before.backends.get(name)).cloned();
        let backends = snapshot
            .bundle()
            .backends
            .keys()
            .map(|name| (name.clone(), known(name).unwrap_or_default()))
            .collect();
        let credentials =
            Credentials::new(snapshot.bundle(), secrets, before.map(|before| &before.credentials));
        Self { snapshot, credentials, doors, backends, secrets: secrets.clone() }
    }

    /// The way to the backends of `rule`, if a proxy leads there.
    pub(crate) fn way<'a>(&'a self, rule: &'a CompiledRule) -> Option<Way<'a>> {
        rule.proxy.as_ref().map(|proxy| Way { proxy, secrets: &self.secrets })
    }

    /// The live state of `backend`.
    pub(crate) fn backend(&self, backend: &Backend) -> Arc<BackendState> {
        self.backends.get(&backend.name).cloned().unwrap_or_default()
    }

    /// Takes in what an attempt under `rule` said about `backend`; tells the length of the ejection if that ejects it.
    pub(crate) fn observe(
        &self,
        backend: &Backend,
        rule: &CompiledRule,
        sign: Option<Sign>,
        now: Instant,
    ) -> Option<Duration> {
        let (Some(policy), Some(sign)) = (&backend.ejection, sign) else { return None };
        let others = match sign {
            // Most attempts go well, and eject nobody: nothing has to be counted.
            Sign::Well => Others { total: 0, ejected: 0 },
            Sign::ServerError | Sign::GatewayError => self.others(rule, now),
        };
        self.backends.get(&backend.name)?.observe(sign, policy, others, now)
    }

    fn others(&self, rule: &CompiledRule, now: Instant) -> Others {
        let names: BTreeSet<&BackendName> = rule.targets.iter().map(|target| &target.backend.name).collect();
        let is_ejected =
            |name: &&&BackendName| self.backends.get(**name).is_some_and(|state| !state.is_healthy(now));
        Others { total: names.len(), ejected: names.iter().filter(is_ejected).count() }
    }

    /// Whether `backend` may be sent to at `now`.
    pub(crate) fn is_healthy(&self, backend: &Backend, now: Instant) -> bool {
        backend.ejection.is_none()
            || self.backends.get(&backend.name).is_none_or(|state| state.is_healthy(now))
    }
}

impl BackendState {
    fn observe(&self, sign: Sign, policy: &Ejection, others: Others, now: Instant) -> Option<Duration> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).observe(sign, policy, others, now)
    }

    /// Counts a request in, unless as many as allowed are in flight.
    pub(crate) fn enter(self: &Arc<Self>, backend: &Backend) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let guard = InFlight(Arc::clone(self));
        (before < backend.limits.requests_max).then_some(guard)
    }

    fn is_healthy(&self, now: Instant) -> bool {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).is_healthy(now)
    }
}

/// One request in flight at a backend.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<BackendState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
