//! Clusters: one for each rule that is served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_config::bundle::Endpoint;
use tollgate_config::plain::{CompiledForward, CompiledPlainRule};
use tollgate_config::{CompiledRule, CompiledTarget, Diagnostic, Severity};

use super::endpoint::Served;
use super::form::{CLUSTER, HTTP_OPTIONS, extension, seconds, set, typed};
use super::tls::{self, Offer};
use super::{Resource, Resources, bounds, names, plain, processor, tunnel};

/// Each host name is asked for by itself, and every address that it has is a host: what used to be the type `STRICT_DNS`.
const DNS: &str = "envoy.extensions.clusters.dns.v3.DnsCluster";

/// HTTP/2 towards backends: a connection carries many streams, and one whose reader is slow must not stop the others.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes of a backend's answer that are held while the client is slow.
const BUFFER_BYTES: u32 = 1 << 20;

/// How long an unused connection is kept, as in the embedded data plane.
const IDLE_TIMEOUT: &str = "55s";

/// A priority keeps all requests as long as one of its hosts is left: then this share of them, in percent, counts as all.
const OVERPROVISIONING_PERCENT: u32 = 100_000;

/// Below this share of healthy hosts, in percent, Envoy sends to ejected ones too. The least that there is: when none is left in any
/// priority, an answer of a doubtful backend beats none.
const PANIC_PERCENT: u32 = 1;

/// The clusters so far.
#[derive(Default)]
pub(super) struct Clusters {
    /// By the address of the rule, which stands in many virtual hosts.
    of_rules: HashMap<*const (), Result<String, String>>,
    written: Vec<Resource>,
    diagnostics: Vec<Diagnostic>,
}

impl Clusters {
    /// The name of the cluster of `rule`.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub(super) fn of_rule<'r>(&mut self, rule: &'r Arc<CompiledRule>) -> Result<String, String> {
        let targets = || {
            let all = rule.targets.iter().enumerate().filter(|(_, target)| target.weight > 0);
            let served = |(index, target): (usize, &'r CompiledTarget)| Served {
                index,
                priority: target.priority,
                weight: target.weight,
                backend: &target.backend,
                proxy: rule.proxy.as_deref(),
            };
            all.map(served).collect()
        };
        let origin = || Origin {
            object: format!("AIGatewayRoute {}", rule.route),
            index: rule.index,
            cluster: names::rule(rule),
            filters: processor::of_cluster(),
        };
        self.once(Arc::as_ptr(rule).cast(), origin, targets)
    }

    /// The name of the cluster of `rule`, which has these backends.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub(super) fn of_plain_rule<'r>(
        &mut self,
        rule: &'r Arc<CompiledPlainRule>,
        forward: &'r CompiledForward,
    ) -> Result<String, String> {
        let targets = || {
            let all = forward.targets.iter().enumerate();
            all.map(|(index, (backend, weight))| Served {
                index,
                priority: 0,
                weight: *weight,
                backend,
                proxy: None,
            })
            .collect()
        };
        let origin = || Origin {
            object: format!("HTTPRoute {}", rule.route),
            index: rule.index,
            cluster: names::plain_rule(rule),
            filters: plain::filters(),
        };
        self.once(Arc::as_ptr(rule).cast(), origin, targets)
    }

    fn once<'r>(
        &mut self,
        key: *const (),
        origin: impl FnOnce() -> Origin,
        targets: impl FnOnce() -> Vec<Served<'r>>,
    ) -> Result<String, String> {
        if let Some(known) = self.of_rules.get(&key) {
            return known.clone();
        }
        let made = self.write(&origin(), targets());
        self.of_rules.insert(key, made.clone());
        made
    }

    /// Adds one that is for no rule.
    pub(super) fn add(&mut self, cluster: Resource) {
        if !self.written.iter().any(|written| written.name == cluster.name) {
            self.written.push(cluster);
        }
    }

    /// Hands over what was written.
    pub(super) fn finish(self, resources: &mut Resources) {
        resources.clusters.extend(self.written);
        resources.diagnostics.extend(self.diagnostics);
    }

    fn write(&mut self, origin: &Origin, targets: Vec<Served<'_>>) -> Result<String, String> {
        let targets = self.served(origin, targets)?;
        let protocol = self.protocol(origin, &targets);
        let mut body = body(origin, &targets, protocol);
        let name = names::hashed(&origin.cluster, &body.to_string());
        set(&mut body, "name", name.clone().into());
        // One route may stand in the bundle several times, for listeners with other defaults.
        self.add(Resource { name: name.clone(), body });
        Ok(name)
    }

    /// The targets that get requests, with priorities that have no gaps, as Envoy wants them.
    fn served<'a>(&mut self, origin: &Origin, live: Vec<Served<'a>>) -> Result<Vec<Served<'a>>, String> {
        let resolves = live.iter().any(Served::resolves);
        let mut targets: Vec<Served<'a>> = Vec::new();
        let mut last = None;
        let mut lost = None;
        for served in live {
            let is_unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix { .. });
            if resolves && served.backend.endpoints.iter().any(is_unix) {
                let message = "Envoy cannot have a Unix socket beside a host name in one rule: this backend gets nothing";
                self.tell(origin, served.backend.name.as_ref(), Severity::Error, message);
                continue;
            }
            if let Some(obstacle) = served.proxy.filter(|_| served.is_proxied()).and_then(tunnel::obstacle) {
                let message = format!("{obstacle}: this backend gets nothing");
                lost.get_or_insert(obstacle);
                self.tell(origin, served.backend.name.as_ref(), Severity::Error, &message);
                continue;
            }
            let before = targets.last().map_or(0, |served| served.priority);
            let priority = if last.is_none_or(|last| last == served.priority) { before } else { before + 1 };
            last = Some(served.priority);
            targets.push(Served { priority, ..served });
        }
        if targets.is_empty() {
            return Err(lost.unwrap_or("no backend has a weight").to_owned());
        }
        Ok(targets)
    }

    fn protocol(&mut self, origin: &Origin, targets: &[Served<'_>]) -> Protocol {
        let is_http2 = |served: &Served<'_>| served.backend.http2_cleartext && served.backend.tls.is_none();
        if targets.iter().all(|served| served.backend.tls.is_some()) {
            return Protocol::ByAlpn;
        }
        if targets.iter().all(is_http2) {
            return Protocol::Http2;
        }
        for served in targets.iter().filter(|served| is_http2(served)) {
            let message = "Envoy speaks HTTP/2 in cleartext to all backends of a rule or to none: this one is asked with HTTP/1.1";
            self.tell(origin, served.backend.name.as_ref(), Severity::Warning, message);
        }
        Protocol::Http1
    }

    fn tell(&mut self, origin: &Origin, backend: &str, severity: Severity, message: &str) {
        let diagnostic = Diagnostic {
            object: origin.object.clone(),
            path: format!("spec.rules[{}].backendRefs", origin.index),
            severity,
            message: format!("backend {backend:?}: {message}"),
        };
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The rule that a cluster is for.
struct Origin {
    /// The object that it stands in.
    object: String,
    /// Its place there.
    index: usize,
    /// The name of the cluster, without a hash.
    cluster: String,
    /// What happens to a request in the cluster.
    filters: Value,
}

/// What all hosts of a cluster are asked in: Envoy has one for them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// TLS decides.
    ByAlpn,
    /// HTTP/2, in cleartext.
    Http2,
    /// HTTP/1.1.
    Http1,
}

/// The cluster, without its name.
fn body(origin: &Origin, targets: &[Served<'_>], protocol: Protocol) -> Value {
    let rule = origin.cluster.as_str();
    let resolves = targets.iter().any(Served::resolves);
    let connect_timeout = targets.iter().map(|served| served.backend.connect_timeout).max();
    let localities: Vec<Value> = targets.iter().map(|served| served.locality(rule)).collect();
    let mut fields = json!({
        "name": rule,
        "alt_stat_name": rule,
        "connect_timeout": seconds(connect_timeout.unwrap_or_default().max(Duration::from_millis(1))),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "lb_policy": "ROUND_ROBIN",
        "common_lb_config": {
            "healthy_panic_threshold": { "value": PANIC_PERCENT },
            "locality_weighted_lb_config": {},
        },
        "circuit_breakers": bounds::circuit_breakers(targets),
        "typed_extension_protocol_options": { HTTP_OPTIONS: typed(HTTP_OPTIONS, http_options(protocol, &origin.filters)) },
        "load_assignment": {
            "cluster_name": rule,
            "policy": { "overprovisioning_factor": OVERPROVISIONING_PERCENT },
            "endpoints": localities,
        },
    });
    if let Some(outliers) = bounds::outlier_detection(targets) {
        set(&mut fields, "outlier_detection", outliers);
    }
    set_sockets(&mut fields, targets, protocol);
    set_discovery(&mut fields, resolves);
    typed(CLUSTER, fields)
}

pub(super) fn set_discovery(cluster: &mut Value, resolves: bool) {
    if resolves {
        let fields = json!({ "respect_dns_ttl": true, "dns_lookup_family": "V4_PREFERRED" });
        set(cluster, "cluster_type", extension("envoy.cluster.dns", DNS, fields));
    } else {
        set(cluster, "type", "STATIC".into());
    }
}

fn http_options(protocol: Protocol, filters: &Value) -> Value {
    let http2 = json!({
        "initial_stream_window_size": STREAM_WINDOW_BYTES,
        "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
    });
    let (name, config) = match protocol {
        Protocol::ByAlpn => {
            ("auto_config", json!({ "http_protocol_options": {}, "http2_protocol_options": http2 }))
        }
        Protocol::Http2 => ("explicit_http_config", json!({ "http2_protocol_options": http2 })),
        Protocol::Http1 => ("explicit_http_config", json!({ "http_protocol_options": {} })),
    };
    json!({
        "common_http_protocol_options": { "idle_timeout": IDLE_TIMEOUT },
        name: config,
        "http_filters": filters,
    })
}

/// TLS and the way through a proxy, target by target. The first one's is that of the cluster too where all have TLS: what is chosen by ALPN must not have
/// cleartext as its last resort.
fn set_sockets(cluster: &mut Value, targets: &[Served<'_>], protocol: Protocol) {
    let offer = if protocol == Protocol::ByAlpn { Offer::Both } else { Offer::Http1 };
    let mut matches = Vec::new();
    for served in targets {
        let tls = served.backend.tls.as_ref().map(|tls| tls::upstream(tls, offer));
        let socket = if served.is_proxied() { Some(tunnel::socket(tls)) } else { tls };
        let Some(socket) = socket else { continue };
        if protocol == Protocol::ByAlpn && matches.is_empty() {
            set(cluster, "transport_socket", socket.clone());
        }
        matches.push(json!({
            "name": served.name(),
            "match": served.socket_match(),
            "transport_socket": socket,
        }));
    }
    if !matches.is_empty() {
        set(cluster, "transport_socket_matches", matches.into());
    }
}
