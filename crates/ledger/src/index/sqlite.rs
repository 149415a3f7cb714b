//! The table in a file of SQLite.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, params_from_iter};

use super::IndexError;
use super::row::{COLUMNS, POSITIONS, TABLE, Value, definition, names, number, removal, values};
use crate::follow::Batch;
use crate::segment::Position;

/// How long to wait for whoever has the file.
const BUSY: Duration = Duration::from_secs(5);

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// Opens the file to write, and makes the tables where there are none. Whoever reads meanwhile is not in the way.
pub(super) fn open(file: &Path) -> Result<Connection, IndexError> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The segments are what survives; the table can be made from them.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.execute_batch(&definition("WITHOUT ROWID"))?;
    Ok(connection)
}

/// Opens the file to read.
pub(super) fn open_to_read(file: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

pub(super) fn position(connection: &Connection, gateway: &str) -> Result<Position, IndexError> {
    let query = format!("SELECT segment, bytes FROM {POSITIONS} WHERE gateway = ?1");
    let found = connection
        .prepare_cached(&query)?
        .query_row([gateway], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let (segment, offset) = found.unwrap_or_default();
    Ok(Position {
        segment: u64::try_from(segment).unwrap_or_default(),
        offset: u64::try_from(offset).unwrap_or_default(),
    })
}

pub(super) fn add(connection: &mut Connection, gateway: &str, batch: &Batch) -> Result<(), IndexError> {
    let transaction = connection.transaction()?;
    {
        let places: Vec<_> = (1..=COLUMNS.len()).map(|place| format!("?{place}")).collect();
        // The first entry of an attempt counts.
        let insert = format!("INSERT OR IGNORE INTO {TABLE} ({}) VALUES ({})", names(), places.join(", "));
        let mut insert = transaction.prepare_cached(&insert)?;
        for settled in &batch.settled {
            insert.execute(params_from_iter(values(settled, gateway)))?;
        }
        let place =
            format!("INSERT OR REPLACE INTO {POSITIONS} (gateway, segment, bytes) VALUES (?1, ?2, ?3)");
        let (segment, offset) = (number(batch.to.segment), number(batch.to.offset));
        transaction.prepare_cached(&place)?.execute((gateway, segment, offset))?;
    }
    Ok(transaction.commit()?)
}

pub(super) fn remove(connection: &Connection, before_ms: i64, rows: u32) -> Result<u64, IndexError> {
    Ok(connection.prepare_cached(&removal(""))?.execute((before_ms, rows))? as u64)
}
