//! Which attempt.

use std::fmt;
use std::sync::Arc;

/// Names an attempt. No two have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The exchange it belongs to. The gateway makes these ids, and they are never made twice.
    pub request_id: Arc<str>,
    /// 1 for the first attempt; 0 for what is asked before there is one.
    pub attempt: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.request_id, self.attempt)
    }
}
