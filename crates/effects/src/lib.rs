//! Answers to what the core asks for and cannot know by itself: the credential of a backend,
//! what is left of limits, and the id of an exchange.
//!
//! Whoever starts the data plane fills [`Secrets`]. What a variable or a file of the machine says is read only where a configuration sends
//! for it. Only [`issue`], and what leads there, names vendors and asks their services. Nothing here prints what it holds.

#[cfg(test)]
extern crate self as tollgate_effects;

mod admit;
mod callers;
mod clock;
mod credentials;
mod detour;
mod dispatch;
mod forward_proxy;
pub mod issue;
mod live;
mod metrics;
pub mod quota;
mod request_id;
mod secrets;
mod source;

pub use admit::admit;
pub use credentials::Credentials;
pub use detour::ask;
pub use dispatch::{Arrived, Awaiting, Dispatched, Sources, Tried, Undispatched};
pub use forward_proxy::proxy_authorization;
pub(crate) use live::Awaited;
pub use metrics::CredentialMetrics;
pub use request_id::request_id;
pub use secrets::Secrets;
