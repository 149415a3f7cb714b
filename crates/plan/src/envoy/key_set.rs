//! Key sets of issuers that Envoy fetches by itself, each over a cluster of its own.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate_config::bundle::{Endpoint, KeyHost, KeySource, Trust, UpstreamTls};

use super::cluster::set_discovery;
use super::form::{self, seconds, set, typed};
use super::tls::{self, Offer};
use super::{Resource, callers, names};

/// How long a fetch may take, and how soon one that has failed is tried again. Known keys serve on.
const TIMEOUT: &str = "10s";
const AGAIN: &str = "1s";

/// How often one that fails is repeated at once, and how soon.
const RETRIES_MAX: usize = 5;
const RETRY_WAIT: &str = "0.05s";

/// Bytes of the modulus of an RSA key: fewer are not taken by the core, more not by Envoy.
const MODULUS_BYTES: RangeInclusive<usize> = 256..=2048;

/// Most bytes of its exponent.
const EXPONENT_BYTES_MAX: usize = 3;

/// The keys of a set as it was written that are for signatures: Envoy would take all of them for that, and short ones too. `None` if there is none.
pub(super) fn for_signatures(text: &str) -> Option<String> {
    let set: Value = serde_json::from_str(text).ok()?;
    let keys = set.get("keys")?.as_array()?.iter().filter(|key| is_for_signatures(key));
    let keys: Vec<&Value> = keys.collect();
    (!keys.is_empty()).then(|| json!({ "keys": keys }).to_string())
}

/// Whether it is for signatures, and has the shape that Envoy wants: a set without such a key makes it refuse all of a listener. A point is known to be on
/// its curve since the set was read.
fn is_for_signatures(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let operations = key.get("key_ops").map(|operations| operations.as_array().into_iter().flatten());
    let verifies = operations.is_none_or(|mut operations| operations.any(|operation| operation == "verify"));
    let is_of = |name: &str, length: usize| bytes(name).is_some_and(|bytes| bytes.len() == length);
    let (is_usable, algorithms): (bool, &[&str]) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => (
            bytes("n")
                .is_some_and(|n| is_odd(&n) && n.first() > Some(&0) && MODULUS_BYTES.contains(&n.len()))
                && bytes("e").is_some_and(|e| is_odd(&e) && e != [1] && e.len() <= EXPONENT_BYTES_MAX),
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
        (Some("EC"), Some("P-256")) => (is_of("x", 32) && is_of("y", 32), &["ES256"]),
        (Some("EC"), Some("P-384")) => (is_of("x", 48) && is_of("y", 48), &["ES384"]),
        (Some("OKP"), Some("Ed25519")) => (is_of("x", 32), &["EdDSA"]),
        _ => (false, &[]),
    };
    let has_algorithm =
        key.get("alg").is_none_or(|own| own.as_str().is_some_and(|own| algorithms.contains(&own)));
    is_usable && has_algorithm && verifies && key.get("use").is_none_or(|it| it == "sig")
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

/// How Envoy gets the key set of `source`: ahead of time, and again and again.
pub(super) fn fetched(source: &KeySource, uri: &str, refresh: Duration) -> Value {
    let cluster = cluster_of(source).map(|cluster| cluster.name).unwrap_or_default();
    let hosts = match source {
        KeySource::Remote { host: Some(host), .. } => host.endpoints.len(),
        KeySource::Remote { host: None, .. } | KeySource::Written(_) | KeySource::Secret(_) => 1,
    };
    let retries = hosts.clamp(1, RETRIES_MAX);
    json!({
        "http_uri": { "uri": uri, "cluster": cluster, "timeout": TIMEOUT },
        "cache_duration": seconds(refresh),
        // A listener does not wait for an issuer that does not answer.
        "async_fetch": { "fast_listener": true, "failed_refetch_duration": AGAIN },
        // Hosts are asked in turn: one that cannot be reached is no reason to have no keys.
        "retry_policy": { "num_retries": retries, "retry_back_off": { "base_interval": RETRY_WAIT } },
    })
}

/// The clusters of all key sets that policies of `handed` name, each once.
pub(super) fn clusters(handed: &callers::Handed<'_>) -> Vec<Resource> {
    let of_tokens = handed.values().filter(|access| access.handed_over.tokens);
    let providers = of_tokens.filter_map(|access| access.jwt.as_ref()).flat_map(|jwt| &jwt.providers);
    providers.filter_map(|provider| cluster_of(&provider.keys)).collect()
}

/// The cluster of a key set that is fetched.
fn cluster_of(source: &KeySource) -> Option<Resource> {
    let KeySource::Remote { uri, host, .. } = source else { return None };
    let address: http::Uri = uri.parse().ok()?;
    let name = address.host()?.trim_start_matches('[').trim_end_matches(']');
    let is_secure = address.scheme_str() == Some("https");
    let port = address.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let own = [endpoint(name, port)];
    let endpoints = host.as_ref().map_or(&own[..], |host| &host.endpoints);
    let of_host = host.as_ref().and_then(|KeyHost { tls, .. }| tls.clone());
    let of_address =
        || UpstreamTls { server_name: name.to_owned(), trust: Trust::System, subject_alt_names: Vec::new() };
    let tls = of_host.or_else(|| is_secure.then(of_address));
    let hosts: Vec<Value> = endpoints.iter().map(|endpoint| json!({ "endpoint": place(endpoint) })).collect();
    let mut body = json!({
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": "keys", "endpoints": [{ "lb_endpoints": hosts }] },
    });
    set_discovery(&mut body, endpoints.iter().any(|it| matches!(it, Endpoint::Fqdn { .. })));
    if let Some(tls) = tls {
        set(&mut body, "transport_socket", tls::upstream(&tls, Offer::Http1));
    }
    let name = names::hashed(&format!("keys/{name}"), &format!("{uri} {body}"));
    set(&mut body, "name", name.clone().into());
    Some(Resource { name, body: typed(form::CLUSTER, body) })
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    match host.parse() {
        Ok(address) => Endpoint::Ip { address, port },
        Err(_) => Endpoint::Fqdn { hostname: host.to_owned(), port },
    }
}

fn place(endpoint: &Endpoint) -> Value {
    match endpoint {
        Endpoint::Fqdn { hostname, port } => {
            json!({ "address": form::socket_address(hostname, *port), "hostname": hostname })
        }
        Endpoint::Ip { address, port } => {
            json!({ "address": form::socket_address(&address.to_string(), *port) })
        }
        // Such policies stay with the processor.
        Endpoint::Unix { path } => json!({ "address": form::pipe(path) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_the_gateway_would_take_are_told() {
        let of = |byte: u8, length: usize| URL_SAFE_NO_PAD.encode(vec![byte; length]);
        let rsa = json!({ "kty": "RSA", "n": of(0xf3, 256), "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": of(1, 32), "y": of(1, 32), "use": "sig", "key_ops": ["verify"] });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": of(1, 32), "alg": "EdDSA" });
        let with = |key: &Value, member: &str, value: Value| {
            let mut key = key.clone();
            set(&mut key, member, value);
            key
        };
        let others = [
            with(&rsa, "use", "enc".into()),
            with(&rsa, "key_ops", json!(["sign"])),
            with(&rsa, "alg", "RSA-OAEP".into()),
            with(&rsa, "n", of(0xf3, 128).into()),
            with(&rsa, "n", of(0xf3, 4096).into()),
            with(&rsa, "n", of(0xf2, 256).into()),
            with(&rsa, "n", "!".repeat(342).into()),
            with(&rsa, "e", "Ag".into()),
            with(&ec, "crv", "P-521".into()),
            with(&ec, "alg", "ES384".into()),
            with(&ec, "y", of(1, 31).into()),
            with(&ed, "alg", "RS256".into()),
            json!({ "kty": "oct", "k": "YQ" }),
            json!("key"),
        ];
        let all = [&[rsa.clone(), ec.clone(), ed.clone()][..], &others].concat();
        let told = for_signatures(&json!({ "keys": all }).to_string());
        assert_eq!(told, Some(json!({ "keys": [rsa, ec, ed] }).to_string()));
        assert_eq!(for_signatures(&json!({ "keys": others }).to_string()), None);
    }
}
