//! Which headers go through, and which end here.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST,
    LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_terms::Secret;

use crate::step::Offered;

/// Headers of one connection, not of the message (RFC 9110 section 7.6.1), in both directions.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
];

/// Where the vendors' SDKs put a key.
const CREDENTIALS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");
const COOKIE: HeaderName = HeaderName::from_static("cookie");

/// Beginnings of the names that belong to the gateway. A client's or backend's values under them are never believed
/// and never passed on.
const OWNED_PREFIXES: [&str; 3] = ["x-ai-eg-", "x-aigw-", "x-tollgate-"];

/// What instructs an Envoy on the way, which no client may do. In a provider's answer it tells how long that took, and passes.
const ENVOY_PREFIX: &str = "x-envoy-";

/// What no client says to a backend of a plain rule. With a credential for a model in it, it would not be plain.
const NOT_FOR_CLIENTS: [&str; 4] = ["x-ai-eg-", "x-aigw-", "x-tollgate-", ENVOY_PREFIX];

/// Further names that belong to the gateway.
const OWNED: [HeaderName; 1] = [HeaderName::from_static("x-gateway-destination-endpoint")];

/// Whether the gateway owns the header `name`.
fn is_owned(name: &HeaderName) -> bool {
    let name_text = name.as_str();
    // All of them begin with "x-", which few other headers do.
    name_text.starts_with("x-")
        && (OWNED_PREFIXES.iter().any(|prefix| name_text.starts_with(prefix)) || OWNED.contains(name))
}

/// Takes away what must not reach a backend: the connection's own headers, the gateway's own, what another proxy or
/// a browser meant for us, and what describes the old body.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION, COOKIE] {
        headers.remove(name);
    }
    remove_where(headers, |name| is_owned(name) || name.as_str().starts_with(ENVOY_PREFIX));
}

/// Takes away what must not reach the backend of a plain rule: the connection's own headers, and what no client may say.
pub(crate) fn clean_passed(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_where(headers, |name| NOT_FOR_CLIENTS.iter().any(|prefix| name.as_str().starts_with(prefix)));
}

/// Takes away what must not reach a client.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    clean_passed_response(headers);
    for name in [CONTENT_LENGTH, LOCATION] {
        headers.remove(name);
    }
}

/// Takes away what must not reach the client of a plain rule.
pub(crate) fn clean_passed_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_where(headers, is_owned);
}

/// Asks for an answer that can be read as it comes.
pub(crate) fn ask_identity(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Declares a JSON body.
pub(crate) fn declare_json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// Declares a stream of events.
pub(crate) fn declare_event_stream(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
}

/// The value of `name` as text; `None` when absent or not visible ASCII.
pub(crate) fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The content coding of a body; `None` for identity.
pub(crate) fn content_coding(headers: &HeaderMap) -> Option<&str> {
    text(headers, CONTENT_ENCODING)
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

/// Takes the headers called `names` out. What is no visible ASCII is gone.
pub(crate) fn take_secrets(headers: &mut HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, Offered)> {
    let take = |name: &HeaderName| {
        let value = headers.remove(name)?.to_str().ok()?.to_owned();
        Some((name.clone(), Offered(Secret::new(value))))
    };
    names.iter().filter_map(take).collect()
}

/// Takes away how a client shows who it is, in the ways of all vendors.
pub(crate) fn remove_credentials(headers: &mut HeaderMap) {
    for name in CREDENTIALS {
        headers.remove(name);
    }
}

/// Whether the client can read the content coding `coding`.
pub(crate) fn accepts_coding(headers: &HeaderMap, coding: &str) -> bool {
    let accepted = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|item| {
                let mut parts = item.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default();
                let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
                !refused && (name == "*" || name.eq_ignore_ascii_case(coding))
            })
        })
    };
    headers.get_all(ACCEPT_ENCODING).iter().any(accepted)
}

/// Takes away the connection's own headers.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
    // There are mostly fewer headers than there are names here.
    remove_where(headers, |name| HOP_BY_HOP.contains(name));
}

fn remove_where(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in &unwanted {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn keeps_what_the_client_means_for_the_provider() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("x-ai-eg-model", "forged"),
            ("x-aigw-api-key", "secret"),
            ("x-envoy-upstream-rq-timeout-ms", "1"),
            ("anthropic-version", "2023-06-01"),
            ("x-stainless-lang", "python"),
            ("content-length", "5"),
        ]);
        clean_request(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["anthropic-version", "x-stainless-lang"]);
    }

    #[test]
    fn reads_accept_encoding() {
        let headers = map(&[("accept-encoding", "br;q=0, GZIP;q=0.5")]);
        assert!(accepts_coding(&headers, "gzip"));
        assert!(!accepts_coding(&headers, "br"));
        assert!(!accepts_coding(&HeaderMap::new(), "gzip"));
        assert!(accepts_coding(&map(&[("accept-encoding", "*")]), "br"));
    }
}
