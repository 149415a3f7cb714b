//! Resources between proto3's JSON form and protobuf, checked against Envoy's definitions.

use std::sync::LazyLock;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::Any;
use serde_json::Value;

/// What every `@type` begins with.
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Why a value is not a resource.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// It does not say what it is.
    #[error("a resource without @type")]
    Untyped,
    /// It says that it is something that is not in the definitions.
    #[error("no definition of {0}")]
    Unknown(String),
    /// It has an unknown field, or one of the wrong shape.
    #[error("{kind}: {error}")]
    Shape {
        /// Full name of the message.
        kind: String,
        /// What is wrong.
        error: String,
    },
}

static DEFINITIONS: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/envoy.binpb"))[..]).ok()
});

/// Encodes a resource, an object in JSON form with its `@type`. Every field is checked, also inside of nested `Any`s. The same value
/// gives the same bytes, so that they can be compared.
///
/// # Errors
///
/// When it has no known type, or does not have that type's shape.
pub fn to_any(resource: &Value) -> Result<Any, ResourceError> {
    let type_url = resource.get("@type").and_then(Value::as_str).ok_or(ResourceError::Untyped)?;
    let kind = type_url.strip_prefix(TYPE_PREFIX).ok_or(ResourceError::Untyped)?;
    let descriptor = descriptor(kind)?;
    let mut body = resource.clone();
    if let Value::Object(members) = &mut body {
        members.shift_remove("@type");
    }
    let shape = |error: String| ResourceError::Shape { kind: kind.to_owned(), error };
    let message = serde_path(descriptor, body).map_err(shape)?;
    let mut value = Vec::new();
    prost_reflect::prost::Message::encode(&message, &mut value).map_err(|error| shape(error.to_string()))?;
    Ok(Any { type_url: type_url.to_owned(), value })
}

/// Reads a message of type `kind` from proto3's JSON form, with fields named in either way. One that is not known is an error.
///
/// # Errors
///
/// When there is no such type, or it does not have that type's shape.
pub fn from_json<M: prost::Message + Default>(kind: &str, text: &[u8]) -> Result<M, ResourceError> {
    let shape = |error: String| ResourceError::Shape { kind: kind.to_owned(), error };
    let body = serde_json::from_slice(text).map_err(|error| shape(error.to_string()))?;
    let message = serde_path(descriptor(kind)?, body).map_err(shape)?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| shape(error.to_string()))
}

/// Says a message of type `kind` in proto3's JSON form, with fields named as JSON has them: `overallCode`.
///
/// # Errors
///
/// When there is no such type, or it is of another one.
pub fn to_json(kind: &str, message: &impl prost::Message) -> Result<Value, ResourceError> {
    let shape = |error: String| ResourceError::Shape { kind: kind.to_owned(), error };
    let message = DynamicMessage::decode(descriptor(kind)?, message.encode_to_vec().as_slice())
        .map_err(|error| shape(error.to_string()))?;
    let said = message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new());
    said.map_err(|error| shape(error.to_string()))
}

fn serde_path(descriptor: prost_reflect::MessageDescriptor, body: Value) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize(descriptor, body).map_err(|error| error.to_string())
}

/// Decodes a resource to its JSON form, with its `@type`.
///
/// # Errors
///
/// When its type is not known, or its bytes are not of that type.
pub fn from_any(resource: &Any) -> Result<Value, ResourceError> {
    let kind = resource.type_url.strip_prefix(TYPE_PREFIX).ok_or(ResourceError::Untyped)?;
    let shape = |error: String| ResourceError::Shape { kind: kind.to_owned(), error };
    let message = DynamicMessage::decode(descriptor(kind)?, resource.value.as_slice())
        .map_err(|error| shape(error.to_string()))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut value = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| shape(error.to_string()))?;
    if let Value::Object(members) = &mut value {
        members.shift_insert(0, "@type".to_owned(), Value::String(resource.type_url.clone()));
    }
    Ok(value)
}

fn descriptor(kind: &str) -> Result<prost_reflect::MessageDescriptor, ResourceError> {
    let pool = DEFINITIONS.as_ref();
    pool.and_then(|pool| pool.get_message_by_name(kind))
        .ok_or_else(|| ResourceError::Unknown(kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster() -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "one",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} }
                }
            }
        })
    }

    #[test]
    fn a_resource_comes_back_as_it_went() {
        let any = to_any(&cluster()).unwrap();
        assert_eq!(from_any(&any).unwrap(), cluster());
        assert_eq!(to_any(&cluster()).unwrap(), any);
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let mut wrong = cluster();
        wrong["conect_timeout"] = json!("5s");
        let error = to_any(&wrong).unwrap_err().to_string();
        assert!(error.contains("conect_timeout"), "{error}");
    }

    #[test]
    fn an_unknown_field_inside_is_an_error() {
        let mut wrong = cluster();
        wrong["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            ["x"] = json!(1);
        assert!(matches!(to_any(&wrong), Err(ResourceError::Shape { .. })));
    }

    #[test]
    fn what_has_no_type_is_no_resource() {
        assert!(matches!(to_any(&json!({})), Err(ResourceError::Untyped)));
        let unknown = json!({ "@type": "type.googleapis.com/envoy.Nothing" });
        assert!(matches!(to_any(&unknown), Err(ResourceError::Unknown(_))));
    }
}
