//! What the data planes serve: [`Bundle`], resolved and serialisable, and [`Snapshot`], compiled and immutable.
//!
//! A bundle is free of Kubernetes types and of secret values: it names credentials by [`SecretRef`]. A snapshot is
//! what a request holds from its first byte to its last; a new configuration makes a new snapshot and never touches
//! an old one. This crate reads no file and knows no socket.
//!
//! [`SecretRef`]: bundle::SecretRef

mod access;
pub mod bundle;
mod condition;
mod cost_expression;
mod diagnostic;
pub mod hostname;
mod limit;
mod mutation;
pub mod plain;
pub mod prices;
mod rule;
mod snapshot;
mod table;
mod unpriced;

pub use access::{CompiledAccess, Entry, TOKEN_LEEWAY_S, check_access_expression, provider_name};
pub use bundle::Bundle;
pub use condition::{Condition, Expected, MODEL_HEADER, can_hold, check_regular_expression};
pub use diagnostic::{Diagnostic, Severity};
pub use limit::{CompiledLimit, Subject};
pub use mutation::{CompiledMutation, header_name, header_value, is_gateway_owned};
pub use rule::{CompiledRule, CompiledTarget};
pub use snapshot::Snapshot;
pub use table::{Alternative, ListedModel, VirtualHost};
