//! What the data planes serve: [`Bundle`], resolved and serialisable, and [`Snapshot`], compiled and immutable.
//!
//! A bundle is free of Kubernetes types and of secret values: it names credentials by [`SecretRef`]. A snapshot is
//! what a request holds from its first byte to its last; a new configuration makes a new snapshot and never touches
//! an old one. This crate reads no file and knows no socket.

pub mod bundle;
mod diagnostic;

pub use bundle::Bundle;
pub use diagnostic::{Diagnostic, Severity};
