//! Hosts of a cluster: a locality for each target, with its weight and its priority.

use serde_json::{Value, json};
use tollgate_config::bundle::{Backend, Endpoint};

use super::form::{pipe, set, socket_address};
use super::names::HOST_METADATA;

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
}

impl Served<'_> {
    /// The name of its locality, and of its transport socket.
    pub(super) fn name(&self) -> String {
        format!("target-{}", self.index)
    }

    /// The hosts of the target.
    pub(super) fn locality(&self, rule: &str) -> Value {
        let endpoints: Vec<Value> =
            self.backend.endpoints.iter().map(|endpoint| self.host(endpoint, rule)).collect();
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

    fn host(&self, endpoint: &Endpoint, rule: &str) -> Value {
        let authority = self.backend.authority(endpoint);
        let (address, hostname) = match endpoint {
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
        if self.backend.tls.is_some() {
            set(&mut metadata, SOCKET_METADATA, self.socket_match());
        }
        json!({ "endpoint": endpoint, "metadata": { "filter_metadata": metadata } })
    }
}
