//! The state-of-the-world protocol: a node says each time what it wants, and gets all of it when something of it has changed.

use std::collections::BTreeSet;

use tollgate_envoy::discovery::{DiscoveryRequest, DiscoveryResponse};

use crate::interest::Interest;
use crate::set::{Named, Version};
use crate::status::{TypeStatus, words};
use crate::walk::{Due, Heard, Leave, NAMES_MAX, Subscription};

/// What a node wants of one type, and has.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    interest: Interest,
    /// The nonce of the last response; empty before the first one.
    nonce: String,
    sent: Option<Sent>,
    /// The version of the last response, whatever became of it.
    last: Option<Version>,
    /// What the node says that it has from before this stream.
    before: Option<Version>,
    /// What it has accepted.
    has: Named,
    /// The version of what was wanted when the node rejected it.
    rejected: Option<Version>,
    is_begun: bool,
    status: TypeStatus,
}

/// A response that has not been answered yet.
#[derive(Debug)]
struct Sent {
    version: Version,
    resources: Named,
    /// The version of what was wanted, without what only stays for a while.
    wanted: Version,
}

impl Subscription for Whole {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn take(&mut self, request: Self::Request) -> Heard {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        if is_first {
            self.before = request.version_info.parse().ok();
        } else if request.response_nonce != self.nonce {
            // It crossed a response. What the node wants will stand in its answer to that one too.
            return Heard::Stale;
        }
        if request.resource_names.len() > NAMES_MAX {
            return Heard::Excess;
        }
        // Without names, everything is wanted as long as there never were any (as it was before there was `*`).
        let stays_every = is_first || (self.interest.every && self.interest.names.is_empty());
        self.interest = if request.resource_names.is_empty() && stays_every {
            Interest::without_names(&request.type_url)
        } else {
            request.resource_names.into_iter().collect()
        };
        match self.sent.take() {
            None => Heard::Wish,
            Some(sent) => match request.error_detail {
                None => self.accepted(sent.resources, sent.version),
                Some(status) => self.rejected(sent.wanted, &status.message),
            },
        }
    }

    fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    fn rejects(&self, wanted: &Named) -> bool {
        self.rejected.is_some_and(|rejected| rejected == self.version_of(wanted))
    }

    fn is_behind(&self) -> bool {
        self.rejected.is_some()
    }

    fn unwanted(&self, wanted: &Named) -> BTreeSet<String> {
        // Where names are given, that one is absent does not take it back.
        let has = self.has.keys().filter(|_| self.interest.every);
        has.filter(|name| !wanted.contains_key(*name)).cloned().collect()
    }

    fn response(&mut self, due: &Due<'_>) -> Option<Self::Response> {
        let resources = self.resources(due);
        if !self.interest.every && resources.is_empty() {
            // Nothing can be said about what is not there; but when it comes, it is news.
            self.last = None;
            self.has.clear();
            self.rejected = None;
            return None;
        }
        let version = Version::of_all(&resources);
        if self.last == Some(version) {
            return None;
        }
        self.last = Some(version);
        self.status.sent = Some(version);
        if self.before.take() == Some(version) {
            self.accepted(resources, version);
            return None;
        }
        self.nonce = due.nonce.to_string();
        let bodies = resources.values().map(|resource| resource.body.clone()).collect();
        let wanted = self.version_of(due.wanted);
        self.sent = Some(Sent { version, resources, wanted });
        Some(DiscoveryResponse {
            version_info: version.to_string(),
            resources: bodies,
            type_url: due.type_url.to_owned(),
            nonce: self.nonce.clone(),
            ..Default::default()
        })
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn has(&self, name: &str, version: Version) -> bool {
        self.has.get(name).is_some_and(|resource| resource.version == version)
    }

    fn status(&self, wanted: &Named) -> TypeStatus {
        let error = self.status.error.clone().filter(|_| self.rejects(wanted));
        TypeStatus { error, ..self.status }
    }
}

impl Whole {
    /// What is wanted, and what has to stay for a while though nobody wants it.
    fn resources(&self, due: &Due<'_>) -> Named {
        let wanted = due.wanted.iter().filter(|(name, _)| self.interest.has(name));
        let stays = |name: &String| self.interest.every && matches!((due.leave)(name), Leave::Later);
        let unwanted = self.has.iter().filter(|(name, _)| !due.wanted.contains_key(*name));
        let both = unwanted.filter(|(name, _)| stays(name)).chain(wanted);
        both.map(|(name, resource)| (name.clone(), resource.clone())).collect()
    }

    /// The version of what this node wants of it.
    fn version_of(&self, wanted: &Named) -> Version {
        Version::of_all(wanted.iter().filter(|(name, _)| self.interest.has(name)))
    }

    fn accepted(&mut self, resources: Named, version: Version) -> Heard {
        self.has = resources;
        self.rejected = None;
        self.status.accepted = Some(version);
        Heard::Acceptance
    }

    fn rejected(&mut self, wanted: Version, error: &str) -> Heard {
        self.rejected = Some(wanted);
        self.status.error = Some(words(error));
        Heard::Rejection
    }
}
