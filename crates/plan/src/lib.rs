//! From what people wrote to what can be served: [`plan`] makes a `config::Bundle` of the objects of a [`World`].
//!
//! It follows every reference, asks for every grant and fills in every default. What cannot be served disables itself and is
//! named in a diagnostic; its neighbours serve on. This crate reads no file and no variable itself: those of the environment come to
//! [`environment()`] as plain data.

mod access;
mod attach;
mod backend;
mod backend_traffic;
mod base_url;
mod budget;
mod client_traffic;
mod cost;
mod credential;
mod environment;
pub mod envoy;
mod findings;
mod forward_proxy;
mod gateway;
mod gateway_config;
mod grant;
mod index;
mod invalid;
mod limit;
mod listener_tls;
mod mutation;
mod plain_filter;
mod plain_route;
mod proxy_variables;
mod quota;
mod rate_limit;
mod remote_secret;
mod retry;
mod route;
mod selector;
mod target;
mod upstream_tls;
mod world;

use std::collections::BTreeMap;

use tollgate_config::{Bundle, Diagnostic};

pub use environment::{Environment, EnvironmentError, environment};
pub use world::{Unusable, World, secrets};

use access::AccessPolicies;
use attach::Attachment;
use backend::PlainBackends;
use backend_traffic::TrafficPolicies;
use budget::Budgets;
use findings::Findings;
use gateway_config::GatewayConfigs;
use index::Index;
use plain_route::PlainRoutes;
use quota::Quotas;
use route::Routes;

/// What became of a world.
#[derive(Debug, Default)]
pub struct Plan {
    /// What can be served.
    pub bundle: Bundle,
    /// What cannot, or has no effect, in the order found.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects with a reference that leads nowhere, as `Kind namespace/name`, and why, as a reason of Gateway API's condition
    /// `ResolvedRefs`.
    pub unresolved: BTreeMap<String, &'static str>,
}

/// Plans a world. Pure: the same objects make the same plan.
pub fn plan(world: &World) -> Plan {
    let mut findings = Findings::default();
    let index = Index::new(world, &mut findings);
    let configs = GatewayConfigs::resolve(&index, &mut findings);
    let listeners = gateway::listeners(&index, &configs, world.default_address, &mut findings);
    let quotas = Quotas::resolve(&index, &mut findings);
    let backends = backend::backends(&index, &quotas, &mut findings);
    let traffic = TrafficPolicies::resolve(&index, &mut findings);
    let budgets = Budgets::resolve(&index, &mut findings);
    let access = AccessPolicies::resolve(&index, &mut findings);
    let attachment = Attachment::new(&index, &listeners.planned);
    let planner = Routes {
        index: &index,
        attachment,
        backends: &backends,
        traffic: &traffic,
        budgets: &budgets,
        access: &access,
    };
    let (routes, mut used) = planner.plan(&mut findings);
    let plain_routes = PlainRoutes { planner: &planner, backends: PlainBackends::new(&index) };
    let plain_routes = plain_routes.plan(&mut used, &mut findings);
    let remote_secrets = used.values().map(|(backend, _)| backend);
    let remote_secrets = remote_secret::remote_secrets(&index, remote_secrets, &mut findings);
    let backends = used.into_iter().map(|(name, (backend, _))| (name, backend)).collect();
    let access = access.into_bundle(&routes, &plain_routes);
    let forward_proxies = forward_proxy::by_listener(&listeners.planned);
    let bundle = Bundle {
        listeners: listeners.bundle,
        routes,
        plain_routes,
        backends,
        remote_secrets,
        access,
        forward_proxies,
    };
    let unresolved = findings.take_unresolved();
    Plan { bundle, diagnostics: findings.into_diagnostics(), unresolved }
}
