//! The incremental protocol: an Envoy says once what it wants, and gets what changes.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_envoy::discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::order::{has_wildcard, place, waits};
use crate::set::ResourceSet;
use crate::status::TypeStatus;

/// Stands for every name.
const EVERY: &str = "*";

/// One stream, as a pure state: what its Envoy wants, has, and was sent.
#[derive(Debug, Default)]
pub struct Session {
    types: BTreeMap<String, Subscription>,
    nonce: u64,
}

/// What an Envoy wants of one type.
#[derive(Debug, Default)]
struct Subscription {
    every: bool,
    names: BTreeSet<String>,
    known: BTreeMap<String, Known>,
    /// What was sent and not answered yet.
    sent: Option<Sent>,
    /// Names that were asked for again: they are answered even if nothing has changed.
    asked: BTreeSet<String>,
    error: Option<String>,
}

/// What an Envoy has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This version.
    Has(u64),
    /// Something else than this version, which it rejected.
    Rejected(u64),
    /// It knows that there is none.
    Nothing,
}

#[derive(Debug)]
struct Sent {
    nonce: String,
    /// The version of each resource; `None` for a removal.
    resources: BTreeMap<String, Option<u64>>,
}

impl Session {
    /// Takes a message of the Envoy's. What is to be sent then is said by [`Session::next`].
    pub fn take(&mut self, request: DeltaDiscoveryRequest) {
        let is_first = !self.types.contains_key(&request.type_url);
        let subscription = self.types.entry(request.type_url.clone()).or_default();
        if is_first {
            let versions = request.initial_resource_versions.into_iter();
            subscription.known = versions
                .map(|(name, version)| {
                    (name, Known::Has(u64::from_str_radix(&version, 16).unwrap_or_default()))
                })
                .collect();
            // Without any name, the first message asks for everything, of types for which that is possible.
            subscription.every =
                request.resource_names_subscribe.is_empty() && has_wildcard(&request.type_url);
        }
        subscription.change(request.resource_names_subscribe, &request.resource_names_unsubscribe);
        let answers = subscription.sent.as_ref().is_some_and(|sent| sent.nonce == request.response_nonce);
        if answers && !request.response_nonce.is_empty() {
            subscription.answered(request.error_detail.map(|status| status.message));
        }
    }

    /// The next response, if one is due: types that others refer to first, and one response of a type at a time.
    pub fn next(&mut self, set: &ResourceSet) -> Option<DeltaDiscoveryResponse> {
        let mut types: Vec<_> = self.types.keys().cloned().collect();
        types.sort_by_key(|type_url| place(type_url));
        let mut busy: Vec<u8> = Vec::new();
        for type_url in types {
            let own = place(&type_url);
            let subscription = self.types.get_mut(&type_url)?;
            if subscription.sent.is_none() && !busy.iter().any(|&earlier| waits(own, earlier)) {
                if let Some(response) = subscription.response(&type_url, set, &mut self.nonce) {
                    return Some(response);
                }
            } else {
                busy.push(own);
            }
        }
        None
    }

    /// How far the Envoy is, by type.
    pub fn status(&self, set: &ResourceSet) -> BTreeMap<String, TypeStatus> {
        let status = |(type_url, subscription): (&String, &Subscription)| {
            let is_rejected = subscription.known.values().any(|known| matches!(known, Known::Rejected(_)));
            let in_sync =
                subscription.sent.is_none() && !is_rejected && subscription.changes(type_url, set).is_empty();
            (type_url.clone(), TypeStatus { in_sync, error: subscription.error.clone() })
        };
        self.types.iter().map(status).collect()
    }
}

impl Subscription {
    fn change(&mut self, subscribe: Vec<String>, unsubscribe: &[String]) {
        for name in subscribe {
            if name == EVERY {
                self.every = true;
            } else {
                self.asked.insert(name.clone());
                self.names.insert(name);
            }
        }
        for name in unsubscribe {
            if name == EVERY {
                self.every = false;
            }
            self.names.remove(name);
            self.asked.remove(name);
            if !self.every {
                self.known.remove(name);
            }
        }
    }

    fn answered(&mut self, error: Option<String>) {
        let Some(sent) = self.sent.take() else { return };
        let is_rejected = error.is_some();
        for (name, version) in sent.resources {
            let known = match version {
                Some(version) if is_rejected => Known::Rejected(version),
                Some(version) => Known::Has(version),
                None => Known::Nothing,
            };
            self.known.insert(name, known);
        }
        if !self.every || !is_rejected {
            // Names that nobody asks for and nothing is under are forgotten.
            let names = &self.names;
            self.known.retain(|name, known| *known != Known::Nothing || names.contains(name));
        }
        self.error = error;
    }

    /// What the Envoy is to be sent: versions by name, `None` for a removal.
    fn changes(&self, type_url: &str, set: &ResourceSet) -> BTreeMap<String, Option<u64>> {
        let there = set.of(type_url);
        let mut changes = BTreeMap::new();
        let wanted = |name: &String| self.every || self.names.contains(name);
        for (name, resource) in there.iter().filter(|(name, _)| wanted(name)) {
            let version = resource.version;
            let is_settled =
                matches!(self.known.get(name), Some(Known::Has(v) | Known::Rejected(v)) if *v == version);
            if !is_settled || self.asked.contains(name) && self.known.get(name) == Some(&Known::Has(version))
            {
                changes.insert(name.clone(), Some(version));
            }
        }
        let gone =
            self.known.iter().filter(|(name, known)| **known != Known::Nothing && !there.contains_key(*name));
        changes.extend(gone.map(|(name, _)| (name.clone(), None)));
        let missing =
            self.names.iter().filter(|name| !there.contains_key(*name) && !self.known.contains_key(*name));
        changes.extend(missing.map(|name| (name.clone(), None)));
        changes
    }

    fn response(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        nonce: &mut u64,
    ) -> Option<DeltaDiscoveryResponse> {
        let changes = self.changes(type_url, set);
        self.asked.clear();
        if changes.is_empty() {
            return None;
        }
        *nonce += 1;
        let there = set.of(type_url);
        let resource = |name: &String| {
            let resource = there.get(name)?;
            Some(discovery::Resource {
                name: name.clone(),
                version: format!("{:016x}", resource.version),
                resource: Some(resource.body.clone()),
                ..Default::default()
            })
        };
        let removed = changes.iter().filter(|(_, version)| version.is_none()).map(|(name, _)| name.clone());
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            system_version_info: format!("{:016x}", set.version_of(type_url)),
            nonce: nonce.to_string(),
            resources: changes.keys().filter_map(resource).collect(),
            removed_resources: removed.collect(),
            ..Default::default()
        };
        self.sent = Some(Sent { nonce: response.nonce.clone(), resources: changes });
        Some(response)
    }
}
