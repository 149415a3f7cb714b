//! Keys of AWS that requests are signed with.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".

mod chain;
mod container;
mod instance;
mod keys;
mod process;
mod profile;
mod shared_files;
mod signed;
mod sso;
mod sts;

pub use chain::default_chain;
pub(super) use signed::sign;
pub use sts::{PROXY_VARIABLE, Role, assume_role};
