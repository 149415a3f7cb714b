//! Keys of AWS that requests are signed with.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".

mod chain;
mod container;
mod instance;
mod keys;
mod shared_files;
mod sts;

pub use chain::default_chain;
pub use sts::{PROXY_VARIABLE, Role, assume_role};
