//! Who keeps account of attempts, so that none is lost when the process dies.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::record::{Facts, Record};

/// Keeps account of attempts. Both data planes tell it of each, and it never makes them wait for a disk.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Takes in an attempt that is about to be dispatched.
    fn opened(&self, opening: &Opening);

    /// Takes in an attempt that is over, whether or not it was dispatched.
    fn settled(&self, record: &Record);
}

/// What is known of an attempt when it is dispatched: enough for a record of it if nobody lives to write one.
#[derive(Debug, Clone)]
pub struct Opening {
    /// What is known of it.
    pub facts: Arc<Facts>,
    /// What was taken of limits for it.
    pub reserved: SmallVec<[Reserved; 2]>,
}

/// What an attempt has taken of a limit before it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The limit.
    pub limit: Arc<str>,
    /// How much, in the limit's own unit.
    pub amount: u64,
}
