//! Answers to what the core asks for and cannot know by itself: the credential of a backend, and the id of an exchange.
//!
//! Whoever starts the data plane fills [`Secrets`] and hands in the environment. Only [`issue`] names vendors, asks the
//! services where they issue tokens, and reads the files that the environment names. Nothing here prints what it holds.

mod credentials;
mod dispatch;
pub mod issue;
mod request_id;
mod secrets;

pub use credentials::Credentials;
pub use dispatch::{Undispatched, dispatch};
pub use request_id::request_id;
pub use secrets::Secrets;
