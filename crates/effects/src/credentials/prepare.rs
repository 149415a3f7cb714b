//! From the sources of one configuration to what is held of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate_config::bundle::{
    AwsSource, CredentialSource, ForwardProxy, Proof, ProxyCredential, profile_keys,
};
use tollgate_config::{Bundle, header_value};
use tollgate_terms::Secret;

use super::remote::Remote;
use super::{Credentials, Fetcher, Held, Lent};
use crate::issue::{IssueError, Issued};
use crate::live::{ENDLESS, Fetch, Keeper, Surroundings};
use crate::{Secrets, source};

/// What is held so far.
pub(super) struct Preparing<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) secrets: &'a Secrets,
    pub(super) before: Option<&'a Credentials>,
    /// Those through which sources are asked.
    pub(super) proxies: BTreeMap<CredentialSource, &'a ForwardProxy>,
    pub(super) held: BTreeMap<CredentialSource, Held>,
    pub(super) fetcher: Option<Fetcher>,
}

/// What a source is asked with.
struct Asked {
    source: CredentialSource,
    secrets: Secrets,
    remote: Option<Remote>,
    around: Surroundings,
}

impl Preparing<'_> {
    /// Adds what is held of `source`.
    pub(super) fn add(&mut self, source: &CredentialSource) {
        if self.held.contains_key(source) {
            return;
        }
        let kept = if is_asked(source) || self.is_remote(source) {
            self.lent(source).map_or(Held::Absent, Held::Lent)
        } else {
            fixed(source, self.secrets).map_or(Held::Absent, Held::Fixed)
        };
        self.held.insert(source.clone(), kept);
    }

    fn lent(&mut self, source: &CredentialSource) -> Option<Arc<Lent>> {
        // First, so that the keys that it is asked with are held on to when it is taken over.
        let chain = match self.is_remote(source) {
            true => Some(self.default_chain(source)?),
            false => None,
        };
        let fingerprint = self.fingerprint(source);
        if let Some(lent) = self.before.and_then(|before| before.lent(source, fingerprint)) {
            return Some(lent);
        }
        if self.fetcher.is_none() {
            self.fetcher = Fetcher::of_process();
        }
        let Fetcher { keeper, mut around } = self.fetcher.clone()?;
        if let Some(proxy) = self.proxies.get(source) {
            let client = around.client.through(proxy, self.secrets);
            let name = source::name(source);
            // Not around the proxy, then.
            around.client =
                client.inspect_err(|error| tracing::error!(%error, "{name} is not asked")).ok()?;
        }
        let remote = chain.map(|chain| Remote::of(source, self.bundle, chain));
        let endless = remote.as_ref().map_or(ENDLESS, Remote::refresh);
        let secrets = self.secrets.of(&source.secrets());
        let asked = Arc::new(Asked { source: source.clone(), secrets, remote, around });
        let fetch: Fetch = Box::new(move || {
            let asked = Arc::clone(&asked);
            Box::pin(async move { asked.ask().await })
        });
        let live = keeper.keep(source::name(source), endless, fetch);
        Some(Arc::new(Lent { live, fingerprint }))
    }

    /// The keys that AWS Secrets Manager is asked with for `wanting`.
    fn default_chain(&mut self, wanting: &CredentialSource) -> Option<Arc<Lent>> {
        let source = CredentialSource::Aws(AwsSource::Environment);
        if let Some(proxy) = self.proxies.get(wanting).copied() {
            self.proxies.entry(source.clone()).or_insert(proxy);
        }
        self.add(&source);
        match self.held.get(&source) {
            Some(Held::Lent(chain)) => Some(Arc::clone(chain)),
            Some(Held::Fixed(_) | Held::Absent) | None => None,
        }
    }

    fn is_remote(&self, source: &CredentialSource) -> bool {
        source.secrets().into_iter().any(|reference| self.bundle.remote_secret(reference).is_some())
    }

    /// Tells whether the values of the Secrets of `source` are others, or are kept elsewhere, or have another way here, without keeping them.
    fn fingerprint(&self, source: &CredentialSource) -> [u8; 32] {
        let mut fingerprint = Fingerprint::default();
        let mut add = |text: &str| fingerprint.add(text);
        for reference in source.secrets() {
            match self.bundle.remote_secret(reference) {
                None => add(self.secrets.get(reference).map(Secret::expose).unwrap_or_default()),
                Some(remote) => {
                    add(&remote.region);
                    add(&remote.id);
                    add(&remote.refresh.as_millis().to_string());
                }
            }
        }
        if let Some(proxy) = self.proxies.get(source) {
            fingerprint.add_proxy(proxy, self.secrets);
        }
        fingerprint.finish()
    }
}

/// Tells whether what is asked with is another, without keeping it.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a text, with its length, so that no two texts are one.
    pub(crate) fn add(&mut self, text: &str) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }

    /// Adds a proxy and what it is shown.
    pub(crate) fn add_proxy(&mut self, proxy: &ForwardProxy, secrets: &Secrets) {
        self.add(&format!("{proxy:?}"));
        for reference in proxy.credential.iter().flat_map(ProxyCredential::secrets) {
            self.add(secrets.get(reference).map(Secret::expose).unwrap_or_default());
        }
    }

    /// All of it.
    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Asked {
    async fn ask(&self) -> Result<Issued<Proof>, IssueError> {
        let Some(remote) = &self.remote else {
            return source::ask(&self.source, &self.secrets, &self.around).await;
        };
        if is_asked(&self.source) {
            let secrets = self.secrets.with(remote.values_or_last(&self.around).await?);
            return source::ask(&self.source, &secrets, &self.around).await;
        }
        let secrets = self.secrets.with(remote.values(&self.around).await?);
        let value = fixed(&self.source, &secrets).filter(can_be_shown).ok_or_else(|| {
            let name = source::name(&self.source);
            IssueError::Misconfigured(format!(
                "AWS Secrets Manager has for {name} not what it should: expected {}",
                needed(&self.source)
            ))
        })?;
        Ok(Issued { value, expires_at: None })
    }
}

impl Fetcher {
    pub(super) fn of_process() -> Option<Self> {
        let around = Surroundings::of_process();
        let around =
            around.inspect_err(|error| tracing::error!(%error, "no credential can be fetched")).ok()?;
        let keeper = Keeper::start();
        let keeper =
            keeper.inspect_err(|error| tracing::error!(%error, "no credential can be fetched")).ok()?;
        Some(Self { keeper: Arc::new(keeper), around })
    }
}

/// Whether somebody has to be asked for it, whatever is known of its Secrets.
fn is_asked(source: &CredentialSource) -> bool {
    match source {
        CredentialSource::Key(_) | CredentialSource::Aws(AwsSource::CredentialsFile { .. }) => false,
        CredentialSource::Aws(AwsSource::Oidc { .. } | AwsSource::Environment)
        | CredentialSource::Azure(_)
        | CredentialSource::Google(_) => true,
    }
}

fn fixed(source: &CredentialSource, secrets: &Secrets) -> Option<Proof> {
    match source {
        CredentialSource::Key(key) => secrets.get(key).and_then(trimmed).map(Proof::Secret),
        CredentialSource::Aws(AwsSource::CredentialsFile { file, profile }) => {
            let keys = secrets.get(file).and_then(|text| profile_keys(text.expose(), profile).ok());
            keys.map(Proof::Keys)
        }
        CredentialSource::Aws(AwsSource::Oidc { .. } | AwsSource::Environment)
        | CredentialSource::Azure(_)
        | CredentialSource::Google(_) => None,
    }
}

/// What [`fixed`] wants of a value, in words.
fn needed(source: &CredentialSource) -> String {
    match source {
        CredentialSource::Aws(AwsSource::CredentialsFile { profile, .. }) => {
            format!("a shared credentials file with keys in profile {profile:?}")
        }
        CredentialSource::Key(_)
        | CredentialSource::Aws(AwsSource::Oidc { .. } | AwsSource::Environment)
        | CredentialSource::Azure(_)
        | CredentialSource::Google(_) => "a text that can stand in a header".to_owned(),
    }
}

/// Whether a plan would have taken it. What is fetched later no plan has seen.
fn can_be_shown(proof: &Proof) -> bool {
    let texts = match proof {
        Proof::Secret(secret) => vec![secret],
        Proof::Keys(keys) => {
            [Some(&keys.id), Some(&keys.secret), keys.token.as_ref()].into_iter().flatten().collect()
        }
    };
    texts.into_iter().all(|text| header_value(text.expose()).is_ok())
}

fn trimmed(secret: &Secret) -> Option<Secret> {
    match secret.expose().trim() {
        "" => None,
        trimmed if trimmed.len() == secret.expose().len() => Some(secret.clone()),
        trimmed => Some(Secret::new(trimmed.to_owned())),
    }
}
