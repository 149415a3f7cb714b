//! Values of Secrets that are kept elsewhere, as one source needs them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_config::Bundle;
use tollgate_config::bundle::{CredentialSource, Proof, RemoteSecret, SecretRef};

use super::Lent;
use crate::issue::IssueError;
use crate::issue::aws_secrets::{AwsSecret, get_secret_value};
use crate::live::{Found, Surroundings, ledger};
use crate::{Secrets, clock};

/// How long one secret may take: what is done with it has to be done in time as well.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// The Secrets of one source that are kept elsewhere.
pub(super) struct Remote {
    wanted: Vec<Wanted>,
    /// Whose keys ask.
    chain: Arc<Lent>,
    remembered: Mutex<Remembered>,
}

/// One Secret, and what is wanted of it.
struct Wanted {
    /// For the log.
    name: String,
    secret: RemoteSecret,
    references: Vec<SecretRef>,
}

#[derive(Default)]
struct Remembered {
    /// The last values that were fetched. They have no end.
    values: Option<Secrets>,
    /// What was logged last.
    trouble: Option<String>,
}

impl Remote {
    /// What `source` needs of the Secrets that `bundle` says are kept elsewhere, asked for with the keys of `chain`.
    pub(super) fn of(source: &CredentialSource, bundle: &Bundle, chain: Arc<Lent>) -> Self {
        let mut by_name: BTreeMap<String, Wanted> = BTreeMap::new();
        for reference in source.secrets() {
            let Some(secret) = bundle.remote_secret(reference) else { continue };
            let name = format!("Secret {}/{}", reference.namespace, reference.name);
            let new = || Wanted { name: name.clone(), secret: secret.clone(), references: Vec::new() };
            by_name.entry(name.clone()).or_insert_with(new).references.push(reference.clone());
        }
        let wanted = by_name.into_values().collect();
        Self { wanted, chain, remembered: Mutex::default() }
    }

    /// How long values are used before they are asked for again.
    pub(super) fn refresh(&self) -> Duration {
        self.wanted.iter().map(|wanted| wanted.secret.refresh).min().unwrap_or(crate::live::ENDLESS)
    }

    /// The values of now.
    ///
    /// # Errors
    /// When one cannot be had.
    pub(super) async fn values(&self, around: &Surroundings) -> Result<Secrets, IssueError> {
        self.fetch(around).await.map_err(|(_, error)| error)
    }

    /// The values of now, or the last ones if they cannot be had.
    ///
    /// # Errors
    /// When there are none yet.
    pub(super) async fn values_or_last(&self, around: &Surroundings) -> Result<Secrets, IssueError> {
        let fetched = self.fetch(around).await;
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, error) = match fetched {
            Ok(values) => {
                for wanted in &self.wanted {
                    ledger::succeeded(&wanted.name, None);
                }
                *remembered = Remembered { values: Some(values.clone()), trouble: None };
                return Ok(values);
            }
            Err(failed) => failed,
        };
        ledger::failed(&wanted.name);
        let Some(values) = remembered.values.clone() else { return Err(error) };
        let reason = error.to_string();
        if remembered.trouble.as_ref() != Some(&reason) {
            tracing::warn!(source = wanted.name, reason, "the last value of a Secret serves on");
            remembered.trouble = Some(reason);
        }
        Ok(values)
    }

    async fn fetch(&self, around: &Surroundings) -> Result<Secrets, (&Wanted, IssueError)> {
        let mut values = BTreeMap::new();
        for wanted in &self.wanted {
            let keys = self.keys().await.map_err(|error| (wanted, error))?;
            wanted.fetch(&keys, around, &mut values).await.map_err(|error| (wanted, error))?;
        }
        Ok(Secrets::new(values))
    }

    async fn keys(&self) -> Result<Proof, IssueError> {
        let keys = match self.chain.live.find() {
            Found::Proof(keys) => Some(keys),
            Found::Later(awaited) => awaited.proof().await,
            Found::Unavailable => None,
        };
        let message = "AWS Secrets Manager cannot be asked: the default chain of AWS has no keys";
        keys.ok_or_else(|| IssueError::Misconfigured(message.to_owned()))
    }
}

impl Wanted {
    async fn fetch(
        &self,
        keys: &Proof,
        Surroundings { environment, client }: &Surroundings,
        values: &mut BTreeMap<SecretRef, tollgate_terms::Secret>,
    ) -> Result<(), IssueError> {
        let secret = AwsSecret::current(&self.secret.id, &self.secret.region, environment);
        let client = client.clone().within(FETCH_MAX);
        let sign = |request: &mut _| secret.sign(request, keys, clock::now());
        let value = get_secret_value(&client, &secret, sign).await?;
        for reference in &self.references {
            let key = value.key(&reference.key).ok_or_else(|| {
                let (id, key) = (&self.secret.id, &reference.key);
                IssueError::Misconfigured(format!(
                    "no member {key:?} in secret {id:?} of AWS Secrets Manager"
                ))
            })?;
            values.insert(reference.clone(), key.clone());
        }
        Ok(())
    }
}
