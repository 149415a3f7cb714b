//! The table on a PostgreSQL server, where several gateways may fill it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_postgres::{Client, Config};

use super::row::{COLUMNS, POSITIONS, TABLE, Value, definition, names, removal, values};
use super::{IndexError, tls};
use crate::follow::Batch;
use crate::segment::Position;

/// Longest wait for a server that does not answer when it is asked to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection that nobody uses is silent until it is looked whether the machine is still there, and how often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// Only one gateway at a time makes the tables: two at once would get in each other's way.
const LOCK: i64 = 0x0074_6f6c_6c67_6174;

/// What a connection is for, which says how long one use of it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// To fill the table, a few megabytes at a time.
    Fill,
    /// To ask for a report, for which the server may have to read all of it.
    Report,
}

impl Purpose {
    fn deadline(self) -> Duration {
        match self {
            Self::Fill => Duration::from_secs(30),
            Self::Report => Duration::from_secs(60),
        }
    }
}

/// A connection. Each use of it has a deadline: from a server that is stopped, or whose machine is gone, nothing is heard at all.
pub(crate) struct Session {
    client: Client,
    driver: Driver,
    deadline: Duration,
}

impl Session {
    /// Connects, with TLS where the address or the server wants it.
    ///
    /// # Errors
    /// When there is no connection after 5 seconds, or after what the address allows for it.
    pub(super) fn connect(url: &str, purpose: Purpose) -> Result<Self, IndexError> {
        let mut config: Config = url.parse()?;
        let patience = config.get_connect_timeout().copied().unwrap_or(PATIENCE);
        config.connect_timeout(patience).tcp_user_timeout(PATIENCE);
        if config.get_keepalives_interval().is_none() {
            config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(PATIENCE);
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_application_name().is_none() {
            config.application_name("tollgate");
        }
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1).max(1);
        let (tls, driver, deadline) = (tls::connector()?, Driver::new()?, purpose.deadline());
        let client = driver.within(patience * hosts, async {
            let (client, connection) = config.connect(tls).await?;
            // Why it ended is told to whoever waits for an answer.
            tokio::spawn(async { drop(connection.await) });
            let limit = deadline.as_secs();
            let set = format!("SET client_min_messages = warning; SET statement_timeout = '{limit}s'");
            client.batch_execute(&set).await?;
            Ok(client)
        })?;
        Ok(Self { client, driver, deadline })
    }

    /// One use.
    ///
    /// # Errors
    /// Those of `using`, or that there is no answer in time: whoever gets this has to connect anew.
    pub(crate) fn with<T>(
        &mut self,
        using: impl AsyncFnOnce(&mut Client) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        self.driver.within(self.deadline, using(&mut self.client))
    }
}

/// What moves the bytes of one connection, while it is used.
struct Driver(Option<Runtime>);

impl Driver {
    fn new() -> Result<Self, IndexError> {
        Ok(Self(Some(runtime::Builder::new_current_thread().enable_all().build()?)))
    }

    fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, IndexError>>,
    ) -> Result<T, IndexError> {
        let silent = IndexError::Silent(deadline);
        let Some(runtime) = &self.0 else { return Err(silent) };
        runtime.block_on(async { timeout(deadline, work).await.unwrap_or(Err(silent)) })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Without waiting for a name that is still looked up.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Connects and makes the tables where there are none.
pub(super) fn open(url: &str) -> Result<Session, IndexError> {
    let mut session = Session::connect(url, Purpose::Fill)?;
    session.with(async |client| {
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        transaction.batch_execute(&definition("")).await?;
        Ok(transaction.commit().await?)
    })?;
    Ok(session)
}

pub(super) fn position(session: &mut Session, gateway: &str) -> Result<Position, IndexError> {
    session.with(async |client| {
        let query = format!("SELECT segment, bytes FROM {POSITIONS} WHERE gateway = $1");
        let Some(row) = client.query_opt(&query, &[&gateway]).await? else {
            return Ok(Position::default());
        };
        let number =
            |column| row.try_get(column).map(|number: i64| u64::try_from(number).unwrap_or_default());
        Ok(Position { segment: number(0)?, offset: number(1)? })
    })
}

/// One round trip for all rows: they go as one document.
pub(super) fn add(session: &mut Session, gateway: &str, batch: &Batch) -> Result<(), IndexError> {
    let row = |settled| -> BTreeMap<&str, Value> {
        COLUMNS.iter().map(|(name, _)| *name).zip(values(settled, gateway)).collect()
    };
    let rows: Vec<_> = batch.settled.iter().map(row).collect();
    let names = names();
    // The first entry of an attempt counts.
    let insert = format!(
        "INSERT INTO {TABLE} ({names})
         SELECT {names} FROM json_populate_recordset(NULL::{TABLE}, $1::text::json)
         ON CONFLICT DO NOTHING"
    );
    let place = format!(
        "INSERT INTO {POSITIONS} (gateway, segment, bytes) VALUES ($1, $2, $3)
         ON CONFLICT (gateway) DO UPDATE SET segment = EXCLUDED.segment, bytes = EXCLUDED.bytes"
    );
    let [segment, offset] =
        [batch.to.segment, batch.to.offset].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    session.with(async |client| {
        let transaction = client.transaction().await?;
        if !rows.is_empty() {
            // Numbers and texts: there is nothing that JSON could refuse.
            let rows = serde_json::to_string(&rows).unwrap_or_default();
            transaction.execute(&insert, &[&rows]).await?;
        }
        transaction.execute(&place, &[&gateway, &segment, &offset]).await?;
        Ok(transaction.commit().await?)
    })
}

/// Several gateways may do so at one time: none waits for what another one removes.
pub(super) fn remove(session: &mut Session, before_ms: i64, rows: u32) -> Result<u64, IndexError> {
    session.with(async |client| {
        let statement = removal("FOR UPDATE SKIP LOCKED");
        Ok(client.execute(&statement, &[&before_ms, &i64::from(rows)]).await?)
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test measures")]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use tollgate_exchange::Journal;

    use super::*;
    use crate::tests::{options, record};
    use crate::usage::{Query, Source};
    use crate::{IndexPlace, Ledger, Options};

    #[test]
    fn a_server_that_never_answers_is_given_up() {
        // Connections are made by the kernel, and nobody takes them.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("postgres://tollgate@{}/postgres", listener.local_addr().expect("an address"));
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { index: Some(IndexPlace::Postgres(url.clone())), ..options() };
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        let began = Instant::now();
        (0..100).for_each(|number| ledger.settled(&record(number)));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let began = Instant::now();
        let error = Source::postgres(&*url).report(&Query::default()).expect_err("no report");
        assert_eq!(error.to_string(), "PostgreSQL: no answer in 5s");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        // As patient as the address says.
        let began = Instant::now();
        let source = Source::postgres(format!("{url}?connect_timeout=1"));
        assert_eq!(
            source.report(&Query::default()).expect_err("no report").to_string(),
            "PostgreSQL: no answer in 1s"
        );
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let began = Instant::now();
        ledger.close(Duration::from_secs(1));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
