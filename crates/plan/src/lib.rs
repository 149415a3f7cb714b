//! plan

mod base_url;
mod environment;

pub use environment::{Environment, EnvironmentError, environment};
