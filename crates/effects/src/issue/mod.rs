//! Credentials that others issue for a while: each function here asks for one, once.
//!
//! Nothing here remembers or repeats: whoever calls keeps what was issued, and asks again ahead of its end. Time, the
//! environment and the client are parameters. What a function takes are plain values; nothing here knows of backends.

mod answer;
mod environment;
mod error;
mod file;
mod form;
mod http;
mod jwt;
mod key_set;
mod moment;
mod program;
mod request;

pub mod aws;
pub mod aws_secrets;
pub mod azure;
pub mod google;
pub mod oidc;

use std::fmt;
use std::time::SystemTime;

pub use answer::ServiceAnswer;
pub use environment::Environment;
pub use error::IssueError;
pub use http::Client;
pub use key_set::key_set;
pub use moment::read_moment;
pub(crate) use request::{basic, basic_of};

/// Something that was issued, and how long it is good for.
#[derive(Clone)]
pub struct Issued<T> {
    /// What was issued.
    pub value: T,
    /// When it ceases to be good, by the clock of the caller; `None` when the issuer did not say.
    pub expires_at: Option<SystemTime>,
}

/// Tells when it ends, never what it is.
impl<T> fmt::Debug for Issued<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_the_end_and_no_value() {
        let issued = Issued { value: "hidden", expires_at: None };
        assert_eq!(format!("{issued:?}"), "Issued { expires_at: None, .. }");
    }
}
