//! References of a BackendSecurityPolicy to keys of Secrets.

use tollgate_config::bundle::SecretRef;
use tollgate_manifest::{BackendSecurityPolicySpec, Secret, SecretObjectReference};

use crate::findings::{Findings, Unresolved};
use crate::grant::{self, AI_SECURITY, SECRET};
use crate::index::{Index, Item};
use crate::remote_secret;

/// A policy, and what it may refer to.
pub(super) struct Policy<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) item: &'a Item<'a, BackendSecurityPolicySpec>,
}

/// What a value of a Secret has to be; says what is wrong with it otherwise.
pub(super) type Check<'c> = &'c dyn Fn(&str) -> Result<(), String>;

impl Policy<'_> {
    /// Tells a mistake at `path`, and gives it back.
    pub(super) fn mistake(&self, path: &str, message: impl Into<String>, findings: &mut Findings) -> String {
        let message = message.into();
        findings.error(&self.item.id, path, message.clone());
        message
    }

    /// The reference at `path` to `key`, which is there and passes `check`.
    pub(super) fn secret(
        &self,
        path: &str,
        reference: &SecretObjectReference,
        (key, check): (&'static str, Check<'_>),
        findings: &mut Findings,
    ) -> Result<SecretRef, String> {
        let name = &reference.name;
        let own_namespace = &self.item.id.namespace;
        let namespace = reference.namespace.as_ref().unwrap_or(own_namespace);
        let found = if !SECRET.is(&reference.group, &reference.kind) {
            Err((Unresolved::InvalidKind, "expected a Secret".to_owned()))
        } else {
            match self.index.secrets.get(namespace, name) {
                None => Err(format!("no Secret \"{namespace}/{name}\"")),
                Some(secret) => usable(secret, key, check),
            }
            .map_err(|message| (Unresolved::ValueNotFound, message))
        };
        if let Err((reason, message)) = found {
            findings.unresolved(&self.item.id, path, reason, message.clone());
            return Err(message);
        }
        // Envoy AI Gateway reads Secrets of any namespace, so manifests that rely on it have to go on working.
        if !grant::permits(self.index, (AI_SECURITY, own_namespace), (SECRET, namespace, name)) {
            let message =
                format!("no ReferenceGrant in namespace {namespace:?} lets this policy use Secret {name:?}");
            findings.warning(&self.item.id, path, message + ": used all the same");
        }
        Ok(SecretRef { namespace: namespace.clone(), name: name.clone(), key: key.to_owned() })
    }
}

/// Whether `key` is in `secret` and passes `check`. What is kept elsewhere is checked when it is fetched.
fn usable(secret: &Item<'_, Secret>, key: &str, check: Check<'_>) -> Result<(), String> {
    let name = secret.full_name();
    match remote_secret::read(secret.spec) {
        Ok(Some(_)) => return Ok(()),
        Err((annotation, _)) => return Err(format!("Secret {name:?} has a mistake in {annotation}")),
        Ok(None) => {}
    }
    match secret.spec.data.get(key).map(|value| value.expose().trim()) {
        None => Err(format!("no key {key:?} in Secret {name:?}")),
        Some("") => Err(format!("key {key:?} of Secret {name:?} is empty")),
        Some(value) => check(value).map_err(|what| format!("key {key:?} of Secret {name:?} {what}")),
    }
}
