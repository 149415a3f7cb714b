//! The ledger: each attempt is written to a file before it is dispatched, and again when it is over, so that none is lost when
//! the process dies.
//!
//! A folder of segments is the truth. An entry has been given to the kernel when the call that adds it returns: it survives the
//! death of the process. A thread asks the disk to keep what has come, a few times a second: that survives the death of the machine.
//! Another thread fills a table of attempts from the segments, in SQLite or PostgreSQL, from which [`usage`] reports are made.
//!
//! Nothing here makes a request wait for a disk or a database, and no error of theirs reaches one: they are counted and logged.

mod append;
mod clock;
mod entry;
mod folder;
mod follow;
mod frame;
mod front;
mod index;
#[cfg(test)]
mod killed_tests;
mod ledger;
mod metrics;
mod names;
mod replay;
mod segment;
mod status;
mod sync;
#[cfg(test)]
mod tests;
pub mod usage;

pub use folder::FolderError;
pub use index::{IndexError, IndexPlace, catch_up};
pub use ledger::{Ledger, Options};
pub use metrics::LedgerMetrics;
pub use replay::Replayed;
