//! ClientTrafficPolicy: connections of clients, above all the largest request body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetSelector;
use crate::gateway_api::PolicyTargetReference;
use crate::rules::{cel, fields};
use crate::scalar::{ByteSize, GatewayDuration};

/// What a ClientTrafficPolicy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-not-served" = fields([
        "mergeType",
        "tcpKeepalive",
        "enableProxyProtocol",
        "proxyProtocol",
        "clientIPDetection",
        "headers",
        "tls",
        "path",
        "http1",
        "http2",
        "http3",
        "healthCheck",
        "scheme",
    ]),
    "x-kubernetes-validations" = cel([(
        "(has(self.targetRef) && !has(self.targetRefs)) || (!has(self.targetRef) && has(self.targetRefs)) \
         || (has(self.targetSelectors) && self.targetSelectors.size() > 0)",
        "either targetRef or targetRefs must be used",
    )])
))]
pub struct ClientTrafficPolicySpec {
    /// The Gateway that this policy is about; the older spelling of `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The Gateways, or listeners of them, that this policy is about.
    #[serde(default)]
    pub target_refs: Vec<PolicyTargetReference>,
    /// The same, by their labels.
    #[serde(default)]
    pub target_selectors: Vec<TargetSelector>,
    /// Connections of clients.
    pub connection: Option<ClientConnection>,
    /// Bounds in time.
    pub timeout: Option<ClientTimeout>,
}

/// Connections of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["maxAcceptPerSocketEvent"])))]
pub struct ClientConnection {
    /// How many there may be.
    pub connection_limit: Option<ConnectionLimit>,
    /// Bytes to hold for a connection, and so the largest request body.
    pub buffer_limit: Option<ByteSize>,
    /// Bytes to hold in its socket.
    pub socket_buffer_limit: Option<ByteSize>,
}

/// How many connections there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["maxConnectionDuration", "maxRequestsPerConnection", "maxStreamDuration"])))]
pub struct ConnectionLimit {
    /// The largest number of them.
    #[schemars(range(min = 1))]
    pub value: i64,
    /// How long a connection past it waits before it is closed.
    pub close_delay: Option<GatewayDuration>,
}

/// Bounds in time towards clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTimeout {
    /// Of connections.
    pub tcp: Option<TcpClientTimeout>,
    /// Of requests.
    pub http: Option<HttpClientTimeout>,
}

/// Bounds in time of connections of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpClientTimeout {
    /// How long a connection may be silent.
    pub idle_timeout: Option<GatewayDuration>,
}

/// Bounds in time of requests of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpClientTimeout {
    /// Until the whole request is there.
    pub request_received_timeout: Option<GatewayDuration>,
    /// How long a connection is kept without a request.
    pub idle_timeout: Option<GatewayDuration>,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Option<GatewayDuration>,
}
