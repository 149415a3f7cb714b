//! The table of secret values: immutable, shared, swapped whole when the configuration changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tollgate_config::bundle::SecretRef;
use tollgate_terms::Secret;

/// Every secret value that a configuration refers to. Cloning it copies one pointer.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<SecretRef, Secret>>);

impl Secrets {
    /// Takes in the values of one configuration.
    pub fn new(values: BTreeMap<SecretRef, Secret>) -> Self {
        Self(Arc::new(values))
    }

    /// The value of `secret`, as it was configured.
    pub fn get(&self, secret: &SecretRef) -> Option<&Secret> {
        self.0.get(secret)
    }

    /// Those of `references` alone.
    pub(crate) fn of(&self, references: &[&SecretRef]) -> Self {
        let found = |reference: &&SecretRef| Some(((*reference).clone(), self.get(reference)?.clone()));
        references.iter().filter_map(found).collect()
    }

    /// These, and `others` over them.
    pub(crate) fn with(&self, others: Self) -> Self {
        self.0.iter().chain(others.0.iter()).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl FromIterator<(SecretRef, Secret)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (SecretRef, Secret)>>(values: T) -> Self {
        Self::new(values.into_iter().collect())
    }
}

/// Tells which secrets there are, never what they are.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_names_and_no_values() {
        let secret =
            SecretRef { namespace: "default".to_owned(), name: "keys".to_owned(), key: "apiKey".to_owned() };
        let secrets: Secrets = [(secret.clone(), Secret::new("sk-hidden".to_owned()))].into_iter().collect();
        let text = format!("{secrets:?}");
        assert!(text.contains("apiKey") && !text.contains("sk-hidden"), "{text}");
        assert_eq!(secrets.get(&secret).map(Secret::expose), Some("sk-hidden"));
    }
}
