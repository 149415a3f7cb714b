//! The thread that asks the disk to keep what was written, for many entries at once.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::append::{Appender, Unsynced};
use crate::segment::Position;
use crate::status::Status;

/// How far the disk keeps the ledger, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    at: Mutex<(Position, bool)>,
    changed: Condvar,
}

impl Kept {
    /// How far it is kept, at the latest after `patience`; and whether there will be more.
    pub(crate) fn wait_beyond(&self, position: Position, patience: Duration) -> (Position, bool) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |(kept, closed): &mut (Position, bool)| *kept <= position && !*closed;
        let waited = self.changed.wait_timeout_while(at, patience, waits);
        let (kept, closed) = *waited.unwrap_or_else(PoisonError::into_inner).0;
        (kept, !closed)
    }

    fn tell(&self, position: Position) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).0 = position;
        self.changed.notify_all();
    }

    /// There will be no more.
    pub(crate) fn close(&self) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }
}

/// Has the disk keep what was written until now; returns how far that is.
pub(crate) fn sync(
    folder: &Path,
    appender: &Appender,
    kept: &Kept,
    status: &Arc<Status>,
    before: Position,
) -> Position {
    appender.flush();
    let unsynced = appender.unsynced();
    let to = unsynced.to;
    if to == before {
        return to;
    }
    match ask(folder, &unsynced) {
        Ok(()) => status.sync.went_well("the disk keeps entries"),
        // The kernel forgets what it could not write: asking again for the same would succeed and mean nothing.
        Err(error) => status.sync.failed("the disk does not keep entries", &error),
    }
    kept.tell(to);
    to
}

fn ask(folder: &Path, unsynced: &Unsynced) -> io::Result<()> {
    if unsynced.is_new {
        File::open(folder)?.sync_all()?;
    }
    unsynced.files.iter().try_for_each(|file| file.sync_data())
}
