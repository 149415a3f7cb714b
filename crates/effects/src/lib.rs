//! Answers to what the core asks for and cannot know by itself: the credential of a backend, and the id of an exchange.
//!
//! Whoever starts the data plane fills [`Secrets`]; this crate reads no file and no environment by itself, names no
//! vendor, and never prints what it holds.

mod credential;
mod dispatch;
pub mod issue;
mod request_id;
mod secrets;

pub use credential::{Missing, credential};
pub use dispatch::dispatch;
pub use request_id::request_id;
pub use secrets::Secrets;
