//! Small pieces of proto3's JSON form.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// The type of clusters.
pub(super) const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

/// How a cluster speaks HTTP: the type, which is the key of it in clusters as well.
pub(super) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A message with its type, as in `google.protobuf.Any`. `fields` is an object.
pub(super) fn typed(message: &str, fields: Value) -> Value {
    let mut members = Map::new();
    members.insert("@type".to_owned(), format!("type.googleapis.com/{message}").into());
    if let Value::Object(fields) = fields {
        members.extend(fields);
    }
    Value::Object(members)
}

/// An extension: its name and its configuration.
pub(super) fn extension(name: &str, message: &str, fields: Value) -> Value {
    json!({ "name": name, "typed_config": typed(message, fields) })
}

/// A duration in seconds, with as many decimals as it takes.
pub(super) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match duration.subsec_nanos() {
        0 => format!("{whole}s"),
        nanos => format!("{}s", format!("{whole}.{nanos:09}").trim_end_matches('0')),
    }
}

/// Resources and their like come over the one stream that Envoy has for all of them.
pub(super) fn from_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

/// An address with a port.
pub(super) fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// A Unix domain socket.
pub(super) fn pipe(path: &str) -> Value {
    json!({ "pipe": { "path": path } })
}

/// Sets a member of an object.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations_as_proto3_does() {
        assert_eq!(seconds(Duration::from_secs(60)), "60s");
        assert_eq!(seconds(Duration::from_millis(1250)), "1.25s");
        assert_eq!(seconds(Duration::ZERO), "0s");
    }
}
