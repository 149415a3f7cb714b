//! The incremental protocol: a node says once what it wants, and gets what changes.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_envoy::discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::interest::{EVERY, Interest};
use crate::set::{Named, Version};
use crate::status::{TypeStatus, words};
use crate::walk::{Due, Heard, Leave, NAMES_MAX, Subscription};

/// Most bytes of resources in a response; what is beyond goes into the next one.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// What a node wants of one type, and has.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    interest: Interest,
    known: BTreeMap<String, Known>,
    sent: Option<Sent>,
    /// Whether it has been told anything, or knew something before. Who asks for everything has to hear when there is nothing.
    is_answered: bool,
    is_begun: bool,
    status: TypeStatus,
}

/// What a node has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This version.
    Has(Version),
    /// It has rejected this version. It has what it had before, or this one after all, if another resource was why it rejected.
    Rejected(Version),
    /// Anything.
    Unsure,
    /// It knows that there is none.
    Nothing,
    /// It has rejected that there is none, though nothing else was in the response.
    Keeps,
}

/// A response that has not been answered yet.
#[derive(Debug)]
struct Sent {
    nonce: String,
    /// `None` is a removal.
    versions: BTreeMap<String, Option<Version>>,
    /// That of the type, if this response brings the node there.
    version: Option<Version>,
}

impl Subscription for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn take(&mut self, request: Self::Request) -> Heard {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        if is_first && request.resource_names_subscribe.is_empty() {
            self.interest = Interest::without_names(&request.type_url);
        }
        self.subscribe(request.resource_names_subscribe);
        self.unsubscribe(&request.resource_names_unsubscribe);
        if is_first {
            self.is_answered = !request.initial_resource_versions.is_empty();
            let versions = request.initial_resource_versions.into_iter();
            let known = |version: String| version.parse().map_or(Known::Unsure, Known::Has);
            self.known.extend(versions.map(|(name, version)| (name, known(version))));
        }
        if self.interest.len() > NAMES_MAX || self.known.len() > 2 * NAMES_MAX {
            return Heard::Excess;
        }
        if request.response_nonce.is_empty() {
            return Heard::Wish;
        }
        match self.sent.take_if(|sent| sent.nonce == request.response_nonce) {
            None => Heard::Stale,
            Some(sent) => match request.error_detail {
                None => self.accepted(sent),
                Some(status) => self.rejected(sent, &status.message),
            },
        }
    }

    fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    fn rejects(&self, wanted: &Named) -> bool {
        self.known.iter().any(|(name, known)| match known {
            Known::Rejected(version) => wanted.get(name).is_some_and(|it| it.version == *version),
            Known::Keeps => !wanted.contains_key(name),
            Known::Has(_) | Known::Unsure | Known::Nothing => false,
        })
    }

    fn is_behind(&self) -> bool {
        self.known.values().any(|known| matches!(known, Known::Rejected(_) | Known::Keeps))
    }

    fn unwanted(&self, wanted: &Named) -> BTreeSet<String> {
        let has = self.known.iter().filter(|(_, known)| **known != Known::Nothing);
        has.map(|(name, _)| name).filter(|name| !wanted.contains_key(*name)).cloned().collect()
    }

    fn response(&mut self, due: &Due<'_>) -> Option<Self::Response> {
        let changed = self.changes(due.wanted);
        let removed = self.removals(due, &changed);
        let hears_nothing = self.interest.every && !self.is_answered;
        if removed.is_empty() && changed.is_empty() && !hears_nothing {
            return None;
        }
        let (now, later) = fitting(changed);
        let version = Version::of_all(due.wanted);
        let nonce = due.nonce.to_string();
        let gone = removed.iter().map(|name| (name.clone(), None));
        let versions = now.iter().map(|resource| (resource.0.clone(), Some(resource.1.version))).chain(gone);
        self.sent = Some(Sent {
            nonce: nonce.clone(),
            versions: versions.collect(),
            version: later.is_empty().then_some(version),
        });
        self.is_answered = true;
        self.status.sent = Some(version);
        let resource = |(name, resource): Entry<'_>| discovery::Resource {
            name: name.clone(),
            version: resource.version.to_string(),
            resource: Some(resource.body.clone()),
            ..Default::default()
        };
        Some(DeltaDiscoveryResponse {
            type_url: due.type_url.to_owned(),
            system_version_info: version.to_string(),
            nonce,
            resources: now.into_iter().map(resource).collect(),
            removed_resources: removed,
            ..Default::default()
        })
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn has(&self, name: &str, version: Version) -> bool {
        self.known.get(name) == Some(&Known::Has(version))
    }

    fn status(&self, wanted: &Named) -> TypeStatus {
        let error = self.status.error.clone().filter(|_| self.rejects(wanted));
        TypeStatus { error, ..self.status }
    }
}

/// A resource with its name.
type Entry<'a> = (&'a String, &'a crate::set::Resource);

/// As many as a response may hold, and at least one; and the others.
fn fitting(mut changed: Vec<Entry<'_>>) -> (Vec<Entry<'_>>, Vec<Entry<'_>>) {
    let mut bytes = 0usize;
    let fit = changed.iter().take_while(|(name, resource)| {
        bytes = bytes.saturating_add(name.len()).saturating_add(resource.body.value.len());
        bytes <= RESPONSE_BYTES_MAX
    });
    let count = fit.count().max(1).min(changed.len());
    let later = changed.split_off(count);
    (changed, later)
}

impl Delta {
    fn subscribe(&mut self, names: Vec<String>) {
        for name in names {
            if name != EVERY {
                // Who asks again may have lost it: it is sent again, also if that is on its way now.
                self.forget(&name);
            }
            self.interest.add(name);
        }
    }

    fn unsubscribe(&mut self, names: &[String]) {
        for name in names {
            self.interest.remove(name);
            if name == EVERY {
                let names = &self.interest;
                self.known.retain(|name, _| names.names.contains(name));
                if let Some(sent) = &mut self.sent {
                    sent.versions.retain(|name, _| names.names.contains(name));
                }
            } else {
                let had = self.forget(name);
                if self.interest.every && had {
                    // Everything is still wanted, so it has to hear again what there is under this name.
                    self.known.insert(name.clone(), Known::Unsure);
                }
            }
        }
    }

    /// Forgets what the node has under a name; tells whether that may be something.
    fn forget(&mut self, name: &str) -> bool {
        let sent = self.sent.as_mut().and_then(|sent| sent.versions.remove(name));
        let known = self.known.remove(name);
        sent.flatten().is_some() || known.is_some_and(|known| known != Known::Nothing)
    }

    fn accepted(&mut self, sent: Sent) -> Heard {
        for (name, version) in sent.versions {
            match version {
                Some(version) => self.known.insert(name, Known::Has(version)),
                None if self.interest.names.contains(&name) => self.known.insert(name, Known::Nothing),
                None => self.known.remove(&name),
            };
        }
        self.status.accepted = sent.version.or(self.status.accepted);
        Heard::Acceptance
    }

    fn rejected(&mut self, sent: Sent, error: &str) -> Heard {
        let has_resources = sent.versions.values().any(Option::is_some);
        for (name, version) in sent.versions {
            let known = match version {
                Some(version) => Known::Rejected(version),
                None if has_resources => Known::Unsure,
                None => Known::Keeps,
            };
            self.known.insert(name, known);
        }
        self.status.error = Some(words(error));
        Heard::Rejection
    }

    /// Resources that the node lacks, or has in another version.
    fn changes<'a>(&self, wanted: &'a Named) -> Vec<Entry<'a>> {
        let is_new = |(name, resource): &Entry<'_>| match self.known.get(*name) {
            Some(Known::Has(version) | Known::Rejected(version)) => *version != resource.version,
            Some(Known::Unsure | Known::Nothing | Known::Keeps) | None => true,
        };
        let entries = wanted.iter().map(|(name, resource)| (name, &**resource));
        entries.filter(|(name, _)| self.interest.has(name)).filter(is_new).collect()
    }

    /// Names that the node has to hear that there is nothing under.
    fn removals(&self, due: &Due<'_>, changed: &[Entry<'_>]) -> Vec<String> {
        let is_gone = |name: &&String| !due.wanted.contains_key(*name);
        let known = self.known.iter().filter(|(name, known)| match known {
            Known::Nothing => false,
            // Together with something else it is not the same response again.
            Known::Keeps => !changed.is_empty(),
            Known::Has(_) | Known::Rejected(_) | Known::Unsure => matches!((due.leave)(name), Leave::Now),
        });
        let asked = self.interest.names.iter().filter(|name| !self.known.contains_key(*name));
        known.map(|(name, _)| name).chain(asked).filter(is_gone).cloned().collect()
    }
}
