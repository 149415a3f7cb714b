//! Hosts that are reached through a proxy, by HTTP CONNECT.
//!
//! Envoy asks the proxy for the name of a host and its port, and connects to the proxy alone: no address of the host is needed.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value, json};
use tollgate_config::bundle::ForwardProxy;

use super::form::{extension, set, socket_address, typed};

const SOCKET: &str = "envoy.transport_sockets.http_11_proxy";
const TRANSPORT: &str = "envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport";

/// Where hosts say which proxy leads to them. Those that do not are reached directly.
const PROXY_METADATA: &str = "envoy.http11_proxy_transport_socket.proxy_address";
const ADDRESS: &str = "envoy.config.core.v3.Address";

/// Why Envoy cannot use `proxy`, if so.
pub(super) fn obstacle(proxy: &ForwardProxy) -> Option<&'static str> {
    // Envoy would log it, and connect to the host without the proxy.
    if proxy.host.parse::<IpAddr>().is_err() {
        return Some("Envoy knows a forward proxy by its IP address only");
    }
    if proxy.tls.is_some() {
        return Some("Envoy speaks to a forward proxy without TLS only");
    }
    proxy.credential.is_some().then_some("Envoy shows no credential to a forward proxy")
}

/// The socket of a host, around that of its TLS if it has any.
pub(super) fn socket(tls: Option<Value>) -> Value {
    let mut fields = json!({});
    if let Some(tls) = tls {
        set(&mut fields, "transport_socket", tls);
    }
    extension(SOCKET, TRANSPORT, fields)
}

/// What leads a host to `proxy`.
pub(super) fn metadata(proxy: &ForwardProxy) -> Value {
    let mut members = Map::new();
    members.insert(PROXY_METADATA.to_owned(), typed(ADDRESS, socket_address(&proxy.host, proxy.port)));
    Value::Object(members)
}

/// An address for a host whose own only the proxy has to know. Nobody connects to it; it is of the reserved ones (RFC 1112 section 4), and
/// no two hosts of a cluster have the same, since Envoy takes such for one.
pub(super) fn stand_in(target: usize, nth: usize) -> String {
    let number = u32::try_from(target * 256 + nth).unwrap_or(u32::MAX) | 0xf000_0000;
    Ipv4Addr::from(number).to_string()
}
