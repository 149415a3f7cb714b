//! What proves the gateway to each backend of one configuration: the request's own credential, or the configured one.

mod prepare;
mod remote;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tollgate_config::Bundle;
use tollgate_config::bundle::{Backend, CredentialSource, ForwardProxy, Proof};
use tollgate_exchange::authorize::{Keyring, Wanted};
use tollgate_exchange::{Answer, Offered};
use tollgate_terms::Secret;

use crate::callers::Callers;
use crate::live::{Found, Keeper, Live, Surroundings};
use crate::{Awaited, Secrets};

pub(crate) use prepare::Fingerprint;
use prepare::Preparing;

/// What proves the gateway to the backends of one configuration. Cloning it copies one pointer.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: BTreeMap<CredentialSource, Held>,
    /// Once there was something to fetch.
    fetcher: Option<Fetcher>,
    /// The keys of callers.
    callers: Callers,
}

/// What is held of one source.
enum Held {
    /// As it was configured: it serves until the configuration changes.
    Fixed(Proof),
    /// Others lend it for a while.
    Lent(Arc<Lent>),
    /// It is not in the Secrets of the configuration, or not in the needed shape.
    Absent,
}

/// A credential that is fetched.
struct Lent {
    live: Live,
    /// Of the values of the Secrets that it is fetched with, or of where they are kept.
    fingerprint: [u8; 32],
}

/// Who fetches, and with what.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) around: Surroundings,
}

/// What there is of a credential.
pub(crate) enum Sought {
    /// All that can be said.
    Known(Answer),
    /// It is being fetched.
    Later(Awaited),
}

impl Credentials {
    /// Prepares the credentials of `bundle`, whose values are in `secrets`. What was fetched for the configuration `before` is taken
    /// over where its source is the same; what is not in `bundle` any more is renewed no longer.
    pub fn new(bundle: &Bundle, secrets: &Secrets, before: Option<&Self>) -> Self {
        let fetcher = before.and_then(|before| before.0.fetcher.clone());
        Self::prepare(bundle, secrets, before, fetcher)
    }

    /// As [`Credentials::new`], with other surroundings than those of the process.
    #[cfg(test)]
    pub(crate) fn within(bundle: &Bundle, secrets: &Secrets, around: Surroundings) -> Self {
        let keeper = Arc::new(Keeper::start().expect("a thread"));
        Self::prepare(bundle, secrets, None, Some(Fetcher { keeper, around }))
    }

    fn prepare(bundle: &Bundle, secrets: &Secrets, before: Option<&Self>, fetcher: Option<Fetcher>) -> Self {
        let credentials = bundle.backends.values().filter_map(|backend| backend.credential.as_ref());
        let sources = credentials.filter_map(|credential| credential.configured.as_ref());
        let proxies = proxies(bundle);
        let mut preparing = Preparing { bundle, secrets, before, proxies, held: BTreeMap::new(), fetcher };
        sources.for_each(|source| preparing.add(source));
        let Preparing { held, mut fetcher, .. } = preparing;
        let known = before.map(|before| &before.0.callers);
        let callers = Callers::new(bundle, secrets, known, || {
            fetcher = fetcher.take().or_else(Fetcher::of_process);
            fetcher.clone()
        });
        let credentials = Self(Arc::new(Inner { held, fetcher, callers }));
        if let Some(before) = before {
            before.retire_all_but(&credentials);
        }
        credentials
    }

    /// Notes that `backend` has not taken its configured credential. One that others lend is fetched anew soon.
    pub(crate) fn doubt(&self, backend: &Backend) {
        let configured = backend.credential.as_ref().and_then(|credential| credential.configured.as_ref());
        if let Some(Held::Lent(lent)) = configured.and_then(|source| self.0.held.get(source)) {
            lent.live.doubt();
        }
    }

    /// What is known of `source`, if it is still asked with the same secrets.
    fn lent(&self, source: &CredentialSource, fingerprint: [u8; 32]) -> Option<Arc<Lent>> {
        match self.0.held.get(source) {
            Some(Held::Lent(lent)) if lent.fingerprint == fingerprint => Some(Arc::clone(lent)),
            _ => None,
        }
    }

    fn retire_all_but(&self, after: &Self) {
        for (source, held) in &self.0.held {
            let Held::Lent(lent) = held else { continue };
            let stays = matches!(after.0.held.get(source), Some(Held::Lent(it)) if Arc::ptr_eq(it, lent));
            if !stays {
                lent.live.retire();
            }
        }
    }

    /// The keys by which callers prove who they are, as they are now.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.0.callers.keyring()
    }

    /// Has keys of callers fetched that an exchange has missed which had those in `used`, and waits for them, two seconds at most and with
    /// a bounded number of others. Returns those that are good then; `None` if they cannot be had.
    pub async fn renewed_keys(&self, wanted: &Wanted, used: &Keyring) -> Option<Arc<Keyring>> {
        self.0.callers.renewed(wanted, used).await
    }

    /// What proves the gateway to `backend`. `offered` are the parts of what the request brought in the headers that its credential
    /// names; they come first, and there are none where no such header is configured.
    ///
    /// White space around a value is cut off, and an empty value counts as none: files of keys end in line breaks. A
    /// configured credential that is not there is never replaced by none.
    pub(crate) fn find(&self, backend: &Backend, offered: &[Option<Offered>]) -> Sought {
        let known = Sought::Known;
        let Some(credential) = &backend.credential else { return known(Answer::Credential(None)) };
        if !credential.override_headers.is_empty() {
            let offered: Vec<Option<Secret>> =
                offered.iter().map(|part| part.as_ref().map(|part| part.0.clone())).collect();
            match credential.kind.offered(&offered) {
                Ok(Some(own)) => return known(Answer::Credential(Some(own))),
                Err(_) => return known(Answer::HalfCredential),
                Ok(None) => {}
            }
            if !credential.fallback_to_configured || credential.configured.is_none() {
                return known(Answer::MissingCredential);
            }
        }
        let Some(configured) = &credential.configured else { return known(Answer::Credential(None)) };
        match self.0.held.get(configured) {
            Some(Held::Fixed(proof)) => known(Answer::Credential(Some(proof.clone()))),
            Some(Held::Lent(lent)) => match lent.live.find() {
                Found::Proof(proof) => known(Answer::Credential(Some(proof))),
                Found::Later(awaited) => Sought::Later(awaited),
                Found::Unavailable => known(Answer::UnavailableCredential),
            },
            Some(Held::Absent) | None => known(Answer::MissingCredential),
        }
    }
}

/// The proxies through which credentials are fetched: those of the routes to their backends. Where these differ, the first one.
fn proxies(bundle: &Bundle) -> BTreeMap<CredentialSource, &ForwardProxy> {
    let mut proxies = BTreeMap::new();
    for route in &bundle.routes {
        let Some(proxy) = bundle.forward_proxy(route) else { continue };
        let targets = route.rules.iter().flat_map(|rule| &rule.targets);
        let backends = targets.filter_map(|target| bundle.backends.get(&target.backend));
        for source in backends.filter_map(|backend| backend.credential.as_ref()?.configured.as_ref()) {
            proxies.entry(source.clone()).or_insert(proxy);
        }
    }
    proxies
}

/// Tells where credentials come from, never what they are.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.held.keys()).finish()
    }
}

#[cfg(test)]
mod lent_tests;
#[cfg(test)]
mod remote_tests;
#[cfg(test)]
#[expect(dead_code, reason = "shared with tests/issue, which use all of it")]
#[path = "../tests/issue/service.rs"]
mod service;
#[cfg(test)]
mod tests;
