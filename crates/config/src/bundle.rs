//! The resolved configuration: every reference followed, every default filled in, nothing compiled yet.
//!
//! It is plain data, so it can be printed, compared and sent to another process.

mod access;
mod credential;
mod forward_proxy;
mod limit;
mod plain;
mod remote_secret;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use tollgate_host::{
    AwsProfile, Call, CredentialKind, Envelope, Location, ProfileError, Proof, Schema, SigningKeys, Unsigned,
    profile_keys,
};
use tollgate_terms::{BackendName, ModelName, RouteName};

pub use crate::cost_expression::{CostError, CostExpression, CostFacts};
pub use access::{
    Access, AccessRule, ApiClient, ApiKeys, Authorization, HandedOver, Jwt, JwtProvider, KeyHost, KeySource,
    Permission, Place, PrincipalClaims, TokenCondition,
};
pub use credential::{
    AwsSource, AzureIdentity, AzureSource, ClientId, Credential, CredentialSource, GoogleFederation,
    GoogleSource, OidcClient,
};
pub use forward_proxy::{ForwardProxy, ProxyCredential};
pub use limit::{
    CalendarPeriod, Enforcement, Limit, LimitStore, Measure, MethodMatch, Network, OnExceeded,
    OnStoreFailure, PrincipalAttribute, Selector, Unpriced, Window,
};
pub use plain::{
    Forward, HeaderEdit, PathMatch, PathRewrite, PlainAction, PlainMatch, PlainRoute, PlainRule, PlainTarget,
    QueryMatch, Redirect,
};
pub use remote_secret::RemoteSecret;

/// Everything that a data plane needs to serve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// What to route, in no particular order: compiling sorts by Gateway API precedence.
    pub routes: Vec<Route>,
    /// What to pass through, in no particular order either.
    #[serde(default)]
    pub plain_routes: Vec<PlainRoute>,
    /// Every backend that a route names.
    pub backends: BTreeMap<BackendName, Backend>,
    /// Secrets of credentials whose values are kept elsewhere, by `namespace/name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remote_secrets: BTreeMap<String, RemoteSecret>,
    /// What callers have to prove, by the `namespace/name` of the SecurityPolicy that says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub access: BTreeMap<String, Access>,
    /// Through which proxy the backends of models are reached, by the name of the listener that their requests come in by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forward_proxies: BTreeMap<String, ForwardProxy>,
}

/// A value inside a Kubernetes Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretRef {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key in its data, such as `apiKey` or `tls.crt`.
    pub key: String,
}

/// One place where clients connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// `gateway namespace/gateway name/listener name`.
    pub name: String,
    /// Address to bind.
    pub address: IpAddr,
    /// Port to bind; several listeners may share one and differ by hostname.
    pub port: u16,
    /// Host name that requests must have: exact, or `*.` and a suffix. Absent: any.
    pub hostname: Option<String>,
    /// Certificates, if the listener terminates TLS.
    pub tls: Option<ListenerTls>,
    /// Largest request body, in bytes.
    pub request_body_bytes_max: u64,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Certificate chains and keys in PEM; the first whose names match the SNI serves, else the first.
    pub certificates: Vec<Certificate>,
}

/// A certificate chain and its private key, both PEM, both by reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The chain, `tls.crt`.
    pub chain: SecretRef,
    /// The private key, `tls.key`.
    pub key: SecretRef,
}

/// One AIGatewayRoute, attached to its listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// `namespace/name`.
    pub name: RouteName,
    /// Names of the listeners that it is attached to.
    pub listeners: Vec<String>,
    /// Host names it serves: exact or `*.` and a suffix. Empty: every host of its listeners.
    pub hostnames: Vec<String>,
    /// Creation time, Unix seconds: the older route wins a tie.
    pub created_at: i64,
    /// Its rules, in the order written.
    pub rules: Vec<Rule>,
    /// Token numbers to publish for each request; route-level entries have replaced global ones of the same key.
    pub costs: Vec<Cost>,
    /// What to do when a translation cannot say all of a request.
    #[serde(default)]
    pub on_loss: OnLoss,
}

/// What to do when a request cannot be said completely in the dialect of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnLoss {
    /// Record it, and tell a client that asks.
    #[default]
    Allow,
    /// Record it, and tell every client, in a header.
    Warn,
    /// Refuse a request whose answer may differ for it, with a 422. A loss that only costs is allowed.
    Reject,
}

/// A number of tokens to publish under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The key, `metadataKey`.
    pub key: String,
    /// Which number.
    pub kind: CostKind,
}

/// Which number a [`Cost`] is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CostKind {
    /// The whole prompt.
    InputToken,
    /// Read from a prompt cache.
    CachedInputToken,
    /// Written to a prompt cache.
    CacheCreationInputToken,
    /// The whole answer.
    OutputToken,
    /// The reasoning part of the answer.
    ReasoningToken,
    /// Input and output.
    TotalToken,
    /// A CEL expression over the others.
    Cel(CostExpression),
}

/// One rule: what it matches and where it sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The rule's own name, if it has one.
    pub name: Option<String>,
    /// Alternatives: the rule matches when one of them does. Empty: always.
    pub matches: Vec<Match>,
    /// Where requests go. Empty, or all of weight 0: 500 as Gateway API wants.
    pub targets: Vec<Target>,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// What its requests may use. All that are for a request hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// `owned_by` of its models in the model list.
    pub models_owned_by: String,
    /// `created` of its models in the model list, Unix seconds.
    pub models_created_at: i64,
    /// What callers have to prove, by its name in the bundle; `None` lets everybody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Set when the rule cannot be served as written (a missing backend, a denied grant, an invalid policy): it
    /// answers 500 with this reason and never falls through to another rule.
    pub broken: Option<String>,
}

/// One alternative of a rule: all its header conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The conditions. `x-ai-eg-model` stands for the model in the body, whatever the client sends in that header.
    pub headers: Vec<HeaderMatch>,
}

/// A condition on one header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// Header name, lower case.
    pub name: String,
    /// What its value must be.
    pub value: TextMatch,
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TextMatch {
    /// The very same text.
    Exact(String),
    /// A regular expression (RE2 syntax) over the whole text.
    RegularExpression(String),
}

/// One backend of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The backend.
    pub backend: BackendName,
    /// 0 is tried first.
    pub priority: u32,
    /// Share among targets of the same priority; 0 gets nothing.
    pub weight: u32,
    /// Model to ask the backend for, instead of the client's.
    pub model_override: Option<ModelName>,
    /// Header and body changes, the route's and the backend's already merged.
    pub mutation: Mutation,
}

/// Changes to make to each request. Removal comes first, so a name in both ends up set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mutation {
    /// Headers to set, lower-case names.
    pub headers_set: Vec<(String, String)>,
    /// Headers to remove, lower-case names.
    pub headers_remove: Vec<String>,
    /// Top-level body members to set, with the value as JSON text.
    pub body_set: Vec<(String, String)>,
    /// Top-level body members to remove.
    pub body_remove: Vec<String>,
}

/// Bounds in time of a rule. `None` is no bound, which is the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The whole exchange, retries included; for a stream, until its last byte.
    pub request: Option<Duration>,
    /// One attempt, until there is something for the client: the whole of a document, the first event of a stream.
    pub per_try: Option<Duration>,
    /// One attempt, until the head of its response, or the first event of a stream.
    pub first_byte: Option<Duration>,
    /// Silence of a backend, before its response and inside of it.
    pub stream_idle: Option<Duration>,
}

/// When a rule tries again, and how often. Gateway API: nothing is retried unless a policy says so, which is the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Retries after the first attempt, over all priorities.
    pub retries_max: u32,
    /// Attempts at one priority before the next one is tried; `None` is as many as there are healthy targets.
    pub attempts_per_priority: Option<u32>,
    /// Retry when no connection can be made.
    pub on_connect_failure: bool,
    /// Retry when the connection is lost before the response.
    pub on_reset: bool,
    /// Retry when an attempt runs out of time before its first byte.
    pub on_timeout: bool,
    /// Retry on these statuses.
    pub on_statuses: Vec<u16>,
    /// First wait between attempts at the same priority; doubles each time, with full jitter.
    pub backoff_base: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
}

/// One configured upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// `namespace/name` of the AIServiceBackend; of a Backend that plain routes send to, `Backend namespace/name`.
    pub name: BackendName,
    /// What it speaks, and where its paths begin.
    pub schema: Schema,
    /// Where it is. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards it; `None` is cleartext.
    pub tls: Option<UpstreamTls>,
    /// How the gateway proves itself to it.
    pub credential: Option<Credential>,
    /// Bounds on concurrent work.
    pub limits: Limits,
    /// When to take it out for a while.
    pub ejection: Option<Ejection>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Speak cleartext HTTP/2 (prior knowledge). Over TLS, ALPN decides.
    pub http2_cleartext: bool,
    /// What requests may use of it. All that are for a request hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<Limit>,
}

impl Backend {
    /// What every endpoint is asked as, if they are all asked as one: a signed request names its host.
    pub fn one_authority(&self) -> Option<String> {
        let (first, others) = self.endpoints.split_first()?;
        let authority = self.authority(first);
        others.iter().all(|other| self.authority(other) == authority).then_some(authority)
    }

    /// What `endpoint` is asked as: its host, with the port unless that is the usual one.
    pub fn authority(&self, endpoint: &Endpoint) -> String {
        let usual_port = if self.tls.is_some() { 443 } else { 80 };
        let with_port = |host: String, port: u16| match port {
            port if port == usual_port => host,
            port => format!("{host}:{port}"),
        };
        match endpoint {
            Endpoint::Fqdn { hostname, port } => with_port(hostname.clone(), *port),
            Endpoint::Ip { address, port } if address.is_ipv6() => with_port(format!("[{address}]"), *port),
            Endpoint::Ip { address, port } => with_port(address.to_string(), *port),
            Endpoint::Unix { .. } => "localhost".to_owned(),
        }
    }
}

/// One address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Endpoint {
    /// A host name to resolve, and a port.
    Fqdn {
        /// Host name.
        hostname: String,
        /// Port.
        port: u16,
    },
    /// An address and a port.
    Ip {
        /// Address.
        address: IpAddr,
        /// Port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix {
        /// Path of the socket.
        path: String,
    },
}

/// TLS towards a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// Server name to ask for and to verify.
    pub server_name: String,
    /// Whom to trust.
    pub trust: Trust,
    /// Further names of which the certificate must have one; empty: `server_name` alone decides.
    pub subject_alt_names: Vec<String>,
}

/// Which certificate authorities to trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// Those of the system.
    System,
    /// Those in these PEM texts (ConfigMap or Secret values, inlined: they are not secret).
    Pem(Vec<String>),
}

/// Bounds on concurrent work at one backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections per worker thread.
    pub connections_max: u32,
    /// Requests in flight; more are answered 503 at once.
    pub requests_max: u32,
    /// Retries in flight.
    pub retries_max: u32,
}

/// Passive health: when to stop sending to a backend for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ejection {
    /// Faults in a row (5xx, or no response at all) that eject. 0 never.
    pub consecutive_5xx: u32,
    /// Faults in a row of the gateway kind (502, 503, 504, or no response) that eject. 0 never.
    pub consecutive_gateway_errors: u32,
    /// How long the first ejection lasts; each further one lasts that much longer.
    pub base_time: Duration,
    /// The longest ejection.
    pub max_time: Duration,
    /// Largest share of a rule's targets that may be out at once, percent.
    pub max_ejection_percent: u8,
}
