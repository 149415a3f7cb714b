//! What proves the gateway to each backend of one configuration: the request's own credential, or the configured one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tollgate_config::Bundle;
use tollgate_config::bundle::{AwsSource, Backend, CredentialSource, Proof, profile_keys};
use tollgate_exchange::{Answer, Offered};
use tollgate_terms::Secret;

use crate::Secrets;

/// What proves the gateway to the backends of one configuration. Cloning it copies one pointer.
#[derive(Clone, Default)]
pub struct Credentials(Arc<BTreeMap<CredentialSource, Held>>);

/// What is held of one source.
enum Held {
    /// As it was configured: it serves until the configuration changes.
    Fixed(Proof),
    /// It is not in the Secrets of the configuration, or not in the needed shape.
    Absent,
}

impl Credentials {
    /// Prepares the credentials of `bundle`, whose values are in `secrets`.
    pub fn new(bundle: &Bundle, secrets: &Secrets) -> Self {
        let credentials = bundle.backends.values().filter_map(|backend| backend.credential.as_ref());
        let sources = credentials.filter_map(|credential| credential.configured.as_ref());
        Self(Arc::new(sources.map(|source| (source.clone(), held(source, secrets))).collect()))
    }

    /// What proves the gateway to `backend`. `offered` are the parts of what the request brought in the headers that its credential
    /// names; they come first, and there are none where no such header is configured.
    ///
    /// White space around a value is cut off, and an empty value counts as none: files of keys end in line breaks. A
    /// configured credential that is not there is never replaced by none.
    pub(crate) fn find(&self, backend: &Backend, offered: &[Option<Offered>]) -> Answer {
        let Some(credential) = &backend.credential else { return Answer::Credential(None) };
        if !credential.override_headers.is_empty() {
            let offered: Vec<Option<Secret>> =
                offered.iter().map(|part| part.as_ref().map(|part| part.0.clone())).collect();
            match credential.kind.offered(&offered) {
                Ok(Some(own)) => return Answer::Credential(Some(own)),
                Err(_) => return Answer::HalfCredential,
                Ok(None) => {}
            }
            if !credential.fallback_to_configured || credential.configured.is_none() {
                return Answer::MissingCredential;
            }
        }
        let Some(configured) = &credential.configured else { return Answer::Credential(None) };
        match self.0.get(configured) {
            Some(Held::Fixed(proof)) => Answer::Credential(Some(proof.clone())),
            Some(Held::Absent) | None => Answer::MissingCredential,
        }
    }
}

/// Tells where credentials come from, never what they are.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn held(source: &CredentialSource, secrets: &Secrets) -> Held {
    let fixed = match source {
        CredentialSource::Key(key) => secrets.get(key).and_then(trimmed).map(Proof::Secret),
        CredentialSource::Aws(AwsSource::CredentialsFile { file, profile }) => {
            let keys = secrets.get(file).and_then(|text| profile_keys(text.expose(), profile).ok());
            keys.map(Proof::Keys)
        }
        CredentialSource::Aws(AwsSource::Oidc { .. } | AwsSource::Environment)
        | CredentialSource::Azure(_)
        | CredentialSource::Google(_) => None,
    };
    fixed.map_or(Held::Absent, Held::Fixed)
}

fn trimmed(secret: &Secret) -> Option<Secret> {
    match secret.expose().trim() {
        "" => None,
        trimmed if trimmed.len() == secret.expose().len() => Some(secret.clone()),
        trimmed => Some(Secret::new(trimmed.to_owned())),
    }
}

#[cfg(test)]
mod tests;
