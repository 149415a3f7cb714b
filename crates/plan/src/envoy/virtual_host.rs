//! Route configurations: which virtual host serves which host name.

use serde_json::{Value, json};
use tollgate_config::bundle::Listener;
use tollgate_config::{Snapshot, VirtualHost, hostname};

use super::cluster::Clusters;
use super::form::typed;
use super::listener::{Door, specificity};
use super::route::Beside;
use super::{Fleet, Resource, Slot, callers, plain, processor, route};

const ROUTE_CONFIGURATION: &str = "envoy.config.route.v3.RouteConfiguration";

/// The route configuration of `door`: all its listeners in one, since a host name is served by one of them alone. Beside it where secrets belong.
pub(super) fn configuration(
    door: &Door<'_>,
    snapshot: &Snapshot,
    fleet: &Fleet,
    clusters: &mut Clusters,
) -> (Resource, Vec<Slot>) {
    let name = door.name();
    let mut hosts = Hosts { name: &name, fleet, clusters, written: Vec::new(), slots: Vec::new() };
    for listener in &door.listeners {
        let own = listener.hostname.as_ref().map(|name| name.to_ascii_lowercase());
        let tables = snapshot.virtual_hosts(&listener.name);
        for table in &tables {
            // A listener with a host name has no table for all others, and one that says so there is out of reach.
            let reached = match (&table.hostname, &own) {
                (None, Some(_)) => false,
                (None, None) => true,
                (Some(name), _) => !is_taken(door, listener, name),
            };
            if reached {
                hosts.write(listener, table.hostname.as_deref(), table);
            }
        }
        if let Some(name) = &own
            && !tables.iter().any(|table| table.hostname.as_ref() == Some(name))
        {
            hosts.write(listener, Some(name), &VirtualHost::default());
        }
    }
    if let Some(broadest) = door.broadest().filter(|listener| listener.hostname.is_some()) {
        hosts.write(broadest, None, &VirtualHost::default());
    }
    let slots = hosts.slots;
    let fields = json!({
        "name": name,
        "virtual_hosts": hosts.written,
        "ignore_port_in_host_matching": true,
    });
    (Resource { name, body: typed(ROUTE_CONFIGURATION, fields) }, slots)
}

/// Whether every host that `name` covers goes to a listener that is more specific than `listener`.
fn is_taken(door: &Door<'_>, listener: &Listener, name: &str) -> bool {
    let others = door.listeners.iter().filter(|other| specificity(other) > specificity(listener));
    others.filter_map(|other| other.hostname.as_deref()).any(|other| {
        let other = other.to_ascii_lowercase();
        hostname::intersect(&other, name) == Some(name)
    })
}

/// Writes virtual hosts, one after the other.
struct Hosts<'a> {
    /// The name of the route configuration.
    name: &'a str,
    fleet: &'a Fleet,
    clusters: &'a mut Clusters,
    written: Vec<Value>,
    slots: Vec<Slot>,
}

impl Hosts<'_> {
    fn write(&mut self, listener: &Listener, hostname: Option<&str>, table: &VirtualHost<'_>) {
        let domain = hostname.unwrap_or("*");
        let beside = if table.plain.is_empty() { Beside::Nothing } else { Beside::Plain };
        let alternatives = table.alternatives.iter();
        let mut routes: Vec<Value> =
            alternatives.map(|alternative| route::to_rule(alternative, beside, self.clusters)).collect();
        let mut said = processor::of_virtual_host(&self.fleet.snapshot, &listener.name);
        if let Some(access) = callers::handed_over(table) {
            routes.insert(0, callers::to_processor(access));
            let (filters, slots) = callers::of_virtual_host(access, (self.name, self.written.len()));
            said.extend(filters);
            self.slots.extend(slots);
        }
        if beside == Beside::Plain {
            if !routes.is_empty() {
                routes.extend(route::to_models());
            }
            routes.push(route::to_processor());
        }
        let plain = table.plain.iter();
        let place = (self.fleet, listener);
        routes.extend(plain.flat_map(|alternative| plain::routes(alternative, place, self.clusters)));
        routes.push(route::to_nothing());
        self.written.push(json!({
            "name": domain,
            "domains": [domain],
            "request_body_buffer_limit": listener.request_body_bytes_max,
            "typed_per_filter_config": said,
            "include_request_attempt_count": true,
            "routes": routes,
        }));
    }
}
