//! API keys: which Secrets have them, whose they are, and where a request shows one.

use std::collections::BTreeMap;

use tollgate_config::bundle::{ApiClient, ApiKeys, Place, SecretRef};
use tollgate_manifest::{ApiKeyAuth, ExtractFrom, Secret, SecretObjectReference};
use tollgate_terms::Principal;

use super::Policy;
use crate::findings::Unresolved;
use crate::grant::{self, SECRET, SECURITY};
use crate::index::Item;
use crate::remote_secret;

/// What stands before a hash that is written down in the place of its key.
const HASHED: &str = "sha256:";

/// Annotations of a Secret that say more of its clients.
const TEAM: &str = "tollgate.dev/team";
const APPLICATION: &str = "tollgate.dev/application";
const USER: &str = "tollgate.dev/user";

impl<'a> Policy<'a, '_> {
    pub(super) fn api_keys(&mut self, written: &'a ApiKeyAuth) -> ApiKeys {
        let mut clients = Clients::default();
        for (at, reference) in written.credential_refs.iter().enumerate() {
            let path = format!("spec.apiKeyAuth.credentialRefs[{at}]");
            if let Some(secret) = self.secret(&path, reference) {
                self.add_clients(&path, secret, &mut clients);
            }
        }
        if clients.all.is_empty() && self.broken.is_none() {
            self.mistake("spec.apiKeyAuth.credentialRefs", "there is no key in these Secrets");
        }
        if written.sanitize == Some(false) {
            self.warning("spec.apiKeyAuth.sanitize", "has no effect: no backend ever gets a key of a caller");
        }
        let places = written.extract_from.iter().enumerate();
        let places =
            places.flat_map(|(at, from)| self.places(&format!("spec.apiKeyAuth.extractFrom[{at}]"), from));
        let places: Vec<Place> = places.collect();
        if places.is_empty() {
            self.mistake("spec.apiKeyAuth.extractFrom", "expected a header, parameter or cookie");
        }
        let header = written.forward_client_id_header.as_deref();
        let client_id_header =
            header.and_then(|name| self.own_header("spec.apiKeyAuth.forwardClientIDHeader", name));
        ApiKeys { clients: clients.all, places, client_id_header }
    }

    fn places(&mut self, path: &str, from: &ExtractFrom) -> Vec<Place> {
        let headers = from.headers.iter().enumerate().filter_map(|(at, name)| {
            let name = self.header(&format!("{path}.headers[{at}]"), name)?;
            Some(Place::Header { name, prefix: String::new() })
        });
        let headers: Vec<Place> = headers.collect();
        let params = from.params.iter().cloned().map(Place::Query);
        let cookies = from.cookies.iter().cloned().map(Place::Cookie);
        headers.into_iter().chain(params).chain(cookies).collect()
    }

    /// The Secret that is referred to at `path`.
    pub(super) fn secret(
        &mut self,
        path: &str,
        reference: &SecretObjectReference,
    ) -> Option<&'a Item<'a, Secret>> {
        let own = &self.item.id.namespace;
        let (namespace, name) = (reference.namespace.as_ref().unwrap_or(own), &reference.name);
        let found = if !SECRET.is(&reference.group, &reference.kind) {
            Err((Unresolved::InvalidKind, "expected a Secret".to_owned()))
        } else if !grant::permits(self.index, (SECURITY, own), (SECRET, namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace:?} lets this policy use Secret {name:?}");
            Err((Unresolved::RefNotPermitted, message))
        } else {
            let missing = || (Unresolved::ValueNotFound, format!("no Secret \"{namespace}/{name}\""));
            self.index.secrets.get(namespace, name).ok_or_else(missing)
        };
        let found = found.and_then(|secret| match remote_secret::read(secret.spec) {
            Ok(None) => Ok(secret),
            Ok(Some(_)) | Err(_) => {
                let message = "values that AWS Secrets Manager keeps are not served here".to_owned();
                Err((Unresolved::ValueNotFound, message))
            }
        });
        found
            .inspect_err(|(reason, message)| {
                self.findings.unresolved(&self.item.id, path, *reason, message.clone());
                self.broken.get_or_insert(message.clone());
            })
            .ok()
    }

    fn add_clients(&mut self, path: &str, secret: &'a Item<'a, Secret>, clients: &mut Clients<'a>) {
        let note = |name| {
            let value = secret.metadata.annotations.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        };
        for (id, value) in &secret.spec.data {
            let value = value.expose().trim();
            if let Err(message) = check(value) {
                self.mistake(path, format!("key {id:?} of Secret {:?} {message}", secret.full_name()));
                continue;
            }
            if let Some(other) = clients.by_id.insert(id, secret.full_name()) {
                let message =
                    format!("client {id:?} has keys in two Secrets, {other:?} and {:?}", secret.full_name());
                self.warning(path, message);
            }
            if let Some(other) = clients.by_key.get(value) {
                self.warning(path, format!("client {id:?} has the key of client {other:?}, which counts"));
                continue;
            }
            clients.by_key.insert(value, id);
            let principal = Principal {
                user: Some(note(USER).unwrap_or(id).into()),
                team: note(TEAM).map(Into::into),
                application: note(APPLICATION).map(Into::into),
                key_id: Some(id.as_str().into()),
            };
            let (namespace, name) = (secret.id.namespace.clone(), secret.id.name.clone());
            let key = SecretRef { namespace, name, key: id.clone() };
            clients.all.push(ApiClient { key, principal });
        }
    }
}

/// The clients of a policy.
#[derive(Default)]
struct Clients<'a> {
    all: Vec<ApiClient>,
    by_id: BTreeMap<&'a str, String>,
    by_key: BTreeMap<&'a str, &'a str>,
}

fn check(value: &str) -> Result<(), &'static str> {
    match value.strip_prefix(HASHED) {
        None if value.is_empty() => Err("is empty"),
        Some(digits) if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            Err("is no hash: expected 64 hexadecimal digits behind \"sha256:\"")
        }
        None | Some(_) => Ok(()),
    }
}
