//! Whether strangers on other machines may be served: only if somebody has said so. Open gateways are found within hours.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tollgate_config::Bundle;

/// What is said of callers that nobody asks who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// They are served wherever they come from.
    Allowed,
    /// They are served on this machine alone.
    Refused,
}

impl Anonymous {
    /// Proves that `bundle` serves no stranger who may not be served.
    ///
    /// # Errors
    /// Which route would, and what to do about it.
    pub(crate) fn check(self, bundle: &Bundle) -> Result<(), String> {
        match (self, open(bundle)) {
            (Self::Allowed, _) | (Self::Refused, None) => Ok(()),
            (Self::Refused, Some((address, route))) => Err(format!(
                "other machines reach {address}, and {route} lets everybody in: put a SecurityPolicy over it, listen on 127.0.0.1, or say --allow-anonymous"
            )),
        }
    }
}

/// An address that other machines reach, and a route there that asks nobody who calls.
fn open(bundle: &Bundle) -> Option<(SocketAddr, String)> {
    let models = bundle
        .routes
        .iter()
        .filter(|route| route.rules.iter().any(|rule| rule.access.is_none() && rule.broken.is_none()));
    let models = models.map(|route| (&route.listeners, format!("AIGatewayRoute \"{}\"", route.name)));
    let plain = bundle
        .plain_routes
        .iter()
        .filter(|route| route.rules.iter().any(|rule| rule.access.is_none() && rule.broken.is_none()));
    let plain = plain.map(|route| (&route.listeners, format!("HTTPRoute \"{}\"", route.name)));
    models.chain(plain).find_map(|(names, route)| {
        let names: BTreeSet<&String> = names.iter().collect();
        let listeners = bundle.listeners.iter().filter(|listener| names.contains(&listener.name));
        let far = listeners.into_iter().find(|listener| !listener.address.to_canonical().is_loopback())?;
        Some((SocketAddr::new(far.address, far.port), route))
    })
}
