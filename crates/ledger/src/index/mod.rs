//! The table of attempts, which is filled from the segments and can be made anew from them.
//!
//! What is added and how far that goes in the ledger is one transaction: whenever either process dies, nothing is doubled or lost.

mod postgres;
mod removal;
mod row;
mod sqlite;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use crate::folder;
use crate::follow::{Batch, Follower};
use crate::frame::Frames;
use crate::front;
use crate::segment::Position;
use crate::status::Status;
use crate::sync::Kept;

pub(crate) use postgres::Session;
pub(crate) use removal::Removal;
pub(crate) use row::TABLE;

/// Longest wait between two looks.
const IDLE: Duration = Duration::from_secs(1);

/// Waits after failures: doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How far the thread that fills steps back: all the way. On a core that is busy it gets a few thousandths of the time, where the least of the usual
/// priorities would be a hundredth and more.
const POLICY: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

/// Where the table is.
#[derive(Clone, PartialEq, Eq)]
pub enum IndexPlace {
    /// A file of SQLite in the folder of the ledger.
    Sqlite,
    /// A PostgreSQL server, which many gateways may fill: `postgres://user:password@host/database`.
    Postgres(String),
}

/// The address of a server may hold a password.
impl std::fmt::Debug for IndexPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "Sqlite",
            Self::Postgres(_) => "Postgres",
        })
    }
}

/// Why a database does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite says so.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL, or the way there.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// A server that is stopped or gone, as far as can be seen from here.
    #[error("PostgreSQL: no answer in {0:?}")]
    Silent(Duration),
    /// What the ledger says cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS cannot be had.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection to the database.
pub(crate) enum Store {
    Sqlite(Connection),
    Postgres(Session),
}

impl Store {
    /// Connects to write, and makes the tables where there are none.
    pub(crate) fn open(place: &IndexPlace, folder: &Path) -> Result<Self, IndexError> {
        Ok(match place {
            IndexPlace::Sqlite => Self::Sqlite(sqlite::open(&file(folder))?),
            IndexPlace::Postgres(url) => Self::Postgres(postgres::open(url)?),
        })
    }

    /// Connects to read.
    pub(crate) fn open_to_read(place: &IndexPlace, folder: &Path) -> Result<Self, IndexError> {
        Ok(match place {
            IndexPlace::Sqlite => Self::Sqlite(sqlite::open_to_read(&file(folder))?),
            IndexPlace::Postgres(url) => Self::Postgres(Session::connect(url, postgres::Purpose::Report)?),
        })
    }

    fn position(&mut self, gateway: &str) -> Result<Position, IndexError> {
        match self {
            Self::Sqlite(connection) => sqlite::position(connection, gateway),
            Self::Postgres(session) => postgres::position(session, gateway),
        }
    }

    fn add(&mut self, gateway: &str, batch: &Batch) -> Result<(), IndexError> {
        match self {
            Self::Sqlite(connection) => sqlite::add(connection, gateway, batch),
            Self::Postgres(session) => postgres::add(session, gateway, batch),
        }
    }

    /// Removes some attempts that began before a time, in milliseconds since the epoch: `rows` at most. Returns how many.
    fn remove(&mut self, before_ms: i64, rows: u32) -> Result<u64, IndexError> {
        match self {
            Self::Sqlite(connection) => sqlite::remove(connection, before_ms, rows),
            Self::Postgres(session) => postgres::remove(session, before_ms, rows),
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("attempts.sqlite")
}

/// Fills the table in the folder of a ledger that no process has, such as one whose gateway was killed a moment ago. Attempts that ran
/// then are still missing: the next gateway settles them, and may start meanwhile. What both fill is there once.
///
/// # Errors
/// When the ledger cannot be read, or the table not filled.
pub fn catch_up(folder: &Path) -> Result<(), IndexError> {
    // Whoever has it fills it as well.
    if folder::is_in_use(folder)? {
        return Ok(());
    }
    let gateway = folder::gateway_id(folder)?;
    let mut follower = Follower::new(folder.to_owned());
    let mut store = Store::open(&IndexPlace::Sqlite, folder)?;
    let limit = Position { segment: u64::MAX, offset: 0 };
    let mut at = store.position(&gateway)?;
    loop {
        let batch = follower.batch(at, limit)?;
        // What is torn off at the end is left to who cuts it away.
        if batch.to == at || batch.damaged > 0 {
            break;
        }
        store.add(&gateway, &batch)?;
        at = batch.to;
    }
    // What is in no segment yet is read from the front, and will be read again when it is in one.
    let left = front::left(folder, at)?;
    let settled = follower.settled(&mut Frames::of(&left));
    store.add(&gateway, &Batch { settled, to: at, damaged: 0, unnamed: 0 })
}

/// What fills a database from a ledger.
#[derive(Debug)]
pub(crate) struct Filler {
    pub(crate) place: IndexPlace,
    pub(crate) gateway: String,
    pub(crate) follower: Follower,
    pub(crate) kept: Arc<Kept>,
    pub(crate) status: Arc<Status>,
    pub(crate) retention: Duration,
    pub(crate) removal: Removal,
    /// How far the ledger went when it was opened, until that was compared with the database.
    pub(crate) opened_at: Option<Position>,
}

/// Lets all other threads go first: requests do, and what is behind under load is made up for after it. Linux has a policy for each thread.
fn step_back() {
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, POLICY) {
        tracing::debug!(?error, "the thread that fills the database has the priority of all others");
    }
}

/// Fills until the ledger is closed and all of it is there. A database that is away is tried again.
pub(crate) fn fill(mut filler: Filler) {
    step_back();
    let mut store = None;
    let mut at = Position::default();
    let mut wait = RETRY_MIN;
    loop {
        let (limit, is_open) = filler.kept.wait_beyond(at, IDLE);
        match filler.work(&mut store, limit, is_open) {
            Ok(reached) => {
                filler.status.index.went_well("the database is filled");
                (at, wait) = (reached, RETRY_MIN);
                if let Err(error) = filler.follower.remove_old(at.segment, filler.retention) {
                    tracing::warn!(%error, "an old segment of the ledger cannot be removed");
                }
            }
            Err(error) => {
                store = None;
                filler.status.index.failed("the database cannot be filled", &error);
                if is_open {
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
        if !is_open {
            return;
        }
    }
}

impl Filler {
    /// Fills as far as `limit`, and removes some of what is too old if there is time for it; returns how far it came.
    fn work(
        &mut self,
        store: &mut Option<Store>,
        limit: Position,
        is_open: bool,
    ) -> Result<Position, IndexError> {
        let reached = self.advance(store, limit)?;
        if let Some(store) = store.as_mut().filter(|_| is_open) {
            self.status.removed.add(self.removal.remove_some(crate::clock::now(), store)?);
        }
        Ok(reached)
    }

    /// Fills as far as `limit`; returns how far it came.
    fn advance(&mut self, store: &mut Option<Store>, limit: Position) -> Result<Position, IndexError> {
        let mut open = match store.take() {
            Some(store) => store,
            None => Store::open(&self.place, self.follower.folder())?,
        };
        let mut at = open.position(&self.gateway)?;
        if let Some(opened_at) = self.opened_at.filter(|opened_at| at > *opened_at) {
            // A machine that lost its power has lost entries that the database has. What came since would be passed over.
            at = Position { offset: 0, ..opened_at };
        }
        loop {
            let batch = self.follower.batch(at, limit)?;
            if batch.to == at {
                self.opened_at = None;
                *store = Some(open);
                return Ok(at);
            }
            open.add(&self.gateway, &batch)?;
            self.status.indexed.add(batch.settled.len() as u64);
            let Batch { damaged, unnamed, .. } = batch;
            if damaged > 0 || unnamed > 0 {
                self.status.damaged.add(damaged);
                self.status.unnamed.add(unnamed);
                let segment = at.segment;
                tracing::error!(segment, bytes = damaged, unnamed, "a part of the ledger cannot be read");
            }
            at = batch.to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_fills_lets_all_others_go_first() {
        let steps_back = std::thread::spawn(|| {
            step_back();
            thread_priority::thread_schedule_policy()
        });
        assert_eq!(steps_back.join().expect("a thread"), Ok(POLICY));
        assert_ne!(thread_priority::thread_schedule_policy(), Ok(POLICY));
    }
}
