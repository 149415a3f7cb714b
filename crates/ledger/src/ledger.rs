//! The running ledger: it takes in what happens, and has threads of its own for the disk and the database.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tollgate_exchange::{Journal, Opening, Record};

use crate::append::{Appended, Appender, Change, Entry};
use crate::entry::{
    Attempt, Form, write_again, write_ended, write_names_again, write_names_of_end, write_names_of_opening,
    write_opened, write_settled,
};
use crate::folder::{Folder, FolderError};
use crate::follow::Follower;
use crate::frame::{frame, write_frame, write_unsealed};
use crate::front::Front;
use crate::index::{self, Filler, IndexPlace, Removal};
use crate::metrics::LedgerMetrics;
use crate::names::Names;
use crate::replay::{Replay, Replayed};
use crate::segment::{self, Position};
use crate::status::Status;
use crate::sync::{Kept, sync};

/// 24 hours.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How a ledger is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database that is filled from it; `None` fills none.
    pub index: Option<IndexPlace>,
    /// Length from which a segment is full.
    pub segment_bytes: u64,
    /// How long entries may wait until the disk is asked to keep them.
    pub sync_every: Duration,
    /// Age from which a segment is removed, once all of it is in the database.
    pub retention: Duration,
    /// Age of an attempt, from its beginning, from which its row is removed from the database; `None` keeps all.
    pub usage_retention: Option<Duration>,
}

impl Default for Options {
    /// SQLite in the same folder, segments of 4 MiB that stay for a week, ten syncs a second, rows of 400 days: those of a year, and a month
    /// to look back at it.
    fn default() -> Self {
        Self {
            index: Some(IndexPlace::Sqlite),
            segment_bytes: 4 << 20,
            sync_every: Duration::from_millis(100),
            retention: 7 * DAY,
            usage_retention: Some(400 * DAY),
        }
    }
}

/// A ledger at work. Dropping it closes it.
#[derive(Debug)]
pub struct Ledger {
    appender: Arc<Appender>,
    status: Arc<Status>,
    replayed: Replayed,
    threads: Mutex<Option<Threads>>,
}

/// What works behind a ledger.
#[derive(Debug)]
struct Threads {
    stop: Sender<()>,
    syncing: JoinHandle<()>,
    filling: Option<(JoinHandle<()>, Receiver<()>)>,
}

impl Ledger {
    /// Opens the ledger in `folder`, makes it where there is none, and settles what the process before has left open.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read or written.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, FolderError> {
        Self::open_with(folder, options, Front::open)
    }

    /// As [`open`](Self::open), with a front that is opened by `front`.
    pub(crate) fn open_with(
        folder: &Path,
        options: &Options,
        front: impl FnOnce(&Path, Position) -> Front,
    ) -> Result<Self, FolderError> {
        let folder = Folder::take(folder)?;
        let path = folder.path.clone();
        let failed = |error| FolderError::Io(path.clone(), error);
        let status = Arc::new(Status::default());
        let mut replay = Replay::read(&path).map_err(failed)?;
        let orphans = replay.orphans();
        // Until each is settled it belongs to what a new segment begins with.
        let again = |orphan: &Attempt| frame(|payload| write_again(orphan, payload));
        let carried: Vec<_> = orphans.iter().map(again).collect();
        let (file, at) = continued(&path, &replay, &carried).map_err(failed)?;
        let begun = (file, at, front(&path, at));
        let open = orphans.iter().map(Attempt::id).zip(carried).collect();
        let known = (open, Names::after(replay.reader.last_number()));
        let appender = Appender::new(path.clone(), begun, options.segment_bytes, Arc::clone(&status), known);
        let appender = Arc::new(appender);
        let orphans: Vec<_> = orphans.into_iter().map(Attempt::orphaned).collect();
        for orphan in &orphans {
            appender.append(Change::Ends(&orphan.id()), Entry::Whole(&again(orphan)));
        }
        status.orphaned.add(orphans.len() as u64);
        let replayed = Replayed {
            orphaned: orphans.iter().map(Attempt::id).collect(),
            torn_bytes: replay.torn_bytes,
            duplicates: replay.duplicates,
        };
        tell(&replayed);
        let threads = start((folder, at), options, &appender, &status).map_err(failed)?;
        Ok(Self { appender, status, replayed, threads: Mutex::new(Some(threads)) })
    }

    /// What was found at the start.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// What it counts, for the page of metrics.
    pub fn metrics(&self) -> LedgerMetrics {
        LedgerMetrics(Arc::clone(&self.status))
    }

    /// Writes to the segment what has come.
    #[cfg(test)]
    pub(crate) fn flush(&self) {
        self.appender.flush();
    }

    /// Has the disk keep everything and the database take it, which has at most `patience` for it. Entries that come later are still
    /// written, and synced by the system when it likes.
    pub fn close(&self, patience: Duration) {
        let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        drop(threads.stop);
        if threads.syncing.join().is_err() {
            tracing::error!("the thread that syncs the ledger panicked");
        }
        let Some((filling, done)) = threads.filling else { return };
        // A database that hangs must not keep the process from ending: it will be filled at the next start.
        if done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the database has not taken all of the ledger; it will at the next start");
        } else if filling.join().is_err() {
            tracing::error!("the thread that fills the database panicked");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close(Duration::from_secs(1));
    }
}

thread_local! {
    /// Where frames are made, and their names.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Journal for Ledger {
    fn opened(&self, opening: &Opening) {
        let id = opening.facts.id();
        BUFFERS.with_borrow_mut(|(frame, names)| {
            write_names_of_opening(opening, names);
            write_unsealed(frame, |payload| write_opened(opening, Form::Numbered, payload));
            let numbered = Entry::Numbered(frame, names);
            if self.appender.append(Change::Begins(&id), numbered) == Appended::NotNamed {
                write_frame(frame, |payload| write_opened(opening, Form::Whole, payload));
                self.appender.append(Change::Begins(&id), Entry::Whole(frame));
            }
        });
        self.status.opened.add(1);
    }

    fn settled(&self, record: &Record) {
        let id = record.facts.id();
        BUFFERS.with_borrow_mut(|(frame, names)| {
            write_names_of_end(record, names);
            write_unsealed(frame, |payload| write_ended(record, Form::Numbered, payload));
            let numbered = Entry::Numbered(frame, names);
            let mut appended = self.appender.append(Change::Ends(&id), numbered);
            if appended == Appended::NotNamed {
                write_frame(frame, |payload| write_ended(record, Form::Whole, payload));
                appended = self.appender.append(Change::Ends(&id), Entry::Whole(frame));
            }
            if appended == Appended::NotOpen {
                // It was never dispatched.
                write_frame(frame, |payload| write_settled(record, payload));
                self.appender.append(Change::Stands, Entry::Whole(frame));
            }
        });
        self.status.settled.add(1);
    }
}

/// The segment in which the process before has stopped, and where to go on in it; or a new one. What was left is in it then.
fn continued(folder: &Path, replay: &Replay, carried: &[Vec<u8>]) -> io::Result<(File, Position)> {
    let (mut file, mut at) = match replay.end.filter(|end| end.offset > 0) {
        Some(end) => (segment::reopen(folder, end.segment, end.offset)?, end),
        None => {
            let segment = replay.end.map_or(0, |end| end.segment) + 1;
            // What is left may refer to them.
            let names = replay.reader.names().map(|names| frame(|payload| write_names_again(names, payload)));
            let (file, offset) = segment::create(folder, segment, &names.collect::<Vec<_>>())?;
            (file, Position { segment, offset })
        }
    };
    file.write_all(&replay.left)?;
    at.offset += replay.left.len() as u64;
    if replay.is_of_version_before {
        // Whoever syncs has only the new one.
        file.sync_data()?;
        let segment = at.segment + 1;
        (file, at.offset) = segment::create(folder, segment, carried)?;
        at.segment = segment;
        File::open(folder)?.sync_all()?;
    }
    Ok((file, at))
}

fn tell(replayed: &Replayed) {
    let Replayed { orphaned, torn_bytes, duplicates } = replayed;
    if *torn_bytes > 0 {
        tracing::warn!(bytes = torn_bytes, "the last entry of the ledger was torn off, and is cut away");
    }
    if *duplicates > 0 {
        tracing::warn!(entries = duplicates, "attempts were settled more than once; the first entry counts");
    }
    if !orphaned.is_empty() {
        tracing::warn!(attempts = orphaned.len(), "attempts were cut off by the end of the process before");
    }
}

fn start(
    (folder, opened_at): (Folder, Position),
    options: &Options,
    appender: &Arc<Appender>,
    status: &Arc<Status>,
) -> io::Result<Threads> {
    let kept = Arc::new(Kept::default());
    let filling = match options.index.clone() {
        None => None,
        Some(place) => {
            let filler = Filler {
                place,
                gateway: folder.gateway.clone(),
                follower: Follower::new(folder.path.clone()),
                kept: Arc::clone(&kept),
                status: Arc::clone(status),
                retention: options.retention,
                removal: Removal::of(options.usage_retention),
                opened_at: Some(opened_at),
            };
            let (done, is_done) = mpsc::channel::<()>();
            let thread = thread::Builder::new().name("ledger-index".to_owned()).spawn(move || {
                index::fill(filler);
                drop(done);
            })?;
            Some((thread, is_done))
        }
    };
    let (stop, stopped) = mpsc::channel::<()>();
    let (appender, status, every) = (Arc::clone(appender), Arc::clone(status), options.sync_every);
    let syncing = thread::Builder::new().name("ledger-sync".to_owned()).spawn(move || {
        let mut at = Position::default();
        // Ours until the last entry is kept.
        let folder = folder;
        while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            at = sync(&folder.path, &appender, &kept, &status, at);
        }
        sync(&folder.path, &appender, &kept, &status, at);
        kept.close();
    })?;
    Ok(Threads { stop, syncing, filling })
}
