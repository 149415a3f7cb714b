//! Secrets whose values are kept elsewhere, and fetched from there by whoever uses them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Bundle, SecretRef};

/// A Secret whose values AWS Secrets Manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteSecret {
    /// Its name there, or its ARN.
    pub id: String,
    /// The region that it is kept in.
    pub region: String,
    /// How long a value is used before it is asked for again.
    pub refresh: Duration,
}

impl Bundle {
    /// Where the values of the Secret that `reference` names are kept, if that is elsewhere.
    pub fn remote_secret(&self, reference: &SecretRef) -> Option<&RemoteSecret> {
        if self.remote_secrets.is_empty() {
            return None;
        }
        self.remote_secrets.get(&format!("{}/{}", reference.namespace, reference.name))
    }
}
