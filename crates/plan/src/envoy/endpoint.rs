//! Hosts of a cluster: a locality for each target, with its weight and its priority.

use serde_json::{Value, json};
use tollgate_config::bundle::{Backend, Endpoint, ForwardProxy};

use super::form::{pipe, set, socket_address};
use super::names::HOST_METADATA;
use super::tunnel;

/// The namespace of a host's metadata by which its transport socket is chosen.
const SOCKET_METADATA: &str = "envoy.transport_socket_match";

/// One target, with what of it Envoy has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    /// Its place among the targets of the rule.
    pub(super) index: usize,
    /// Its priority, without gaps.
    pub(super) priority: u32,
    /// Its share among those of its priority.
    pub(super) weight: u32,
    /// Where it sends.
    pub(super) backend: &'a Backend,
    /// The proxy through which it is reached.
    pub(super) proxy: Option<&'a ForwardProxy>,
}

impl Served<'_> {
    /// The name of its locality, and of its transport socket.
    pub(super) fn name(&self) -> String {
        format!("target-{}", self.index)
    }

    /// The hosts of the target.
    pub(super) fn locality(&self, rule: &str) -> Value {
        let endpoints: Vec<Value> =
            self.backend.endpoints.iter().enumerate().map(|endpoint| self.host(endpoint, rule)).collect();
        json!({
            "locality": { "zone": self.name() },
            "priority": self.priority,
            "load_balancing_weight": self.weight,
            "lb_endpoints": endpoints,
        })
    }

    /// How hosts of the target are told from those of others.
    pub(super) fn socket_match(&self) -> Value {
        json!({ "target": self.name() })
    }

    /// Whether Envoy has to find addresses for names of the target.
    pub(super) fn resolves(&self) -> bool {
        let is_resolved = |endpoint: &Endpoint| {
            matches!(endpoint, Endpoint::Fqdn { .. }) && self.destination(endpoint).is_none()
        };
        self.backend.endpoints.iter().any(is_resolved)
    }

    /// Whether any of its hosts is reached through the proxy.
    pub(super) fn is_proxied(&self) -> bool {
        self.backend.endpoints.iter().any(|endpoint| self.destination(endpoint).is_some())
    }

    fn destination(&self, endpoint: &Endpoint) -> Option<String> {
        self.proxy?.destination(endpoint)
    }

    fn host(&self, (nth, endpoint): (usize, &Endpoint), rule: &str) -> Value {
        let authority = self.backend.authority(endpoint);
        let proxied = self.proxy.filter(|proxy| proxy.destination(endpoint).is_some());
        let (address, hostname) = match endpoint {
            Endpoint::Fqdn { hostname, port } if proxied.is_some() => {
                (socket_address(&tunnel::stand_in(self.index, nth), *port), Some(hostname.clone()))
            }
            // The name is what the proxy is asked for.
            Endpoint::Ip { address, port } if proxied.is_some() && address.is_ipv6() => {
                (socket_address(&address.to_string(), *port), Some(format!("[{address}]")))
            }
            Endpoint::Fqdn { hostname, port } => (socket_address(hostname, *port), Some(hostname.clone())),
            Endpoint::Ip { address, port } => {
                (socket_address(&address.to_string(), *port), Some(address.to_string()))
            }
            Endpoint::Unix { path } => (pipe(path), None),
        };
        let mut endpoint = json!({ "address": address });
        if let Some(hostname) = hostname {
            set(&mut endpoint, "hostname", hostname.into());
        }
        let target = format!("{rule}/target/{}", self.index);
        let mut metadata = json!({ HOST_METADATA: { "target": target, "authority": authority } });
        if self.backend.tls.is_some() || self.is_proxied() {
            set(&mut metadata, SOCKET_METADATA, self.socket_match());
        }
        let mut metadata = json!({ "filter_metadata": metadata });
        if let Some(proxy) = proxied {
            set(&mut metadata, "typed_filter_metadata", tunnel::metadata(proxy));
        }
        json!({ "endpoint": endpoint, "metadata": metadata })
    }
}
