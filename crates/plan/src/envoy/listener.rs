//! Listeners of Envoy: one for each address and port, whichever listeners of the bundle share it.

use std::cmp::Reverse;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_config::bundle::Listener;
use tollgate_config::{Bundle, Diagnostic, Severity, Snapshot};

use super::callers::{self, Handed};
use super::form::socket_address;
use super::{Fleet, Resource, SecretNeed, connection, form, tls};

const LISTENER: &str = "envoy.config.listener.v3.Listener";

/// What of a connection is held in memory while the other side is slow, in each direction, bytes (Envoy's advice for the edge).
/// Request bodies that are collected whole have a bound of their own, in each virtual host.
const BUFFER_BYTES: u32 = 32 << 10;

/// One address, and the listeners of the bundle that share it. Never empty.
#[derive(Debug)]
pub(super) struct Door<'a> {
    address: SocketAddr,
    /// The most specific host name first: exact, then the longest suffix, then any.
    pub(super) listeners: Vec<&'a Listener>,
}

/// The addresses of `bundle`, in order.
pub(super) fn doors<'a>(bundle: &'a Bundle, diagnostics: &mut Vec<Diagnostic>) -> Vec<Door<'a>> {
    let mut doors: Vec<Door<'a>> = Vec::new();
    for listener in &bundle.listeners {
        let address = SocketAddr::new(listener.address, listener.port);
        match doors.iter_mut().find(|door| door.address == address) {
            None => doors.push(Door { address, listeners: vec![listener] }),
            Some(door) => match door.refuses(listener) {
                None => door.listeners.push(listener),
                Some(reason) => diagnostics.push(refused(listener, reason)),
            },
        }
    }
    doors.sort_by_key(|door| door.address);
    for door in &mut doors {
        door.listeners.sort_by_key(|listener| Reverse(specificity(listener)));
    }
    doors
}

impl Door<'_> {
    /// The name of the listener, and of its route configuration.
    pub(super) fn name(&self) -> String {
        self.address.to_string()
    }

    /// The listener whose host name is the broadest: who answers when no other one fits.
    pub(super) fn broadest(&self) -> Option<&Listener> {
        self.listeners.last().copied()
    }

    /// The policies of which filters look at something first.
    pub(super) fn handed_over<'s>(&self, snapshot: &'s Snapshot) -> Handed<'s> {
        let hosts = self.listeners.iter().flat_map(|listener| snapshot.virtual_hosts(&listener.name));
        let handed = hosts.filter_map(|host| callers::handed_over(&host));
        handed.map(|access| (access.name.as_ref(), &access.access)).collect()
    }

    /// The listener.
    pub(super) fn listener(&self, fleet: &Fleet, handed: &Handed<'_>) -> Resource {
        let name = self.name();
        let mut body = form::typed(
            LISTENER,
            json!({
                "name": name,
                "address": socket_address(&self.address.ip().to_string(), self.address.port()),
                "per_connection_buffer_limit_bytes": BUFFER_BYTES,
            }),
        );
        let manager = connection::manager(self, fleet, handed);
        if self.has_tls() {
            self.set_tls_chains(&mut body, &manager);
        } else {
            form::set(&mut body, "filter_chains", json!([{ "filters": [manager] }]));
        }
        Resource { name, body }
    }

    /// The certificates that the listener names.
    pub(super) fn secrets(&self) -> impl Iterator<Item = SecretNeed> {
        let all = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        all.flat_map(|tls| &tls.certificates).map(tls::need)
    }

    fn has_tls(&self) -> bool {
        self.listeners.iter().any(|listener| listener.tls.is_some())
    }

    /// A chain of filters for each host name in the handshake. They differ by certificate alone: which listener a request is for
    /// is decided by the host that it names.
    fn set_tls_chains(&self, body: &mut Value, manager: &Value) {
        let chains = self.listeners.iter().filter_map(|listener| {
            let socket = tls::downstream(listener.tls.as_ref()?);
            let name = listener.hostname.as_ref().map(|name| name.to_ascii_lowercase());
            Some((name, json!({ "filters": [manager], "transport_socket": socket })))
        });
        let mut named = Vec::new();
        let mut default = None;
        for (hostname, mut chain) in chains {
            // Who asks for no name, or for one that nobody has, gets the first certificate, and an answer in words.
            if default.is_none() || hostname.is_none() {
                default = Some(chain.clone());
            }
            if let Some(hostname) = hostname {
                form::set(&mut chain, "filter_chain_match", json!({ "server_names": [hostname] }));
                form::set(&mut chain, "name", hostname.into());
                named.push(chain);
            }
        }
        form::set(body, "listener_filters", json!([tls::inspector()]));
        form::set(body, "filter_chains", named.into());
        if let Some(mut chain) = default {
            form::set(&mut chain, "name", "default".into());
            form::set(body, "default_filter_chain", chain);
        }
    }

    /// Why `listener` cannot share the address.
    fn refuses(&self, listener: &Listener) -> Option<&'static str> {
        if self.has_tls() != listener.tls.is_some() {
            return Some("listeners with and without TLS cannot share an address");
        }
        let same = |other: &&Listener| match (&other.hostname, &listener.hostname) {
            (None, None) => true,
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        self.listeners.iter().any(same).then_some("another listener has the same address and host name")
    }
}

fn refused(listener: &Listener, reason: &str) -> Diagnostic {
    // A listener is called `namespace/gateway/listener`.
    let (gateway, name) = listener.name.rsplit_once('/').unwrap_or(("", &listener.name));
    Diagnostic {
        object: format!("Gateway {gateway}"),
        path: format!("spec.listeners[name={name}]"),
        severity: Severity::Error,
        message: reason.to_owned(),
    }
}

/// How much more specific than others the listener's host name is.
pub(super) fn specificity(listener: &Listener) -> (u8, usize) {
    match listener.hostname.as_deref() {
        None => (0, 0),
        Some(name) if name.starts_with("*.") => (1, name.len()),
        Some(name) => (2, name.len()),
    }
}
