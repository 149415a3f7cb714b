//! The connection to a Redis: opened, probed and opened again by one task, and used by everybody else.
//!
//! Nobody who asks waits for a connection. A Redis that was late so often in a row is shunned until the task has heard from it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::OPEN_MAX;
use super::place::{Connection, Opener};
use crate::quota::StoreFailure;

/// After so many answers in a row that were late, nobody waits for one.
const LATE_MAX: u32 = 5;

/// How long a probe waits for its answer.
const PROBE_MAX: Duration = Duration::from_millis(250);

/// The shortest and the longest time between two tries to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A Redis that says it is not the one to ask is looked for anew so often at most.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// The connection to a Redis.
pub(super) struct Link {
    opener: Opener,
    current: RwLock<Option<Numbered>>,
    /// Answers in a row that were late.
    late: AtomicU32,
    /// It said that it is not the one to ask.
    is_doubted: AtomicBool,
    wanted: Notify,
    opened: Notify,
}

/// A connection, and the how manieth it is.
#[derive(Clone)]
pub(in crate::quota) struct Numbered {
    pub(super) connection: Connection,
    number: u64,
}

impl Link {
    pub(super) fn new(opener: Opener) -> Self {
        Self {
            opener,
            current: RwLock::new(None),
            late: AtomicU32::new(0),
            is_doubted: AtomicBool::new(false),
            wanted: Notify::new(),
            opened: Notify::new(),
        }
    }

    /// The connection, if there is one and it is worth asking.
    ///
    /// # Errors
    /// If not, why.
    pub(super) fn connection(&self) -> Result<Numbered, StoreFailure> {
        if self.is_shunned() {
            return Err(StoreFailure::Shunned);
        }
        self.current().ok_or(StoreFailure::Unreachable)
    }

    /// Whether it was late too often.
    pub(super) fn is_shunned(&self) -> bool {
        self.late.load(Ordering::Relaxed) >= LATE_MAX
    }

    /// Whether there is a connection that is worth asking.
    pub(super) fn is_up(&self) -> bool {
        self.connection().is_ok()
    }

    /// Waits until there is a connection that is worth asking.
    pub(super) async fn up(&self) {
        loop {
            let opened = self.opened.notified();
            if self.is_up() {
                return;
            }
            opened.await;
        }
    }

    /// What an answer that came in time says of the connection, and why it is none.
    pub(super) fn judge(&self, used: &Numbered, error: &RedisError) -> StoreFailure {
        if is_of_connection(error) {
            self.drop_connection(used.number);
            return StoreFailure::Unreachable;
        }
        self.well();
        if matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::MasterDown) {
            self.is_doubted.store(true, Ordering::Relaxed);
            self.wanted.notify_one();
        }
        StoreFailure::Refused
    }

    /// There was an answer in time.
    pub(super) fn well(&self) {
        if self.late.load(Ordering::Relaxed) != 0 {
            self.late.store(0, Ordering::Relaxed);
        }
    }

    /// There was none in time.
    pub(super) fn late(&self) {
        if self.late.fetch_add(1, Ordering::Relaxed).saturating_add(1) == LATE_MAX {
            self.wanted.notify_one();
        }
    }

    fn current(&self) -> Option<Numbered> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn drop_connection(&self, number: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.number == number) {
            *current = None;
            self.wanted.notify_one();
        }
    }

    /// Keeps the connection for ever.
    pub(super) async fn keep(&self) {
        let mut number = 0_u64;
        let mut pause = PAUSE_MIN;
        let mut looked_at: Option<Instant> = None;
        let mut trouble = Trouble::default();
        loop {
            let doubted = self.is_doubted.load(Ordering::Relaxed)
                && looked_at.is_none_or(|looked_at| looked_at.elapsed() >= DOUBT_PAUSE);
            let outcome = match self.current() {
                Some(current) if self.is_shunned() => self.probe(current).await,
                Some(_) if !doubted => {
                    self.wanted.notified().await;
                    continue;
                }
                Some(_) | None => {
                    number += 1;
                    looked_at = Some(Instant::now());
                    self.open(number).await
                }
            };
            match outcome {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    trouble.over();
                    self.opened.notify_waiters();
                }
                Err(reason) => {
                    trouble.tell(reason);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn open(&self, number: u64) -> Result<(), String> {
        let opening = async {
            let mut connection = self.opener.open().await?;
            // The system of a process that hangs accepts connections for it.
            heard_from(&mut connection).await?;
            Ok(connection)
        };
        let opened: RedisResult<Connection> =
            timeout(OPEN_MAX, opening).await.map_err(|_| "no answer in time".to_owned())?;
        let connection = opened.map_err(|error| error.to_string())?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Numbered { connection, number });
        self.is_doubted.store(false, Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        Ok(())
    }

    async fn probe(&self, mut current: Numbered) -> Result<(), String> {
        match timeout(PROBE_MAX, heard_from(&mut current.connection)).await {
            Ok(Ok(())) => {
                self.well();
                Ok(())
            }
            Ok(Err(error)) => {
                self.drop_connection(current.number);
                Err(error.to_string())
            }
            // It may be the connection alone that hangs.
            Err(_) => {
                self.drop_connection(current.number);
                Err("no answer in time".to_owned())
            }
        }
    }
}

/// Whether an error is the connection's, and not an answer of the server.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::ClusterConnectionNotFound
}

/// An answer, whatever it says, is one.
async fn heard_from(connection: &mut Connection) -> RedisResult<()> {
    match connection.ask(&redis::cmd("PING")).await {
        Err(error) if is_of_connection(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What was logged last.
#[derive(Default)]
struct Trouble(Option<String>);

impl Trouble {
    fn tell(&mut self, reason: String) {
        if self.0.as_ref() != Some(&reason) {
            tracing::warn!(reason, "the Redis of the limits cannot be asked");
            self.0 = Some(reason);
        }
    }

    fn over(&mut self) {
        if self.0.take().is_some() {
            tracing::info!("the Redis of the limits can be asked again");
        }
    }
}
