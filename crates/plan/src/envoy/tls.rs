//! TLS towards clients and towards backends.

use std::net::IpAddr;

use serde_json::{Value, json};
use tollgate_config::bundle::{Certificate, ListenerTls, Trust, UpstreamTls};

use super::form::{self, extension};
use super::{Identity, SecretNeed, Told};

const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";
const INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

/// The name of both transport sockets.
const SOCKET: &str = "envoy.transport_sockets.tls";

/// Where the authorities of the system are, in the images that Envoy comes in.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which protocols a backend is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

/// What reads the server name that a client asks for.
pub(super) fn inspector() -> Value {
    extension("envoy.filters.listener.tls_inspector", INSPECTOR, json!({}))
}

/// The certificate as Envoy asks for it.
pub(super) fn need(certificate: &Certificate) -> SecretNeed {
    let Certificate { chain, key } = certificate;
    let mut name = format!("{}/{}", chain.namespace, chain.name);
    // Almost always both are in one Secret, under the keys that Kubernetes gives them.
    if (&chain.namespace, &chain.name) != (&key.namespace, &key.name)
        || (chain.key.as_str(), key.key.as_str()) != ("tls.crt", "tls.key")
    {
        name = format!("{name}/{}+{}/{}/{}", chain.key, key.namespace, key.name, key.key);
    }
    SecretNeed { name, chain: chain.clone(), key: key.clone() }
}

/// TLS towards clients.
pub(super) fn downstream(tls: &ListenerTls) -> Value {
    let by_name = |certificate| json!({ "name": need(certificate).name, "sds_config": form::from_ads() });
    let certificates: Vec<Value> = tls.certificates.iter().map(by_name).collect();
    let context = json!({
        "tls_params": parameters(),
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": certificates,
    });
    extension(SOCKET, DOWNSTREAM, json!({ "common_tls_context": context }))
}

/// TLS towards a backend.
pub(super) fn upstream(tls: &UpstreamTls, offer: Offer) -> Value {
    let names = match tls.subject_alt_names.as_slice() {
        [] => std::slice::from_ref(&tls.server_name),
        names => names,
    };
    let names: Vec<Value> = names.iter().map(|name| subject_alt_name(name)).collect();
    let trusted = match &tls.trust {
        Trust::System => json!({ "filename": SYSTEM_AUTHORITIES }),
        Trust::Pem(texts) => json!({ "inline_string": joined(texts) }),
    };
    let protocols = match offer {
        Offer::Both => json!(["h2", "http/1.1"]),
        Offer::Http1 => json!(["http/1.1"]),
    };
    let context = json!({
        "tls_params": parameters(),
        "alpn_protocols": protocols,
        "validation_context": { "trusted_ca": trusted, "match_typed_subject_alt_names": names },
    });
    let mut fields = json!({ "common_tls_context": context });
    // An address is no server name (RFC 6066 section 3).
    if tls.server_name.parse::<IpAddr>().is_err() {
        form::set(&mut fields, "sni", tls.server_name.clone().into());
    }
    extension(SOCKET, UPSTREAM, fields)
}

/// TLS towards a part of the gateway at `host`.
pub(super) fn towards_part(host: &str, identity: &Identity) -> Value {
    let names = json!([subject_alt_name(host)]);
    let mut context = json!({
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "alpn_protocols": ["h2"],
    });
    match &identity.followed {
        Some(folder) => {
            let by_file = |half| by_file(folder, half);
            form::set(
                &mut context,
                "tls_certificate_sds_secret_configs",
                json!([by_file(Told::Certificate)]),
            );
            let trusted = json!({
                "default_validation_context": { "match_typed_subject_alt_names": names },
                "validation_context_sds_secret_config": by_file(Told::Authorities),
            });
            form::set(&mut context, "combined_validation_context", trusted);
        }
        None => {
            form::set(&mut context, "tls_certificates", json!([own(identity)]));
            let mut trusted = trusted(identity);
            form::set(&mut trusted, "match_typed_subject_alt_names", names);
            form::set(&mut context, "validation_context", trusted);
        }
    }
    let mut fields = json!({ "common_tls_context": context });
    if host.parse::<IpAddr>().is_err() {
        form::set(&mut fields, "sni", host.into());
    }
    extension(SOCKET, UPSTREAM, fields)
}

/// One half of `identity`, as the answer of a secret discovery service. Envoy reads what it names again when a file is moved
/// into the folder of one, which is how Kubernetes renews a mounted Secret.
pub(super) fn secret(identity: &Identity, half: Told) -> Value {
    let mut secret = json!({ "@type": format!("type.googleapis.com/{SECRET}"), "name": half.file_name() });
    match half {
        Told::Certificate => form::set(&mut secret, "tls_certificate", own(identity)),
        Told::Authorities => form::set(&mut secret, "validation_context", trusted(identity)),
    }
    json!({ "resources": [secret] })
}

fn by_file(folder: &str, half: Told) -> Value {
    let name = half.file_name();
    let source =
        json!({ "path_config_source": { "path": format!("{folder}/{name}") }, "resource_api_version": "V3" });
    json!({ "name": name, "sds_config": source })
}

fn own(identity: &Identity) -> Value {
    json!({ "certificate_chain": { "filename": identity.chain }, "private_key": { "filename": identity.key } })
}

fn trusted(identity: &Identity) -> Value {
    json!({ "trusted_ca": { "filename": identity.authorities } })
}

/// Versions and key agreements as the embedded plane has them, so that a client that reaches the one reaches the other.
fn parameters() -> Value {
    json!({
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "ecdh_curves": ["X25519MLKEM768", "X25519", "P-256", "P-384"],
    })
}

/// A name of which the certificate must have one; for host names Envoy reads wildcards in certificates as browsers do.
fn subject_alt_name(name: &str) -> Value {
    let kind = if name.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
    json!({ "san_type": kind, "matcher": { "exact": name } })
}

fn joined(texts: &[String]) -> String {
    let with_end = |text: &String| format!("{}\n", text.trim_end());
    texts.iter().map(with_end).collect()
}
