//! Where an Envoy finds the parts of the gateway that it calls.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{form, tls};

/// Where an Envoy finds a part of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix domain socket of the same machine.
    Unix {
        /// Its path.
        path: String,
    },
    /// A TCP port.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// How both sides show who they are; without it, in clear text.
        tls: Option<Identity>,
    },
}

/// What an Envoy shows to the parts of the gateway, and whom it takes for one: files on its own machine, so that no key is sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The authorities that have signed the parts' certificates, PEM.
    pub authorities: String,
    /// Envoy's own chain, PEM.
    pub chain: String,
    /// Its key, PEM.
    pub key: String,
    /// The folder with what `told` says of these files, so that Envoy follows them; without it they are read once.
    pub followed: Option<String>,
}

/// What of an `Identity` an Envoy is told by a file on its own machine, so that it follows the files that this one names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Its own chain and key.
    Certificate,
    /// The authorities that have signed the parts' certificates.
    Authorities,
}

impl Told {
    /// The name of the file, in the folder of `Identity::followed`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate.json",
            Self::Authorities => "authorities.json",
        }
    }
}

/// The text of the file that tells an Envoy one half of `identity`: the answer that a secret discovery service would give.
pub fn told(identity: &Identity, half: Told) -> Value {
    tls::secret(identity, half)
}

/// The cluster of the part at `place`, without anything that is special to the part.
pub fn cluster_at(name: &str, place: &Place) -> Value {
    let (kind, address) = match place {
        Place::Unix { path } => ("STATIC", form::pipe(path)),
        Place::Tcp { host, port, .. } => {
            let kind = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
            (kind, form::socket_address(host, *port))
        }
    };
    let mut cluster = json!({
        "name": name,
        "type": kind,
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    });
    if let Place::Tcp { host, tls: Some(identity), .. } = place {
        form::set(&mut cluster, "transport_socket", tls::towards_part(host, identity));
    }
    cluster
}
