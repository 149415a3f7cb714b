//! The compiled configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tollgate_terms::{BackendName, FastMap, ModelName};

use crate::access::{self, Entry};
use crate::bundle::{Backend, Bundle, HeaderMatch, Listener, Match, Route, Rule};
use crate::condition::{self, Condition};
use crate::plain::{self, PlainAlternative, PlainRequest};
use crate::prices::{Catalog, Price, Sellers};
use crate::rule::{CompiledRule, RuleCompiler};
use crate::table::{Alternative, HostTables, ListedModel, Listing, VirtualHost};
use crate::{Diagnostic, Severity, hostname};

/// What a data plane serves from: compiled once, never changed, shared by every request that began under it.
#[derive(Debug)]
pub struct Snapshot {
    bundle: Bundle,
    listeners: FastMap<String, CompiledListener>,
    targets_count: u32,
    credential_headers: Vec<HeaderName>,
    prices: Arc<Catalog>,
    /// Who tells the prices of each backend.
    sellers: FastMap<BackendName, Sellers>,
}

/// A listener and its routing tables.
#[derive(Debug)]
struct CompiledListener {
    /// Its place in the bundle.
    index: usize,
    tables: HostTables,
}

impl Snapshot {
    /// Compiles `bundle`. Everything that is well formed is served, whatever else is wrong; a rule that cannot be
    /// compiled is there and broken, so that its requests do not slip through to another.
    pub fn compile(bundle: Bundle) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut listeners = FastMap::<String, CompiledListener>::default();
        for (index, listener) in bundle.listeners.iter().enumerate() {
            let tables = HostTables::default();
            listeners.entry(listener.name.clone()).or_insert(CompiledListener { index, tables });
        }
        let mut rules = RuleCompiler::new(&bundle, access::compile(&bundle, &mut diagnostics));
        let mut attach = |names: &[String], own: &[String], add: &dyn Fn(&mut HostTables, Option<&str>)| {
            for name in names {
                let Some(listener) = listeners.get_mut(name) else { continue };
                let Some(written) = bundle.listeners.get(listener.index) else { continue };
                for hostname in hostnames(own, written) {
                    add(&mut listener.tables, hostname.as_deref());
                }
            }
        };
        for route in &bundle.routes {
            let alternatives = compile_route(route, &mut rules, &mut diagnostics);
            attach(&route.listeners, &route.hostnames, &|tables, hostname| {
                alternatives.iter().for_each(|alternative| tables.add(hostname, alternative.clone()));
            });
        }
        for route in &bundle.plain_routes {
            let alternatives = plain::compile(route, (&rules.backends, &rules.accesses), &mut diagnostics);
            let alternatives: Vec<_> = alternatives.into_iter().map(Arc::new).collect();
            attach(&route.listeners, &route.hostnames, &|tables, hostname| {
                alternatives
                    .iter()
                    .for_each(|alternative| tables.add_plain(hostname, Arc::clone(alternative)));
            });
        }
        listeners.values_mut().for_each(|listener| listener.tables.sort());
        let targets_count = rules.targets_count();
        let credential_headers = credential_headers(&bundle);
        let (prices, sellers) = (Arc::default(), FastMap::default());
        (Self { bundle, listeners, targets_count, credential_headers, prices, sellers }, diagnostics)
    }

    /// The same with these prices. Without them, nothing has a price.
    #[must_use]
    pub fn with_prices(self, prices: Arc<Catalog>) -> Self {
        let sellers = self.bundle.backends.values().map(|it| (it.name.clone(), prices.sellers(it))).collect();
        Self { prices, sellers, ..self }
    }

    /// What `model` costs at `backend`; `None` if that is not known.
    pub fn price(&self, backend: &Backend, model: &ModelName) -> Option<&Arc<Price>> {
        self.sellers.get(&backend.name)?.price(model.as_str())
    }

    /// What models cost.
    pub fn prices(&self) -> &Arc<Catalog> {
        &self.prices
    }

    /// What it was compiled from.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The listener called `name`.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.bundle.listeners.get(self.listeners.get(name)?.index)
    }

    /// How many targets there are; their ids are below this.
    pub fn targets_count(&self) -> u32 {
        self.targets_count
    }

    /// The headers in which clients may bring a credential for some backend. No backend gets them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// The rule for a request to `host` (with or without a port) for `model`, by Gateway API precedence.
    ///
    /// `host` belongs to the listener; `headers` are the client's. The result may be broken.
    pub fn route(
        &self,
        listener: &str,
        host: &str,
        headers: &HeaderMap,
        model: &ModelName,
    ) -> Option<&Arc<CompiledRule>> {
        self.listeners.get(listener)?.tables.route(host, headers, model)
    }

    /// Whom the rules for models at `host` let in, each sort once; rules that let nobody in are left out.
    pub fn entries(&self, listener: &str, host: &str) -> &[Entry] {
        self.listeners.get(listener).map_or(&[], |listener| listener.tables.entries(host))
    }

    /// Whether any request to `host` is for a model: then the paths of their APIs are.
    pub fn has_models(&self, listener: &str, host: &str) -> bool {
        self.listeners.get(listener).is_some_and(|listener| listener.tables.has_models(host))
    }

    /// The alternative of a plain rule that takes a request to `host` which is for no model, by Gateway API precedence.
    pub fn plain(
        &self,
        listener: &str,
        host: &str,
        request: PlainRequest<'_>,
    ) -> Option<&Arc<PlainAlternative>> {
        self.listeners.get(listener)?.tables.plain(host, request)
    }

    /// How [`Snapshot::route`] and [`Snapshot::plain`] decide for the listener called `listener`, for a data plane that routes by itself.
    pub fn virtual_hosts(&self, listener: &str) -> Vec<VirtualHost<'_>> {
        self.listeners.get(listener).map(|listener| listener.tables.virtual_hosts()).unwrap_or_default()
    }

    /// The models that can be asked for by name at `host`: those that an `Exact` match on `x-ai-eg-model` names.
    pub fn models(&self, listener: &str, host: &str) -> &[ListedModel] {
        self.listeners.get(listener).map_or(&[], |listener| listener.tables.models(host))
    }
}

fn credential_headers(bundle: &Bundle) -> Vec<HeaderName> {
    let credentials = bundle.backends.values().filter_map(|backend| backend.credential.as_ref());
    let names: BTreeSet<&str> =
        credentials.flat_map(|credential| &credential.override_headers).map(String::as_str).collect();
    names.into_iter().filter_map(|name| name.parse().ok()).collect()
}

/// The host names at which a route with these of its `own` is served through `listener`; one `None` is every host.
fn hostnames(own: &[String], listener: &Listener) -> Vec<Option<String>> {
    let of_listener = listener.hostname.as_ref().map(|name| name.to_ascii_lowercase());
    if own.is_empty() {
        return vec![of_listener];
    }
    let mut names: Vec<Option<String>> = own
        .iter()
        .filter_map(|name| {
            let name = name.to_ascii_lowercase();
            match &of_listener {
                None => Some(name),
                Some(of_listener) => hostname::intersect(&name, of_listener).map(str::to_owned),
            }
        })
        .map(Some)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Compiles a route into the alternatives of all its rules.
fn compile_route(
    route: &Route,
    rules: &mut RuleCompiler<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Alternative> {
    let mut alternatives = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let mut findings = Vec::new();
        let conditions = compile_matches(&rule.matches, &mut findings);
        let broken = findings.first().map(|(path, reason)| format!("{path}: {reason}"));
        if rule.broken.is_none() {
            diagnostics.extend(findings.into_iter().map(|(path, message)| Diagnostic {
                object: format!("AIGatewayRoute {}", route.name),
                path: format!("spec.rules[{index}].{path}"),
                severity: Severity::Error,
                message,
            }));
        }
        let compiled = Arc::new(rules.compile(route, index, rule, broken, diagnostics));
        let listing = Arc::new(listing(rule));
        alternatives.extend(conditions.into_iter().map(|conditions| Alternative {
            conditions: conditions.into(),
            created_at: route.created_at,
            rule: Arc::clone(&compiled),
            listing: Arc::clone(&listing),
        }));
    }
    alternatives
}

fn listing(rule: &Rule) -> Listing {
    Listing {
        owned_by: rule.models_owned_by.clone(),
        created_s: u64::try_from(rule.models_created_at).unwrap_or_default(),
    }
}

/// Compiles the alternatives of a rule. A rule without any always matches.
fn compile_matches(matches: &[Match], findings: &mut Vec<(String, String)>) -> Vec<Vec<Condition>> {
    if matches.is_empty() {
        return vec![Vec::new()];
    }
    let compile = |(at, written): (usize, &Match)| compile_match(at, &written.headers, findings);
    matches.iter().enumerate().filter_map(compile).collect()
}

/// Compiles one alternative; `None` when no request can meet it.
fn compile_match(
    at: usize,
    written: &[HeaderMatch],
    findings: &mut Vec<(String, String)>,
) -> Option<Vec<Condition>> {
    let mut conditions: Vec<Condition> = Vec::with_capacity(written.len());
    let mut can_hold = true;
    for (place, header) in written.iter().enumerate() {
        let path = |field: &str| format!("matches[{at}].headers[{place}].{field}");
        let condition = match Condition::compile(header) {
            Ok(condition) => condition,
            Err((Some(condition), reason)) => {
                findings.push((path("value"), reason));
                condition
            }
            // No request has a header of such a name.
            Err((None, reason)) => {
                findings.push((path("name"), reason));
                can_hold = false;
                continue;
            }
        };
        can_hold &= condition::can_hold(&header.name);
        // Gateway API: of several conditions on one header, only the first counts.
        if !conditions.iter().any(|earlier| earlier.is_on_same_header(&condition)) {
            conditions.push(condition);
        }
    }
    can_hold.then_some(conditions)
}
