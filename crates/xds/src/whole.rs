//! The state-of-the-world protocol: each response has everything of its type that was asked for.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_envoy::discovery::{DiscoveryRequest, DiscoveryResponse};

use crate::order::{has_wildcard, place, waits};
use crate::set::ResourceSet;
use crate::status::TypeStatus;

/// One stream, as a pure state.
#[derive(Debug, Default)]
pub struct Session {
    types: BTreeMap<String, Subscription>,
    nonce: u64,
}

#[derive(Debug, Default)]
struct Subscription {
    /// `None` is everything.
    names: Option<BTreeSet<String>>,
    /// Nonce and version of what was sent and not answered yet.
    sent: Option<(String, u64)>,
    /// The version that the Envoy has.
    taken: Option<u64>,
    /// The version that it rejected last.
    rejected: Option<u64>,
    /// Whether other names are wanted than what was sent has.
    is_changed: bool,
    error: Option<String>,
}

impl Session {
    /// Takes a message of the Envoy's. What is to be sent then is said by [`Session::next`].
    pub fn take(&mut self, request: DiscoveryRequest) {
        let is_first = !self.types.contains_key(&request.type_url);
        let subscription = self.types.entry(request.type_url.clone()).or_default();
        if let Some((nonce, version)) = subscription.sent.take() {
            if nonce != request.response_nonce {
                // An answer to something older, or a wish that crossed our response: that one is still to be answered.
                subscription.sent = Some((nonce, version));
            } else if let Some(status) = request.error_detail {
                subscription.rejected = Some(version);
                subscription.error = Some(status.message);
            } else {
                subscription.taken = Some(version);
                subscription.error = None;
            }
        }
        let every = request.resource_names.is_empty() && has_wildcard(&request.type_url);
        let names = (!every).then(|| request.resource_names.into_iter().collect());
        if is_first || names != subscription.names {
            subscription.names = names;
            subscription.is_changed = true;
        }
    }

    /// The next response, if one is due: types that others refer to first, and one response of a type at a time.
    pub fn next(&mut self, set: &ResourceSet) -> Option<DiscoveryResponse> {
        let mut types: Vec<_> = self.types.keys().cloned().collect();
        types.sort_by_key(|type_url| place(type_url));
        let mut busy: Vec<u8> = Vec::new();
        for type_url in types {
            let own = place(&type_url);
            let subscription = self.types.get_mut(&type_url)?;
            if subscription.sent.is_some() || busy.iter().any(|&earlier| waits(own, earlier)) {
                busy.push(own);
                continue;
            }
            let version = set.version_of(&type_url);
            if subscription.is_due(version) {
                self.nonce += 1;
                return Some(subscription.response(&type_url, set, version, self.nonce.to_string()));
            }
        }
        None
    }

    /// How far the Envoy is, by type.
    pub fn status(&self, set: &ResourceSet) -> BTreeMap<String, TypeStatus> {
        let status = |(type_url, subscription): (&String, &Subscription)| {
            let has = subscription.taken == Some(set.version_of(type_url));
            let in_sync = subscription.sent.is_none() && !subscription.is_changed && has;
            (type_url.clone(), TypeStatus { in_sync, error: subscription.error.clone() })
        };
        self.types.iter().map(status).collect()
    }
}

impl Subscription {
    fn is_due(&self, version: u64) -> bool {
        self.is_changed || (self.taken != Some(version) && self.rejected != Some(version))
    }

    fn response(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        version: u64,
        nonce: String,
    ) -> DiscoveryResponse {
        self.is_changed = false;
        self.sent = Some((nonce.clone(), version));
        let wanted = |name: &&String| self.names.as_ref().is_none_or(|names| names.contains(*name));
        let there = set.of(type_url);
        let resources = there.keys().filter(wanted).filter_map(|name| Some(there.get(name)?.body.clone()));
        DiscoveryResponse {
            version_info: format!("{version:016x}"),
            resources: resources.collect(),
            type_url: type_url.to_owned(),
            nonce,
            ..Default::default()
        }
    }
}
