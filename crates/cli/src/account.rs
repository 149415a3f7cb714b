//! The ledger of a gateway at work: opened at its start, asked by operators, closed at its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use anyhow::Result;
use tollgate_ledger::usage::{Query, Source};
use tollgate_ledger::{IndexPlace, Ledger, Options};
use tollgate_proxy::admin::{QueryError, QuerySource};
use tollgate_telemetry::Telemetry;

use crate::arguments::LedgerArguments;

/// How long the database may take at the end.
const CLOSE: Duration = Duration::from_secs(5);

/// How long a question may wait for those before it, and how often it looks.
const TURN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// 24 hours.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where attempts are recorded, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    folder: PathBuf,
    index: IndexPlace,
    retention: Duration,
    usage_retention: Option<Duration>,
}

impl Place {
    /// What is said on the command line; `None` if nobody keeps account.
    pub(crate) fn of(arguments: &LedgerArguments) -> Option<Self> {
        let index = arguments.ledger_postgres.clone().map_or(IndexPlace::Sqlite, IndexPlace::Postgres);
        Some(Self {
            folder: arguments.ledger.clone()?,
            index,
            retention: DAY * arguments.ledger_retention,
            usage_retention: (arguments.usage_retention > 0).then(|| DAY * arguments.usage_retention),
        })
    }

    /// The folder, which is the process's own once the ledger is open.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Who keeps account of attempts, if anybody does.
#[derive(Debug, Default)]
pub(crate) struct Account(Option<(Arc<Ledger>, Source)>);

impl Account {
    /// Opens the ledger.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written.
    pub(crate) fn open(place: Option<Place>) -> Result<Self> {
        let Some(Place { folder, index, retention, usage_retention }) = place else {
            return Ok(Self::default());
        };
        let options =
            Options { index: Some(index.clone()), retention, usage_retention, ..Options::default() };
        let ledger = Ledger::open(&folder, &options)?;
        Ok(Self(Some((Arc::new(ledger), Source::of(index, folder)))))
    }

    /// Has it told of attempts, and metrics tell of it.
    pub(crate) fn join(&self, telemetry: Telemetry) -> Telemetry {
        let Some((ledger, _)) = &self.0 else { return telemetry };
        telemetry.with(Box::new(ledger.metrics())).with_journal(Arc::<Ledger>::clone(ledger))
    }

    /// What answers `/usage`.
    pub(crate) fn usage(&self) -> Option<QuerySource> {
        let (_, source) = self.0.as_ref()?;
        let source = Mutex::new(source.clone());
        Some(Arc::new(move |query| {
            let query = Query::parse(query).map_err(|error| QueryError::Query(error.to_string()))?;
            // One question at a time: operators are few, and a database has other work.
            let source = turn(&source).ok_or_else(|| {
                QueryError::Unavailable("the database is still busy with another question".to_owned())
            })?;
            let report = source.report(&query).map_err(|error| {
                tracing::warn!(%error, "usage cannot be told");
                QueryError::Unavailable("the database does not answer; the log says why".to_owned())
            })?;
            Ok(format!("{:#}\n", report.json()))
        }))
    }

    /// Has everything be kept, once nothing runs any more.
    pub(crate) fn close(&self) {
        if let Some((ledger, _)) = &self.0 {
            ledger.close(CLOSE);
        }
    }
}

/// Waits for the source, but not for ever: a database that hangs takes its time with each question.
fn turn(source: &Mutex<Source>) -> Option<MutexGuard<'_, Source>> {
    for _ in 0..TURN.as_millis() / LOOK.as_millis() {
        match source.try_lock() {
            Ok(source) => return Some(source),
            Err(TryLockError::Poisoned(source)) => return Some(source.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
        }
    }
    None
}
