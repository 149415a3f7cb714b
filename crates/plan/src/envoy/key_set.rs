//! Key sets of issuers that Envoy fetches by itself, each over a cluster of its own.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_config::bundle::{Endpoint, KeyHost, KeySource, Trust, UpstreamTls};

use super::cluster::set_discovery;
use super::form::{self, seconds, set, typed};
use super::tls::{self, Offer};
use super::{Resource, callers, names};

/// How long a fetch may take, and how soon one that has failed is tried again. Known keys serve on.
const TIMEOUT: &str = "10s";
const AGAIN: &str = "1s";

/// How many letters of base64 the modulus of an RSA key of 2048 bits has, the shortest that is taken.
const MODULUS_LETTERS_MIN: usize = 342;

/// The keys of a set as it was written that are for signatures: Envoy would take all of them for that, and short ones too. `None` if there is none.
pub(super) fn for_signatures(text: &str) -> Option<String> {
    let set: Value = serde_json::from_str(text).ok()?;
    let keys = set.get("keys")?.as_array()?.iter().filter(|key| is_for_signatures(key));
    let keys: Vec<&Value> = keys.collect();
    (!keys.is_empty()).then(|| json!({ "keys": keys }).to_string())
}

fn is_for_signatures(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let operations = key.get("key_ops").map(|operations| operations.as_array().into_iter().flatten());
    let verifies = operations.is_none_or(|mut operations| operations.any(|operation| operation == "verify"));
    let is_usable = match text("kty") {
        Some("RSA") => text("n").is_some_and(|modulus| modulus.len() >= MODULUS_LETTERS_MIN),
        Some("EC") => matches!(text("crv"), Some("P-256" | "P-384")),
        Some("OKP") => text("crv") == Some("Ed25519"),
        _ => false,
    };
    is_usable && verifies && key.get("use").is_none_or(|it| it == "sig")
}

/// How Envoy gets the key set of `source`: ahead of time, and again and again.
pub(super) fn fetched(source: &KeySource, uri: &str, refresh: Duration) -> Value {
    let cluster = cluster_of(source).map(|cluster| cluster.name).unwrap_or_default();
    json!({
        "http_uri": { "uri": uri, "cluster": cluster, "timeout": TIMEOUT },
        "cache_duration": seconds(refresh),
        // A listener does not wait for an issuer that does not answer.
        "async_fetch": { "fast_listener": true, "failed_refetch_duration": AGAIN },
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
        let modulus = "x".repeat(342);
        let rsa = json!({ "kty": "RSA", "n": modulus, "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "key_ops": ["verify"] });
        let mut encrypting = rsa.clone();
        set(&mut encrypting, "use", "enc".into());
        let mut signing = rsa.clone();
        set(&mut signing, "key_ops", json!(["sign"]));
        let others = [
            encrypting,
            signing,
            json!({ "kty": "RSA", "n": "x".repeat(171), "e": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-521" }),
            json!({ "kty": "oct", "k": "YQ" }),
            json!("key"),
        ];
        let all = [&[rsa.clone(), ec.clone()][..], &others].concat();
        let told = for_signatures(&json!({ "keys": all }).to_string());
        assert_eq!(told, Some(json!({ "keys": [rsa, ec] }).to_string()));
        assert_eq!(for_signatures(&json!({ "keys": others }).to_string()), None);
    }
}
