//! One stream's way from what its node has to what is wanted, as a pure state: messages, sets and time go in, responses come out.
//!
//! At most one response of a type is on its way. New and changed resources that others refer to go first; what refers to them follows
//! when the node has answered, with yes or no. Resources that others referred to are taken back a grace after the node has
//! accepted all that no longer refers to them, because a request on its way may still do so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::interest::Interest;
use crate::order::{Rank, rank};
use crate::set::{Named, ResourceSet, Version};
use crate::status::TypeStatus;

/// Most types that a stream may ask for, and most names of one type.
pub(crate) const TYPES_MAX: usize = 64;
pub(crate) const NAMES_MAX: usize = 1 << 16;

/// What a node said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Only what it wants.
    Wish,
    /// It has taken the last response.
    Acceptance,
    /// It goes on with what it has.
    Rejection,
    /// It answers to something else than the last response.
    Stale,
    /// It asks for more than anything needs; the stream is to end.
    Excess,
}

/// What becomes of a name that is not wanted any more.
pub(crate) enum Leave {
    /// It stays for the time being.
    Later,
    /// It is taken back.
    Now,
}

/// One type at one stream, in one of the two protocols.
pub(crate) trait Subscription: Default {
    /// What a node says.
    type Request;
    /// What it is told.
    type Response;

    /// The type that a message is about.
    fn type_url(request: &Self::Request) -> &str;
    /// Takes a message.
    fn take(&mut self, request: Self::Request) -> Heard;
    /// Whether a response is on its way and not answered yet.
    fn is_waiting(&self) -> bool;
    /// Whether it rejects something of what is wanted.
    fn rejects(&self, wanted: &Named) -> bool;
    /// Whether it has rejected something and not accepted anything in its stead, so that it goes on with something older.
    fn is_behind(&self) -> bool;
    /// Names that the node has and nobody wants.
    fn unwanted(&self, wanted: &Named) -> BTreeSet<String>;
    /// The next response, if one is due.
    fn response(&mut self, due: &Due<'_>) -> Option<Self::Response>;
    /// Which names it asks for.
    fn interest(&self) -> &Interest;
    /// Whether the node has accepted this version under this name.
    fn has(&self, name: &str, version: Version) -> bool;
    /// Whether it has accepted all that it asks for of what is wanted.
    fn has_all(&self, wanted: &Named) -> bool {
        let mut asked_for = wanted.iter().filter(|(name, _)| self.interest().has(name));
        asked_for.all(|(name, resource)| self.has(name, resource.version))
    }
    /// How far the node is.
    fn status(&self, wanted: &Named) -> TypeStatus;
}

/// What a response is made of.
pub(crate) struct Due<'a> {
    pub(crate) type_url: &'a str,
    pub(crate) wanted: &'a Named,
    /// What becomes of a name that nobody wants.
    pub(crate) leave: &'a dyn Fn(&str) -> Leave,
    /// The response's, if there is one.
    pub(crate) nonce: u64,
}

/// One stream.
pub(crate) struct Walk<S> {
    grace: Duration,
    types: BTreeMap<String, Step<S>>,
    nonce: u64,
}

/// How far it is with one type.
#[derive(Default)]
struct Step<S> {
    subscription: S,
    /// When names that nobody wants may be taken back.
    leaving: BTreeMap<String, Instant>,
}

impl<S: Subscription> Walk<S> {
    /// The beginning of a stream.
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, types: BTreeMap::new(), nonce: 0 }
    }

    /// Takes a message. What is to be sent then is said by [`Walk::next`].
    pub(crate) fn take(&mut self, request: S::Request) -> Heard {
        let type_url = S::type_url(&request);
        if !self.types.contains_key(type_url) && self.types.len() >= TYPES_MAX {
            return Heard::Excess;
        }
        let step = self.types.entry(type_url.to_owned()).or_default();
        step.subscription.take(request)
    }

    /// The next response, if one is due.
    pub(crate) fn next(&mut self, wanted: &ResourceSet, now: Instant) -> Option<S::Response> {
        for (type_url, step) in &mut self.types {
            step.leaving.retain(|name, _| !wanted.of(type_url).contains_key(name));
        }
        let first = self.response(Rank::Referred, wanted, now);
        if first.is_some() || self.any(Rank::Referred, S::is_waiting) {
            return first;
        }
        let second = self.response(Rank::Referring, wanted, now);
        if second.is_some() || !self.lets_go() {
            return second;
        }
        self.begin_to_leave(wanted, now);
        self.response(Rank::Referred, wanted, now)
    }

    /// When [`Walk::next`] has to be asked again though nothing has come.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let all = self.types.values().flat_map(|step| step.leaving.values());
        all.copied().filter(|&at| at > now).min()
    }

    /// Whether the node has accepted every resource of `wanted`, and rejects nothing.
    pub(crate) fn has(&self, wanted: &ResourceSet) -> bool {
        let has_all = |type_url: &str, named: &Named| {
            let step = self.types.get(type_url);
            named.iter().all(|(name, resource)| {
                step.is_some_and(|step| step.subscription.has(name, resource.version))
            })
        };
        let rejects = |(type_url, step): (&String, &Step<S>)| step.subscription.rejects(wanted.of(type_url));
        !self.types.iter().any(rejects) && wanted.types().all(|(type_url, named)| has_all(type_url, named))
    }

    /// How far the node is, by type.
    pub(crate) fn status(&self, wanted: &ResourceSet) -> BTreeMap<String, TypeStatus> {
        let status = |(type_url, step): (&String, &Step<S>)| {
            (type_url.clone(), step.subscription.status(wanted.of(type_url)))
        };
        self.types.iter().map(status).collect()
    }

    /// Whether the node has what no longer refers to what is not wanted. What it rejected, it has not: then it goes on with something older
    /// that may refer to it.
    fn lets_go(&self) -> bool {
        !self.any(Rank::Referring, |subscription| subscription.is_waiting() || subscription.is_behind())
    }

    fn begin_to_leave(&mut self, wanted: &ResourceSet, now: Instant) {
        for (type_url, step) in self.types.iter_mut().filter(|(type_url, _)| rank(type_url) == Rank::Referred)
        {
            let unwanted = step.subscription.unwanted(wanted.of(type_url));
            step.leaving.retain(|name, _| unwanted.contains(name));
            for name in unwanted {
                step.leaving.entry(name).or_insert(now + self.grace);
            }
        }
    }

    fn any(&self, of: Rank, is: impl Fn(&S) -> bool) -> bool {
        let mut types = self.types.iter().filter(|(type_url, _)| rank(type_url) == of);
        types.any(|(_, step)| is(&step.subscription))
    }

    fn response(&mut self, of: Rank, wanted: &ResourceSet, now: Instant) -> Option<S::Response> {
        let lets_go = self.lets_go();
        let nonce = self.nonce + 1;
        let mut types = self.types.iter_mut().filter(|(type_url, _)| rank(type_url) == of);
        let response = types.find_map(|(type_url, step)| {
            let Step { subscription, leaving } = step;
            let has_all = subscription.has_all(wanted.of(type_url));
            let leave = |name: &str| match of {
                // What takes its place has to be there first: a new listener may be rejected, and then the old one serves on.
                Rank::Referring if has_all => Leave::Now,
                Rank::Referring => Leave::Later,
                Rank::Referred if lets_go && leaving.get(name).is_some_and(|&at| at <= now) => Leave::Now,
                Rank::Referred => Leave::Later,
            };
            let due = Due { type_url, wanted: wanted.of(type_url), leave: &leave, nonce };
            if subscription.is_waiting() { None } else { subscription.response(&due) }
        })?;
        self.nonce = nonce;
        Some(response)
    }
}
