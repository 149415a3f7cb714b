//! Envoy's API: the messages of the services that Envoy calls, and resources from JSON to protobuf.
//!
//! `proto/` holds the definitions as Envoy publishes them (Apache-2.0), unchanged: those that the services and the resources of
//! `plan` need, and what these import. [`grpc`] serves what is written with them. This crate knows nothing of what a resource is for.

pub mod grpc;
pub mod processor;
mod protobuf;
mod resource;

pub use prost::Message;
pub use prost_types::{Any, Duration, ListValue, Struct, Value, value};
pub use resource::{ResourceError, from_any, from_json, to_any, to_json};

#[expect(
    clippy::allow_attributes,
    clippy::too_many_lines,
    clippy::len_without_is_empty,
    clippy::large_enum_variant,
    reason = "generated from the definitions, which document it"
)]
#[doc(hidden)]
pub mod services {
    include!(concat!(env!("OUT_DIR"), "/services.rs"));
}

/// The discovery services over which Envoy gets its resources.
pub mod discovery {
    pub use crate::services::envoy::config::core::v3::Node;
    pub use crate::services::envoy::service::discovery::v3::*;
    pub use crate::services::google::rpc::Status;
}

/// The service to which Envoy sends entries of its access log.
pub mod logging {
    pub use crate::services::envoy::data::accesslog::v3::{HttpAccessLogEntry, ResponseFlags};
    pub use crate::services::envoy::service::accesslog::v3::*;
}

/// The external processor that Envoy asks about a request and its response.
pub mod processing {
    pub use crate::services::envoy::config::core::v3::{
        HeaderMap, HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
    };
    pub use crate::services::envoy::extensions::filters::http::ext_proc::v3::{
        ProcessingMode,
        processing_mode::{BodySendMode, HeaderSendMode},
    };
    pub use crate::services::envoy::service::ext_proc::v3::*;
    pub use crate::services::envoy::r#type::v3::{HttpStatus, StatusCode};
}

/// The rate limit service that Envoy asks whether a request is let in.
pub mod limiting {
    pub use crate::services::envoy::config::core::v3::HeaderValue;
    pub use crate::services::envoy::extensions::common::ratelimit::v3::*;
    pub use crate::services::envoy::service::ratelimit::v3::*;
    pub use crate::services::envoy::r#type::v3::RateLimitUnit;
}
