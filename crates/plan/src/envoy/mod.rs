//! From a `Bundle` to the resources of Envoy, in proto3's JSON form.
//!
//! Envoy routes, balances, retries and keeps time; an external processor (ext_proc), in which the core runs, does the rest: see
//! `docs/decisions/0006-how-envoy-is-programmed.md`. Resources hold no secret: they name what is to be sent beside them.
//!
//! Where Envoy can be told in several ways, what counts is that a client cannot tell its answers from the embedded data plane's.

mod access_log;
mod bounds;
mod callers;
mod cluster;
mod connection;
mod endpoint;
mod form;
mod key_set;
mod listener;
mod local_reply;
mod names;
mod place;
mod plain;
mod processor;
mod rate_limit;
mod retry;
mod route;
mod tls;
mod tunnel;
mod virtual_host;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tollgate_config::bundle::SecretRef;
use tollgate_config::{Bundle, Diagnostic, Snapshot};

pub use callers::{Proof, hand_callers_over};
pub use names::{
    ACCESS_METADATA, ATTEMPT_CALL, ATTEMPT_HEADER, CALL_METADATA, CONTENT_LENGTH, DIALECT, EXCHANGE,
    EXCHANGE_CALL, FAULT_HEADER, HOST_METADATA, LISTENER_METADATA, METADATA_NAMESPACE, PROBE_HEADER,
    REPLY_DETAILS, REQUEST_ID_HEADER, RETRY_HEADER, SNAPSHOT_METADATA, SOURCE_ADDRESS, TOKEN_METADATA,
    token_head,
};
pub use rate_limit::{hand_over, service_configuration};

pub use place::{Identity, Place, Told, cluster_at, told};

use cluster::Clusters;

/// What Envoys have to know beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The id of the snapshot: the processor gets it with each request, and serves from that one.
    pub snapshot: String,
    /// Where the external processor listens.
    pub processor: Place,
    /// Where the rate limit service is that counts what [`hand_over`] has given it; `None` if nothing.
    pub rate_limits: Option<Place>,
    /// Whether each request is logged.
    pub access_log: AccessLog,
    /// How long clients may take.
    pub patience: Patience,
}

/// How long a client may take for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For its head.
    pub head: Duration,
    /// For all of it.
    pub request: Duration,
}

impl Default for Patience {
    /// As in the embedded data plane.
    fn default() -> Self {
        Self { head: Duration::from_secs(30), request: Duration::from_secs(300) }
    }
}

/// Whether Envoy logs requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Each one, as a line of JSON on its standard output.
    Stdout,
    /// None.
    Off,
}

/// Everything that an Envoy is programmed with.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Resources {
    /// One per address and port.
    pub listeners: Vec<Resource>,
    /// One per listener, with its name.
    pub route_configurations: Vec<Resource>,
    /// One per rule that is served, and that of the external processor.
    pub clusters: Vec<Resource>,
    /// The certificates that listeners name.
    pub secrets: Vec<SecretNeed>,
    /// Where secrets have to be put in: their names stand there.
    #[serde(skip)]
    pub slots: Vec<Slot>,
    /// What of the configuration cannot be said to Envoy, or only in another way.
    pub diagnostics: Vec<Diagnostic>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    /// Its name, by which others refer to it. Names of clusters change with their content.
    pub name: String,
    /// The message in proto3's JSON form, with its `@type`.
    pub body: Value,
}

/// Where in a route configuration a secret has to be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The name of the route configuration.
    pub resource: String,
    /// The place in its body (JSON Pointer, RFC 6901).
    pub pointer: String,
    /// The secret; white space around it does not belong to it.
    pub secret: SecretRef,
}

/// A certificate that Envoy asks for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretNeed {
    /// What Envoy calls it.
    pub name: String,
    /// The chain, PEM.
    pub chain: SecretRef,
    /// The private key, PEM.
    pub key: SecretRef,
}

/// Writes the resources of `bundle`. Pure: the same bundle makes the same resources, in the same order.
pub fn resources(bundle: &Bundle, fleet: &Fleet) -> Resources {
    // What is wrong with the bundle itself is told by whoever serves from it.
    let (snapshot, _) = Snapshot::compile(bundle.clone());
    let mut resources = Resources::default();
    let mut clusters = Clusters::default();
    for door in listener::doors(bundle, &mut resources.diagnostics) {
        let handed = door.handed_over(&snapshot);
        resources.listeners.push(door.listener(fleet, &handed));
        let (configuration, slots) = virtual_host::configuration(&door, &snapshot, fleet, &mut clusters);
        resources.route_configurations.push(configuration);
        resources.slots.extend(slots);
        for cluster in key_set::clusters(&handed) {
            clusters.add(cluster);
        }
        for need in door.secrets() {
            if !resources.secrets.contains(&need) {
                resources.secrets.push(need);
            }
        }
    }
    resources.clusters.push(processor::cluster(&fleet.processor));
    resources.clusters.extend(fleet.rate_limits.as_ref().map(rate_limit::cluster));
    clusters.finish(&mut resources);
    resources
}
