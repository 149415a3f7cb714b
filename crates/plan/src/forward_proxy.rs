//! The proxy that a GatewayConfig names: backends of models are reached through it.

use std::collections::BTreeMap;

use tollgate_config::bundle::{ForwardProxy, ProxyCredential, SecretRef, Trust};
use tollgate_manifest::{GatewayConfigSpec, LocalObjectReference};

use crate::findings::{Findings, Unresolved};
use crate::gateway::PlannedListener;
use crate::index::{Index, Item};
use crate::{remote_secret, upstream_tls};

/// Name of a Secret beside the GatewayConfig, with the name and the password that the proxy is shown: each by itself, or in an address.
const CREDENTIAL: &str = "tollgate.dev/forward-proxy-secret";

/// Whom to trust as the proxy, which is spoken to with TLS then: `System`, or the name of a ConfigMap beside the GatewayConfig with `ca.crt`.
const TLS: &str = "tollgate.dev/forward-proxy-tls";

/// What [`TLS`] says for the authorities of the system. It is no name that a ConfigMap can have.
const SYSTEM: &str = "System";

/// Hosts that are reached without it, with commas between them: exact, or `*.` and a suffix.
const BYPASS: &str = "tollgate.dev/forward-proxy-bypass";

/// The keys of the Secret, as Kubernetes has them in the type `kubernetes.io/basic-auth`.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// The key of a Secret that has both in an address.
const ADDRESS: &str = "url";

/// The proxy of `config`, if it names one.
///
/// # Errors
/// When it cannot be told which one is meant, or how. Nothing may be sent around it then.
pub(crate) fn resolve(
    index: &Index<'_>,
    config: &Item<'_, GatewayConfigSpec>,
    findings: &mut Findings,
) -> Result<Option<ForwardProxy>, String> {
    let annotation = |name| config.metadata.annotations.get(name).map(String::as_str);
    let Some(written) = &config.spec.forward_proxy else {
        for name in [CREDENTIAL, TLS, BYPASS] {
            if annotation(name).is_some() {
                findings.warning(&config.id, annotated(name), "has no effect without spec.forwardProxy");
            }
        }
        return Ok(None);
    };
    // Every part is looked at, so that all mistakes show at once.
    let address = address(&written.address).inspect_err(|message| {
        findings.error(&config.id, "spec.forwardProxy.address", message.as_str());
    });
    let bypass = bypass(annotation(BYPASS).unwrap_or_default()).inspect_err(|message| {
        findings.error(&config.id, annotated(BYPASS), message.as_str());
    });
    let credential =
        annotation(CREDENTIAL).map(|name| credential(index, config, name.trim(), findings)).transpose();
    let tls = annotation(TLS).map(|name| trust(index, config, name.trim(), findings)).transpose();
    let (host, port) = address?;
    Ok(Some(ForwardProxy { host, port, tls: tls?, credential: credential?, bypass: bypass? }))
}

/// The proxies of `listeners`, by their names.
pub(crate) fn by_listener(listeners: &[PlannedListener<'_>]) -> BTreeMap<String, ForwardProxy> {
    let of_one = |listener: &PlannedListener<'_>| {
        let proxy = listener.config.proxy.clone()?;
        Some(listener.names.clone().into_iter().map(move |name| (name, proxy.clone())))
    };
    listeners.iter().filter_map(of_one).flatten().collect()
}

fn annotated(name: &str) -> String {
    format!("metadata.annotations[{name:?}]")
}

/// Host and port.
fn address(text: &str) -> Result<(String, u16), String> {
    let expected = || format!("expected host:port, found {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']').ok_or_else(expected)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| expected())?.to_string()
        }
        None => host.to_ascii_lowercase(),
    };
    if host.is_empty() { Err(expected()) } else { Ok((host, port)) }
}

fn bypass(text: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let exact = name.strip_prefix("*.").unwrap_or(name);
        if exact.is_empty() || exact.contains(['*', '/', ' ']) {
            return Err(format!("expected host names, each exact or \"*.\" and a suffix, found {name:?}"));
        }
        names.push(name.to_ascii_lowercase());
    }
    Ok(names)
}

fn trust(
    index: &Index<'_>,
    config: &Item<'_, GatewayConfigSpec>,
    name: &str,
    findings: &mut Findings,
) -> Result<Trust, String> {
    if name == SYSTEM {
        return Ok(Trust::System);
    }
    let (group, kind) = (String::new(), "ConfigMap".to_owned());
    let authorities = [LocalObjectReference { group, kind, name: name.to_owned() }];
    upstream_tls::trust(index, &config.id, &annotated(TLS), &authorities, findings)
}

fn credential(
    index: &Index<'_>,
    config: &Item<'_, GatewayConfigSpec>,
    name: &str,
    findings: &mut Findings,
) -> Result<ProxyCredential, String> {
    let namespace = &config.id.namespace;
    let reference =
        |key: &str| SecretRef { namespace: namespace.clone(), name: name.to_owned(), key: key.to_owned() };
    let found = match index.secrets.get(namespace, name) {
        None => Err(format!("no Secret \"{namespace}/{name}\"")),
        Some(secret) if !matches!(remote_secret::read(secret.spec), Ok(None)) => {
            Err("values that AWS Secrets Manager keeps are not served here".to_owned())
        }
        Some(secret) if secret.spec.data.contains_key(ADDRESS) => {
            Ok(ProxyCredential::Address(reference(ADDRESS)))
        }
        Some(secret) => match [USERNAME, PASSWORD].iter().find(|key| !secret.spec.data.contains_key(**key)) {
            Some(key) => Err(format!("Secret \"{namespace}/{name}\" has no key {key:?}")),
            None => {
                Ok(ProxyCredential::Pair { username: reference(USERNAME), password: reference(PASSWORD) })
            }
        },
    };
    found.inspect_err(|message| {
        findings.unresolved(&config.id, annotated(CREDENTIAL), Unresolved::ValueNotFound, message.clone());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(address("Proxy.example.com:3128"), Ok(("proxy.example.com".to_owned(), 3128)));
        assert_eq!(address("[::1]:3128"), Ok(("::1".to_owned(), 3128)));
        for text in ["proxy", ":3128", "proxy:0", "proxy:65536", "[::1:3128", "[proxy]:3128"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_that_bypass_it_are_names() {
        assert_eq!(
            bypass(" Models.example , *.corp,"),
            Ok(vec!["models.example".to_owned(), "*.corp".to_owned()])
        );
        for text in ["*", "a*.b", "10.0.0.0/8"] {
            assert!(bypass(text).is_err(), "{text}");
        }
    }
}
