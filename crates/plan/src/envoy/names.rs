//! Names that Envoy, its processor and whoever sends resources have to agree on.

use tollgate_config::CompiledRule;
use tollgate_config::plain::CompiledPlainRule;
use tollgate_terms::content_hash;

/// The response header that tells the id of the exchange.
pub const REQUEST_ID_HEADER: &str = "x-tollgate-request-id";

/// The response header of Envoy's own replies that tells the processor what is wrong.
pub const FAULT_HEADER: &str = "x-tollgate-fault";

/// The response header by which the processor asks Envoy to try elsewhere.
pub const RETRY_HEADER: &str = "x-tollgate-retry";

/// Initial metadata of the ext_proc call of a listener: the id of the snapshot that the request was routed by.
pub const SNAPSHOT_METADATA: &str = "x-tollgate-snapshot";

/// The attribute of requests that tells the processor where a client is: address and port.
pub const SOURCE_ADDRESS: &str = "source.address";

/// Initial metadata of the ext_proc call of a listener about a request of a plain rule: the policy that the rule is under.
pub const ACCESS_METADATA: &str = "x-tollgate-access";

/// Initial metadata of the ext_proc call of a listener: the listener's name in the bundle.
pub const LISTENER_METADATA: &str = "x-tollgate-listener";

/// Initial metadata of every ext_proc call: what it is about, [`EXCHANGE_CALL`] or [`ATTEMPT_CALL`].
pub const CALL_METADATA: &str = "x-tollgate-call";

/// A call of a listener: one request, from its head to the end of its body.
pub const EXCHANGE_CALL: &str = "exchange";

/// A call of a cluster: one try at one target.
pub const ATTEMPT_CALL: &str = "attempt";

/// The namespace of dynamic metadata in which the processor publishes, as Envoy AI Gateway's does.
pub const METADATA_NAMESPACE: &str = "io.envoy.ai_gateway";

/// The namespace of dynamic metadata in which Envoy's filter for tokens says what it has verified, which is also its name: the claims under
/// [`provider_name`](tollgate_config::provider_name), and the head under [`token_head`].
pub const TOKEN_METADATA: &str = "envoy.filters.http.jwt_authn";

/// Under which name the heads of tokens are told whose claims are told under `provider`.
pub fn token_head(provider: &str) -> String {
    format!("{provider} head")
}

/// The namespace of a host's metadata that says which target it belongs to: `target` is `<route>/rule/<index>/target/<place>`, and
/// `authority` what its backend is asked as.
pub const HOST_METADATA: &str = "tollgate";

/// The member of dynamic metadata with the id of the exchange. Not a header: what an attempt does to headers the next one sees.
pub const EXCHANGE: &str = "exchange";

/// The member of dynamic metadata with the length of a body that the processor has replaced.
pub const CONTENT_LENGTH: &str = "content_length";

/// The member of dynamic metadata with the label of the client's dialect, for replies of Envoy's own.
pub const DIALECT: &str = "dialect";

/// The request header by which the processor is told which exchange a try belongs to and which host was picked. Attributes would do as
/// well, and cost more.
pub const ATTEMPT_HEADER: &str = "x-tollgate-try";

/// What Envoy writes in it: the id of the exchange, what the backend is asked as, and the target.
pub(super) const ATTEMPT_IDENTITY: &str = "%DYNAMIC_METADATA(io.envoy.ai_gateway:exchange)% %UPSTREAM_METADATA(tollgate:authority)% %UPSTREAM_METADATA(tollgate:target)%";

/// What `details` of the processor's immediate responses begin with: Envoy leaves those as they are, and gives all other replies of
/// its own the shape of the client's dialect.
pub const REPLY_DETAILS: &str = "tollgate";

/// The cluster of the external processor.
pub(super) const PROCESSOR_CLUSTER: &str = "tollgate-extproc";

/// The request header of a probe, which the processor answers wherever it comes in.
pub const PROBE_HEADER: &str = "tollgate-probe";

/// The filter of listeners that calls the external processor.
pub(super) const EXCHANGE_FILTER: &str = "envoy.filters.http.ext_proc/tollgate";

/// The filter of clusters that does. Under the name of the other, what virtual hosts say to that one would hold for it as well.
pub(super) const ATTEMPT_FILTER: &str = "envoy.filters.http.ext_proc/tollgate-attempt";

/// The name of a rule, in routes and in the metadata of hosts.
pub(super) fn rule(rule: &CompiledRule) -> String {
    format!("{}/rule/{}", rule.route, rule.index)
}

/// The name of a plain rule.
pub(super) fn plain_rule(rule: &CompiledPlainRule) -> String {
    format!("plain/{}/rule/{}", rule.route, rule.index)
}

/// Adds a hash of `content` to `name`, so that another content has another name.
pub(super) fn hashed(name: &str, content: &str) -> String {
    format!("{name}/{:016x}", content_hash(content.as_bytes()))
}
