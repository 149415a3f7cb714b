//! What a ledger counts of itself, shared by its threads and its metrics.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of one ledger.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) opened: Count,
    pub(crate) settled: Count,
    /// Attempts that had died with the process before.
    pub(crate) orphaned: Count,
    /// Bytes given to the kernel.
    pub(crate) bytes: Count,
    /// Entries that could not be written, and were given up.
    pub(crate) lost: Count,
    /// Entries in the database.
    pub(crate) indexed: Count,
    /// Bytes that cannot be read, of segments that were written before.
    pub(crate) damaged: Count,
    /// Entries whose names are lost, with a part of the disk.
    pub(crate) unnamed: Count,
    /// Attempts that were too old for the database, and were removed from it.
    pub(crate) removed: Count,
    pub(crate) write: Trouble,
    pub(crate) sync: Trouble,
    pub(crate) index: Trouble,
}

/// A number that several threads know.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that may fail many times, and is logged when it begins to and when it works again.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    failures: Count,
    fails: AtomicBool,
}

impl Trouble {
    /// Counts a failure of `what`.
    pub(crate) fn failed(&self, what: &str, error: &dyn Display) {
        self.failures.add(1);
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the ledger: {what}; it is tried again");
        }
    }

    /// Notes that `what` works.
    pub(crate) fn went_well(&self, what: &str) {
        if self.fails.load(Ordering::Relaxed) && self.fails.swap(false, Ordering::Relaxed) {
            tracing::info!("the ledger: {what} again");
        }
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// Whether it failed last time.
    pub(crate) fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }
}
