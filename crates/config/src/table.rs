//! Tables from a request to the rule that serves it.
//!
//! A listener has one table for each host name. Within a table, alternatives are in order of precedence; those that
//! want one certain model are found by its hash, so that thousands of models cost no more than one.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderMap;
use tollgate_terms::{FastMap, ModelName};

use crate::access::Entry;
use crate::condition::Condition;
use crate::hostname;
use crate::plain::{PlainAlternative, PlainRequest};
use crate::rule::CompiledRule;

/// A model that clients can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// Its name.
    pub id: ModelName,
    /// Who owns it, as the route says.
    pub owned_by: String,
    /// When it was made available, Unix seconds.
    pub created_s: u64,
    /// The name of what callers have to prove who may ask for it, if anything.
    pub access: Option<Arc<str>>,
}

/// The alternatives that serve one host name of a listener: when it is the most specific name that covers a host, they alone do.
#[derive(Debug, Clone, Default)]
pub struct VirtualHost<'a> {
    /// Exact, or `*.` and a suffix; `None` is every host that no other one covers.
    pub hostname: Option<String>,
    /// For requests of models, in order of precedence: the first that holds decides.
    pub alternatives: &'a [Alternative],
    /// For all others, in order of precedence.
    pub plain: &'a [Arc<PlainAlternative>],
}

/// One alternative of a rule, with what decides its precedence.
#[derive(Debug, Clone)]
pub struct Alternative {
    pub(crate) conditions: Arc<[Condition]>,
    pub(crate) created_at: i64,
    pub(crate) rule: Arc<CompiledRule>,
    /// What the model list says of the rule's models.
    pub(crate) listing: Arc<Listing>,
}

/// What the model list says of the models of one rule.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) owned_by: String,
    pub(crate) created_s: u64,
}

/// The tables of one listener.
#[derive(Debug, Default)]
pub(crate) struct HostTables {
    exact: FastMap<String, RuleTable>,
    /// By the suffix behind `*`, which begins with a dot.
    wildcard: FastMap<String, RuleTable>,
    any: RuleTable,
}

/// The alternatives of one host name.
// Invariant: after `sort`, `alternatives` are in order of precedence, and `by_model` and `scanned` hold ascending
// positions in it, each position in exactly one place.
#[derive(Debug, Default)]
struct RuleTable {
    alternatives: Vec<Alternative>,
    by_model: FastMap<String, Vec<usize>>,
    scanned: Vec<usize>,
    models: Vec<ListedModel>,
    entries: Vec<Entry>,
    /// After `sort` in order of precedence too.
    plain: Vec<Arc<PlainAlternative>>,
}

impl HostTables {
    /// Adds an alternative for `hostname`: exact, `*.` and a suffix, or `None` for every host.
    pub(crate) fn add(&mut self, hostname: Option<&str>, alternative: Alternative) {
        self.entry(hostname).alternatives.push(alternative);
    }

    /// Adds an alternative of a plain rule.
    pub(crate) fn add_plain(&mut self, hostname: Option<&str>, alternative: Arc<PlainAlternative>) {
        self.entry(hostname).plain.push(alternative);
    }

    fn entry(&mut self, hostname: Option<&str>) -> &mut RuleTable {
        match hostname {
            None | Some("*") => &mut self.any,
            Some(name) => match name.strip_prefix('*') {
                Some(suffix) => self.wildcard.entry(suffix.to_owned()).or_default(),
                None => self.exact.entry(name.to_owned()).or_default(),
            },
        }
    }

    /// Puts everything in order; to be called once, after the last `add`.
    pub(crate) fn sort(&mut self) {
        let named = self.exact.values_mut().chain(self.wildcard.values_mut());
        named.chain([&mut self.any]).for_each(RuleTable::sort);
    }

    /// Every host name and what serves it, in the order of names; that of every host is last, and always there.
    pub(crate) fn virtual_hosts(&self) -> Vec<VirtualHost<'_>> {
        let exact = self.exact.iter().map(|(name, table)| (name.clone(), table));
        let wildcard = self.wildcard.iter().map(|(suffix, table)| (format!("*{suffix}"), table));
        let mut hosts: Vec<_> = exact.chain(wildcard).map(|(name, table)| table.shown(Some(name))).collect();
        hosts.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        hosts.push(self.any.shown(None));
        hosts
    }

    pub(crate) fn route(
        &self,
        host: &str,
        headers: &HeaderMap,
        model: &ModelName,
    ) -> Option<&Arc<CompiledRule>> {
        self.table(host).route(headers, model)
    }

    pub(crate) fn models(&self, host: &str) -> &[ListedModel] {
        &self.table(host).models
    }

    pub(crate) fn entries(&self, host: &str) -> &[Entry] {
        &self.table(host).entries
    }

    pub(crate) fn has_models(&self, host: &str) -> bool {
        !self.table(host).alternatives.is_empty()
    }

    pub(crate) fn plain(&self, host: &str, request: PlainRequest<'_>) -> Option<&Arc<PlainAlternative>> {
        self.table(host).plain.iter().find(|alternative| alternative.holds(request))
    }

    /// The table of the most specific name that covers `host`. What is not in it is not looked for in a broader
    /// one: as in Envoy's virtual hosts, a host is served by one table.
    fn table(&self, host: &str) -> &RuleTable {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return &self.any;
        }
        let name = hostname::normalize(host);
        self.exact
            .get(name.as_ref())
            .or_else(|| hostname::suffixes(&name).find_map(|suffix| self.wildcard.get(suffix)))
            .unwrap_or(&self.any)
    }
}

impl RuleTable {
    fn shown(&self, hostname: Option<String>) -> VirtualHost<'_> {
        VirtualHost { hostname, alternatives: &self.alternatives, plain: &self.plain }
    }

    fn sort(&mut self) {
        self.plain.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
        self.alternatives.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
        for (position, alternative) in self.alternatives.iter().enumerate() {
            match alternative.exact_model() {
                Some(model) => self.by_model.entry(model.to_owned()).or_default().push(position),
                None => self.scanned.push(position),
            }
        }
        self.list_models();
        for entry in self.alternatives.iter().map(|alternative| &alternative.rule.entry) {
            let is_known = self.entries.iter().any(|known| known.is_same(entry));
            if !is_known && !matches!(entry, Entry::Closed) {
                self.entries.push(entry.clone());
            }
        }
    }

    /// Lists each model once, as the alternative of highest precedence describes it, in the order of precedence.
    fn list_models(&mut self) {
        let mut seen = HashSet::new();
        for alternative in &self.alternatives {
            let Some(id) = alternative.exact_model().and_then(|model| ModelName::parse(model).ok()) else {
                continue;
            };
            let entry = &alternative.rule.entry;
            if seen.insert(id.clone()) && !matches!(entry, Entry::Closed) {
                let listing = &alternative.listing;
                self.models.push(ListedModel {
                    id,
                    owned_by: listing.owned_by.clone(),
                    created_s: listing.created_s,
                    access: entry.access().map(|access| Arc::clone(&access.name)),
                });
            }
        }
    }

    fn route(&self, headers: &HeaderMap, model: &ModelName) -> Option<&Arc<CompiledRule>> {
        let indexed = self.by_model.get(model.as_str()).map_or(&[][..], Vec::as_slice);
        Ascending { a: indexed, b: &self.scanned }
            .filter_map(|position| self.alternatives.get(position))
            .find(|alternative| alternative.holds(headers, model))
            .map(|alternative| &alternative.rule)
    }
}

impl Alternative {
    /// All of them must hold.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// What serves a request for which they hold.
    pub fn rule(&self) -> &Arc<CompiledRule> {
        &self.rule
    }

    /// Smaller comes first. Source: Gateway API, `HTTPRouteRule.matches`: most header matches, then the older route,
    /// then the alphabetical order of `namespace/name`, then the order of rules.
    ///
    /// An alternative that could not be compiled catches more than it says, so it comes after those of its own
    /// rank: it must not take their requests, and still none of its own may slip through to a broader rule.
    fn precedence(&self) -> (Reverse<usize>, bool, i64, &str, usize) {
        let unreadable = self.conditions.iter().any(Condition::is_unreadable);
        (
            Reverse(self.conditions.len()),
            unreadable,
            self.created_at,
            self.rule.route.as_ref(),
            self.rule.index,
        )
    }

    fn exact_model(&self) -> Option<&str> {
        self.conditions.iter().find_map(Condition::exact_model)
    }

    fn holds(&self, headers: &HeaderMap, model: &ModelName) -> bool {
        self.conditions.iter().all(|condition| condition.holds(headers, Some(model)))
    }
}

/// Two ascending lists, merged as they are read.
struct Ascending<'a> {
    a: &'a [usize],
    b: &'a [usize],
}

impl Iterator for Ascending<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let list = match (self.a.first(), self.b.first()) {
            (Some(a), Some(b)) if a <= b => &mut self.a,
            (Some(_), None) => &mut self.a,
            _ => &mut self.b,
        };
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(*first)
    }
}
