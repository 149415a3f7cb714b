//! Answers to what the core asks for and cannot know by itself: today, the credential of a backend.
//!
//! Whoever starts the data plane fills [`Secrets`]; this crate reads no file and no environment by itself, names no
//! vendor, and never prints what it holds.

mod credential;
mod secrets;

pub use credential::{Missing, credential};
pub use secrets::Secrets;
