//! The keys of callers: hashes of API keys, and the key sets of those who issue tokens.

mod jwk;
mod remote;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_config::Bundle;
use tollgate_config::bundle::{Access, ForwardProxy, KeyHost, KeySource};
use tollgate_exchange::authorize::{ApiKeyHash, KeySet, Keyring, PolicyKeys, Wanted};

use crate::Secrets;
use crate::credentials::{Fetcher, Fingerprint};
use crate::issue::{Client, IssueError};
use jwk::Shared;
use remote::{Fetched, RemoteKeys};

/// The keys of callers of one configuration, kept up to date.
#[derive(Default)]
pub(crate) struct Callers {
    keyring: Arc<ArcSwap<Keyring>>,
    /// Those that are fetched, by where they are.
    remote: BTreeMap<KeySource, Arc<RemoteKeys>>,
    /// Where the keys of a provider are: by policy and place.
    sources: BTreeMap<(Arc<str>, usize), KeySource>,
}

impl Callers {
    /// Prepares the keys of `bundle`. What was fetched for the configuration `before` is taken over. `fetcher` fetches the rest.
    pub(crate) fn new(
        bundle: &Bundle,
        secrets: &Secrets,
        before: Option<&Self>,
        mut fetcher: impl FnMut() -> Option<Fetcher>,
    ) -> Self {
        let mut callers = Self::default();
        let mut keyring = Keyring::new(rand::random());
        let proxies = proxies(bundle);
        for (name, access) in &bundle.access {
            let name: Arc<str> = name.as_str().into();
            let mut sets = Vec::new();
            // Of tokens that a filter verifies no key is needed here.
            let own = access.jwt.iter().filter(|_| !access.handed_over.tokens);
            for (at, provider) in own.flat_map(|jwt| &jwt.providers).enumerate() {
                callers.sources.insert((Arc::clone(&name), at), provider.keys.clone());
                sets.push(match &provider.keys {
                    KeySource::Written(text) => fixed(&name, text.as_bytes(), Shared::Refused),
                    KeySource::Secret(reference) => {
                        let text = secrets.get(reference).map(|value| value.expose().as_bytes());
                        fixed(&name, text.unwrap_or_default(), Shared::Taken)
                    }
                    KeySource::Remote { .. } => {
                        let way = Way { proxy: proxies.get(&*name).copied(), secrets };
                        callers.fetched(&provider.keys, way, before, &mut fetcher)
                    }
                });
            }
            let mut keys = PolicyKeys::new(sets);
            add_clients(&keyring, &mut keys, (&name, access), secrets);
            keyring.add_policy(name, keys);
        }
        callers.keyring.store(Arc::new(keyring));
        callers.follow(&mut fetcher);
        callers
    }

    /// The keys that are good now.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Has keys fetched that somebody has missed who had those in `used`, and waits for them, for a moment. Returns those that are good
    /// then; `None` if they cannot be had.
    pub(crate) async fn renewed(&self, wanted: &Wanted, used: &Keyring) -> Option<Arc<Keyring>> {
        let Wanted { access, provider } = wanted;
        let source = self.sources.get(&(Arc::clone(access), *provider))?;
        let remote = self.remote.get(source)?;
        if !remote.renewed(used.set_of(access, *provider)?).await {
            return None;
        }
        let fetched = remote.state.borrow().set.clone();
        // They may not be taken in yet.
        let is_known = |set: &KeySet| set.is_same(&fetched);
        if !self.keyring.load().set_of(access, *provider).is_some_and(is_known) {
            take_in(&self.keyring, (access, *provider), &remote.state);
        }
        Some(self.keyring())
    }

    fn fetched(
        &mut self,
        source: &KeySource,
        way: Way<'_>,
        before: Option<&Self>,
        fetcher: &mut impl FnMut() -> Option<Fetcher>,
    ) -> KeySet {
        let KeySource::Remote { uri, refresh, host } = source else { return KeySet::default() };
        let fingerprint = way.fingerprint();
        let is_same = |remote: &&Arc<RemoteKeys>| remote.fingerprint == fingerprint;
        let before = || before?.remote.get(source).filter(is_same);
        let known = self.remote.get(source).or_else(before).cloned();
        let start = || {
            let Fetcher { keeper, around } = fetcher()?;
            let client = way.client(around.client, host.as_ref());
            // Not by another way, then.
            let client =
                client.inspect_err(|error| tracing::error!(uri, %error, "no keys are fetched")).ok()?;
            let started = RemoteKeys::start(keeper.runtime(), client, (uri.clone(), *refresh), fingerprint);
            Some(Arc::new(started))
        };
        let Some(remote) = known.or_else(start) else { return KeySet::default() };
        let set = remote.state.borrow().set.clone();
        self.remote.insert(source.clone(), remote);
        set
    }

    /// Takes in what is fetched from now on, as long as this is there.
    fn follow(&self, fetcher: &mut impl FnMut() -> Option<Fetcher>) {
        for ((name, provider), source) in &self.sources {
            let Some(remote) = self.remote.get(source) else { continue };
            let Some(Fetcher { keeper, .. }) = fetcher() else { continue };
            let (keyring, mut state) = (Arc::downgrade(&self.keyring), remote.state.clone());
            let (name, provider) = (Arc::clone(name), *provider);
            // What has come since the keyring was made is taken in at once.
            state.mark_changed();
            keeper.runtime().spawn(async move {
                while state.changed().await.is_ok() {
                    let Some(keyring) = keyring.upgrade() else { return };
                    take_in(&keyring, (&name, provider), &state);
                }
            });
        }
    }
}

/// How the keys of a policy are reached.
#[derive(Clone, Copy)]
struct Way<'a> {
    proxy: Option<&'a ForwardProxy>,
    secrets: &'a Secrets,
}

impl Way<'_> {
    fn client(self, client: Client, host: Option<&KeyHost>) -> Result<Client, IssueError> {
        let client = match self.proxy {
            None => client,
            Some(proxy) => client.through(proxy, self.secrets)?,
        };
        match host {
            None => Ok(client),
            Some(host) => client.at(host),
        }
    }

    fn fingerprint(self) -> [u8; 32] {
        let mut fingerprint = Fingerprint::default();
        if let Some(proxy) = self.proxy {
            fingerprint.add_proxy(proxy, self.secrets);
        }
        fingerprint.finish()
    }
}

/// The proxies through which keys of policies are fetched: those of the listeners that have rules under them. Where these differ, the first one.
fn proxies(bundle: &Bundle) -> BTreeMap<&str, &ForwardProxy> {
    let of_models = bundle.routes.iter().map(|route| {
        let policies: Vec<_> = route.rules.iter().filter_map(|rule| rule.access.as_deref()).collect();
        (&route.listeners, policies)
    });
    let of_plain = bundle.plain_routes.iter().map(|route| {
        let policies = route.rules.iter().filter_map(|rule| rule.access.as_deref()).collect();
        (&route.listeners, policies)
    });
    let mut proxies = BTreeMap::new();
    for (listeners, policies) in of_models.chain(of_plain) {
        let Some(proxy) = bundle.forward_proxy_of(listeners) else { continue };
        for policy in policies {
            proxies.entry(policy).or_insert(proxy);
        }
    }
    proxies
}

/// Puts what is known of the keys of a provider of a policy into the keyring.
fn take_in(keyring: &ArcSwap<Keyring>, (name, provider): (&str, usize), state: &watch::Receiver<Fetched>) {
    keyring.rcu(|keyring| {
        let mut keyring = Keyring::clone(keyring);
        // Read each time that this is tried, so that nobody puts back what another has put there.
        keyring.set(name, provider, state.borrow().set.clone());
        keyring
    });
}

/// A key set that does not change. What is wrong with it was told when it was planned.
fn fixed(name: &str, text: &[u8], shared: Shared) -> KeySet {
    let keys = jwk::parse(text, shared);
    let keys = keys.inspect_err(|reason| tracing::error!(policy = name, reason, "no token can be verified"));
    KeySet { keys: Some(keys.unwrap_or_default()), asked_at_s: None }
}

fn add_clients(keyring: &Keyring, keys: &mut PolicyKeys, (name, access): (&str, &Access), secrets: &Secrets) {
    for client in access.api_keys.iter().flat_map(|api_keys| &api_keys.clients) {
        let value = secrets.get(&client.key).map(|value| ApiKeyHash::parse(value.expose()));
        match value.unwrap_or(Err("is not there")) {
            Ok(hash) => keyring.add_client(keys, hash, Arc::new(client.principal.clone())),
            Err(reason) => tracing::error!(policy = name, client = client.key.key, reason, "no API key"),
        }
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sources.keys()).finish()
    }
}

#[cfg(test)]
mod forged_tests;
