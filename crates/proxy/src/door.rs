//! One address to listen on, and the listeners that share it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tollgate_config::bundle::{Certificate, Listener, SecretRef};
use tollgate_config::{Snapshot, hostname};
use tollgate_effects::Secrets;

/// The listeners of one address; a request goes to the one whose host name fits best.
pub(crate) struct Door {
    listeners: Vec<Entry>,
    /// TLS, if the address terminates it.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

struct Entry {
    name: Arc<str>,
    /// Lower case; `*.example.com` or exact; `None` takes every host.
    hostname: Option<String>,
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A certificate or key that the listener names is not there.
    #[error("listener {listener}: no value {}/{} key {}", .secret.namespace, .secret.name, .secret.key)]
    NoSecret {
        /// The listener.
        listener: String,
        /// What is missing.
        secret: SecretRef,
    },
    /// A certificate or key that cannot be used.
    #[error("listener {listener}: unusable certificate or key: {reason}")]
    BadCertificate {
        /// The listener.
        listener: String,
        /// Why, without any of the key.
        reason: String,
    },
    /// Listeners with and without TLS share an address.
    #[error("listeners with and without TLS share {0}")]
    MixedTls(SocketAddr),
}

/// Sorts the listeners of a snapshot by address, and loads their certificates.
///
/// # Errors
/// When a certificate cannot be loaded, or cleartext and TLS would share an address.
pub(crate) fn doors(
    snapshot: &Snapshot,
    secrets: &Secrets,
) -> Result<BTreeMap<SocketAddr, Arc<Door>>, DoorError> {
    let mut by_address: BTreeMap<SocketAddr, Vec<&Listener>> = BTreeMap::new();
    for listener in &snapshot.bundle().listeners {
        by_address.entry(SocketAddr::new(listener.address, listener.port)).or_default().push(listener);
    }
    by_address
        .into_iter()
        .map(|(address, listeners)| Ok((address, Arc::new(Door::new(address, &listeners, secrets)?))))
        .collect()
}

impl Door {
    fn new(address: SocketAddr, listeners: &[&Listener], secrets: &Secrets) -> Result<Self, DoorError> {
        let mut entries: Vec<Entry> = listeners
            .iter()
            .map(|listener| Entry {
                name: listener.name.as_str().into(),
                hostname: listener.hostname.as_ref().map(|hostname| hostname.to_ascii_lowercase()),
            })
            .collect();
        // The most specific host name first: exact, then the longest suffix, then any.
        entries.sort_by_key(|entry| std::cmp::Reverse(specificity(entry.hostname.as_deref())));
        let with_tls = listeners.iter().filter(|listener| listener.tls.is_some()).count();
        let tls = match with_tls {
            0 => None,
            count if count == listeners.len() => Some(server_config(listeners, secrets)?),
            _ => return Err(DoorError::MixedTls(address)),
        };
        Ok(Self { listeners: entries, tls })
    }

    /// The listener that takes requests for `host` (a name, with or without a port).
    pub(crate) fn listener(&self, host: &str) -> Option<&Arc<str>> {
        let name = hostname::normalize(host);
        self.listeners
            .iter()
            .find(|entry| entry.hostname.as_deref().is_none_or(|pattern| covers(pattern, &name)))
            .map(|entry| &entry.name)
    }

    /// Any listener of the address: who answers when no host fits.
    pub(crate) fn any_listener(&self) -> Option<&Arc<str>> {
        self.listeners.last().map(|entry| &entry.name)
    }
}

fn specificity(hostname: Option<&str>) -> (u8, usize) {
    match hostname {
        None => (0, 0),
        Some(name) if name.starts_with("*.") => (1, name.len()),
        Some(name) => (2, name.len()),
    }
}

/// Whether the host name `pattern`, lower case, covers `name`.
fn covers(pattern: &str, name: &str) -> bool {
    hostname::intersect(pattern, name).is_some()
}

fn server_config(listeners: &[&Listener], secrets: &Secrets) -> Result<Arc<ServerConfig>, DoorError> {
    let mut certificates = Vec::new();
    for listener in listeners {
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let key = certified_key(&listener.name, certificate, secrets)?;
            let hostname = listener.hostname.as_ref().map(|name| name.to_ascii_lowercase());
            certificates.push((hostname, Arc::new(key)));
        }
    }
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByServerName { certificates }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certified_key(
    listener: &str,
    certificate: &Certificate,
    secrets: &Secrets,
) -> Result<CertifiedKey, DoorError> {
    let find = |secret: &SecretRef| {
        secrets
            .get(secret)
            .ok_or_else(|| DoorError::NoSecret { listener: listener.to_owned(), secret: secret.clone() })
    };
    let chain_pem = find(&certificate.chain)?;
    let key_pem = find(&certificate.key)?;
    crate::certificate::pair(chain_pem.expose(), key_pem.expose()).map_err(|unfit| {
        DoorError::BadCertificate { listener: listener.to_owned(), reason: unfit.to_string() }
    })
}

/// Chooses the certificate by the server name that the client asks for.
struct ByServerName {
    certificates: Vec<(Option<String>, Arc<CertifiedKey>)>,
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByServerName").field("certificates", &self.certificates.len()).finish()
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let fits = |pattern: &Option<String>| match (pattern, name) {
            (Some(pattern), Some(name)) => covers(pattern, &hostname::normalize(name)),
            (None, _) | (_, None) => true,
        };
        self.certificates
            .iter()
            .find(|(pattern, _)| fits(pattern))
            .or_else(|| self.certificates.first())
            .map(|(_, key)| Arc::clone(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_most_specific_listener() {
        let entry = |name: &str, hostname: Option<&str>| Entry {
            name: name.into(),
            hostname: hostname.map(str::to_owned),
        };
        let mut door = Door {
            listeners: vec![
                entry("any", None),
                entry("wild", Some("*.example.com")),
                entry("exact", Some("api.example.com")),
            ],
            tls: None,
        };
        door.listeners.sort_by_key(|entry| std::cmp::Reverse(specificity(entry.hostname.as_deref())));
        let name = |host| door.listener(host).map(|name| name.to_string());
        assert_eq!(name("API.example.com:8080").as_deref(), Some("exact"));
        assert_eq!(name("a.b.example.com").as_deref(), Some("wild"));
        assert_eq!(name("example.com").as_deref(), Some("any"));
        assert_eq!(name("[::1]:1975").as_deref(), Some("any"));
    }
}
