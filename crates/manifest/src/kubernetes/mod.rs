//! Kinds of Kubernetes itself, and what every kind has: metadata.

mod config_map;
mod metadata;
mod namespace;
mod secret;

pub use config_map::ConfigMap;
pub(crate) use config_map::ConfigMapText;
pub use metadata::{DEFAULT_NAMESPACE, Metadata};
pub use namespace::NamespaceSpec;
pub use secret::Secret;
pub(crate) use secret::SecretText;
