//! Answers to what the core asks for and cannot know by itself: the credential of a backend, and the id of an exchange.
//!
//! Whoever starts the data plane fills [`Secrets`]. This crate never prints what it holds. What a file or a variable says is
//! read only where a configuration sends for it: see [`issue`].

mod clock;
mod credentials;
mod dispatch;
pub mod issue;
mod live;
mod request_id;
mod secrets;
mod source;

pub use credentials::Credentials;
pub use dispatch::{Dispatched, Undispatched, begin, dispatch, resume};
pub use live::{Awaited, Surroundings};
pub use request_id::request_id;
pub use secrets::Secrets;
