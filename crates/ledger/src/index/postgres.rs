//! The table on a PostgreSQL server, where several gateways may fill it.

use std::collections::BTreeMap;
use std::time::Duration;

use postgres::{Client, Config};

use super::row::{COLUMNS, POSITIONS, TABLE, Value, definition, names, values};
use super::{IndexError, tls};
use crate::follow::Batch;
use crate::segment::Position;

/// Longest wait for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Only one gateway at a time makes the tables: two at once would get in each other's way.
const LOCK: i64 = 0x0074_6f6c_6c67_6174;

/// Connects and makes the tables where there are none.
pub(super) fn open(url: &str) -> Result<Client, IndexError> {
    let mut client = connect(url)?;
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    transaction.batch_execute(&definition(""))?;
    transaction.commit()?;
    Ok(client)
}

/// Connects, with TLS where the address or the server wants it.
pub(super) fn connect(url: &str) -> Result<Client, IndexError> {
    let mut config: Config = url.parse()?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    config.tcp_user_timeout(PATIENCE);
    if config.get_application_name().is_none() {
        config.application_name("tollgate");
    }
    let mut client = config.connect(tls::connector()?)?;
    client.batch_execute("SET client_min_messages = warning; SET statement_timeout = '60s'")?;
    Ok(client)
}

pub(super) fn position(client: &mut Client, gateway: &str) -> Result<Position, IndexError> {
    let query = format!("SELECT segment, bytes FROM {POSITIONS} WHERE gateway = $1");
    let Some(row) = client.query_opt(&query, &[&gateway])? else { return Ok(Position::default()) };
    let number = |column| row.try_get(column).map(|number: i64| u64::try_from(number).unwrap_or_default());
    Ok(Position { segment: number(0)?, offset: number(1)? })
}

/// One round trip for all rows: they go as one document.
pub(super) fn add(client: &mut Client, gateway: &str, batch: &Batch) -> Result<(), IndexError> {
    let row = |settled| -> BTreeMap<&str, Value> {
        COLUMNS.iter().map(|(name, _)| *name).zip(values(settled, gateway)).collect()
    };
    let rows: Vec<_> = batch.settled.iter().map(row).collect();
    let mut transaction = client.transaction()?;
    if !rows.is_empty() {
        let names = names();
        // The first entry of an attempt counts.
        let insert = format!(
            "INSERT INTO {TABLE} ({names})
             SELECT {names} FROM json_populate_recordset(NULL::{TABLE}, $1::text::json)
             ON CONFLICT DO NOTHING"
        );
        // Numbers and texts: there is nothing that JSON could refuse.
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        transaction.execute(&insert, &[&rows])?;
    }
    let place = format!(
        "INSERT INTO {POSITIONS} (gateway, segment, bytes) VALUES ($1, $2, $3)
         ON CONFLICT (gateway) DO UPDATE SET segment = EXCLUDED.segment, bytes = EXCLUDED.bytes"
    );
    let [segment, offset] =
        [batch.to.segment, batch.to.offset].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    transaction.execute(&place, &[&gateway, &segment, &offset])?;
    Ok(transaction.commit()?)
}
