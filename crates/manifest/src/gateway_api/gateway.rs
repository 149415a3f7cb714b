//! Gateway: where clients connect.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GROUP, HOSTNAME, KIND, LabelSelector, SECTION_NAME, SecretObjectReference};
use crate::rules::{cel, fields};

/// What a Gateway says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["infrastructure", "allowedListeners", "defaultScope", "tls"])))]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    #[schemars(length(min = 1, max = 253))]
    pub gateway_class_name: String,
    /// Ports and protocols to listen on.
    #[schemars(
        length(min = 1, max = 64),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = cel([
                (
                    "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
                    "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                ),
                (
                    "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
                    "tls mode must be Terminate for protocol HTTPS",
                ),
                (
                    "self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)",
                    "hostname must not be specified for protocols ['TCP', 'UDP']",
                ),
                (
                    "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol \
                     && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
                    "combination of port, protocol and hostname must be unique for each listener",
                ),
            ])
        )
    )]
    pub listeners: Vec<GatewayListener>,
    /// Addresses to listen on.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub addresses: Vec<GatewayAddress>,
}

/// One port and protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayListener {
    /// Name, unique in its Gateway.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION_NAME))]
    pub name: String,
    /// Host name that requests must have; every host when absent.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub hostname: Option<String>,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Protocol.
    pub protocol: ProtocolType,
    /// TLS, for `HTTPS`.
    pub tls: Option<GatewayTls>,
    /// Which routes may attach.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// Protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtocolType {
    /// Cleartext HTTP/1.1 and HTTP/2.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// TLS; not served.
    #[serde(rename = "TLS")]
    Tls,
    /// TCP; not served.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP; not served.
    #[serde(rename = "UDP")]
    Udp,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-not-served" = fields(["frontendValidation"]),
    "x-kubernetes-validations" = cel([(
        "self.mode == 'Terminate' ? (has(self.certificateRefs) && size(self.certificateRefs) > 0) || has(self.options) : true",
        "certificateRefs or options must be specified when mode is Terminate",
    )])
))]
pub struct GatewayTls {
    /// Who ends TLS.
    #[serde(default)]
    pub mode: TlsMode,
    /// Secrets of type `kubernetes.io/tls`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Options of an implementation.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub options: BTreeMap<String, String>,
}

/// Who ends TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// The gateway.
    #[default]
    Terminate,
    /// The backend; not served.
    Passthrough,
}

/// Which routes may attach to a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// From which namespaces; the Gateway's own when absent.
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; those that fit the protocol when empty.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces from which routes may attach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// Which ones.
    #[serde(default)]
    pub from: FromNamespaces,
    /// Labels of those namespaces, for `Selector`.
    pub selector: Option<LabelSelector>,
}

/// A choice of namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// Every namespace.
    All,
    /// Those with certain labels.
    Selector,
    /// That of the Gateway.
    #[default]
    Same,
    /// No namespace.
    None,
}

/// A kind of routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group of the kind.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: Option<String>,
    /// The kind.
    #[schemars(length(min = 1, max = 63), regex(pattern = KIND))]
    pub kind: String,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// `IPAddress`, `Hostname`, or a type of an implementation.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 253))]
    pub kind: Option<String>,
    /// The address; any address when absent.
    #[schemars(length(max = 253))]
    pub value: Option<String>,
}
