//! What became of all fetches of this process, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

static LEDGER: Mutex<BTreeMap<String, Entry>> = Mutex::new(BTreeMap::new());

/// What became of the fetches of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// Those that were good.
    pub(crate) successes: u64,
    /// Those that were not.
    pub(crate) failures: u64,
    /// When the last one ends.
    pub(crate) end: Option<SystemTime>,
}

/// Notes a fetch from `source` that was good.
pub(crate) fn succeeded(source: &str, end: Option<SystemTime>) {
    let mut ledger = lock();
    let entry = ledger.entry(source.to_owned()).or_default();
    entry.successes += 1;
    entry.end = end;
}

/// Notes a fetch from `source` that was not.
pub(crate) fn failed(source: &str) {
    lock().entry(source.to_owned()).or_default().failures += 1;
}

/// Everything so far, by source.
pub(crate) fn entries() -> BTreeMap<String, Entry> {
    lock().clone()
}

fn lock() -> MutexGuard<'static, BTreeMap<String, Entry>> {
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}
