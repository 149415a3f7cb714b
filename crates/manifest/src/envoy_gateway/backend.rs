//! Backend: network addresses.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway_api::{HOSTNAME, LocalObjectReference, SecretObjectReference, WellKnownCaCertificates};
use crate::rules::{cel, fields};

/// What a Backend says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "self.type != 'DynamicResolver' || (!has(self.endpoints) && !has(self.appProtocols))",
    "DynamicResolver type cannot have endpoints and appProtocols specified",
)])))]
pub struct BackendSpec {
    /// How addresses are found.
    #[serde(rename = "type", default)]
    pub kind: BackendType,
    /// The addresses.
    #[serde(default)]
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-validations" = cel([(
            "self.all(f, has(f.fqdn)) || !self.exists(f, has(f.fqdn))",
            "fqdn addresses cannot be mixed with other address types",
        )]))
    )]
    pub endpoints: Vec<BackendEndpoint>,
    /// Protocols that the addresses speak.
    #[serde(default)]
    pub app_protocols: Vec<AppProtocol>,
    /// Whether this backend serves only when the others do not.
    pub fallback: Option<bool>,
    /// TLS towards the addresses.
    pub tls: Option<BackendTls>,
}

/// How addresses are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendType {
    /// They are listed.
    #[default]
    Endpoints,
    /// By the host name of the request; not served.
    DynamicResolver,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "has(self.fqdn) || has(self.ip) || has(self.unix)",
        "one of fqdn, ip or unix must be specified",
    ),
    (
        "!(has(self.fqdn) && has(self.ip)) && !(has(self.fqdn) && has(self.unix)) && !(has(self.ip) && has(self.unix))",
        "only one of fqdn, ip or unix can be specified",
    ),
])))]
pub struct BackendEndpoint {
    /// Host name to send in requests and, over TLS, to ask for.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub hostname: Option<String>,
    /// A host name to resolve, and a port.
    pub fqdn: Option<FqdnEndpoint>,
    /// An address and a port.
    pub ip: Option<IpEndpoint>,
    /// A Unix domain socket.
    pub unix: Option<UnixSocket>,
    /// Zone of the address.
    pub zone: Option<String>,
}

/// A host name to resolve, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FqdnEndpoint {
    /// Host name.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub hostname: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// An address and a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpEndpoint {
    /// Address, IPv4 or IPv6.
    #[schemars(with = "String", extend("format" = "ip"))]
    pub address: IpAddr,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// A Unix domain socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnixSocket {
    /// Path of the socket.
    #[schemars(length(min = 1, max = 108))]
    pub path: String,
}

/// A protocol that a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppProtocol {
    /// HTTP/2 without TLS.
    #[serde(rename = "gateway.envoyproxy.io/h2c")]
    H2c,
    /// WebSocket; not served.
    #[serde(rename = "gateway.envoyproxy.io/ws")]
    Ws,
    /// WebSocket over TLS; not served.
    #[serde(rename = "gateway.envoyproxy.io/wss")]
    Wss,
}

/// TLS towards a Backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-not-served" = fields([
        "minVersion",
        "maxVersion",
        "ciphers",
        "ecdhCurves",
        "signatureAlgorithms",
        "alpnProtocols",
    ]),
    "x-kubernetes-validations" = cel([(
        "!(has(self.caCertificateRefs) && has(self.wellKnownCACertificates))",
        "must not contain both caCertificateRefs and wellKnownCACertificates",
    )])
))]
pub struct BackendTls {
    /// Certificates of authorities to trust: a ConfigMap or Secret with the key `ca.crt`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// A well-known set of authorities to trust.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: Option<bool>,
    /// Server name to ask for.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub sni: Option<String>,
    /// Certificate to show.
    pub client_certificate_ref: Option<SecretObjectReference>,
}
