//! The question in SQL, the same for both databases.

use rusqlite::Connection;
use tokio_postgres::{IsolationLevel, Transaction};

use super::{Dimension, Moment, Query, Report, Row, Totals};
use crate::index::{IndexError, Session, TABLE};

/// What is added up, in the order in which [`Totals`] are read.
const SUMS: [&str; 11] = [
    "COUNT(DISTINCT request_id)",
    "COUNT(*)",
    "COUNT(CASE WHEN outcome = 'orphaned' THEN 1 END)",
    "SUM(input_tokens)",
    "SUM(cached_input_tokens)",
    "SUM(cache_creation_input_tokens)",
    "SUM(output_tokens)",
    "SUM(reasoning_tokens)",
    "SUM(total_tokens)",
    "SUM(cost_nanodollars)",
    "COUNT(CASE WHEN cost_nanodollars IS NULL AND usage_source <> 'none' THEN 1 END)",
];

impl Dimension {
    fn expression(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::User => "user_id",
            Self::Application => "application",
            Self::Key => "key_id",
            Self::Model => "COALESCE(served_model, upstream_model)",
            Self::RequestedModel => "requested_model",
            Self::Backend => "backend",
            Self::Route => "route",
            Self::Provider => "provider",
            Self::Outcome => "outcome",
            Self::Day => "day",
        }
    }
}

/// One question, with times as its two parameters.
fn statement(by: &[Dimension]) -> String {
    let keys: Vec<_> = by.iter().map(|dimension| dimension.expression()).collect();
    // PostgreSQL adds up to a type that no other column has.
    let sums = SUMS.map(|sum| format!("CAST({sum} AS BIGINT)"));
    let columns: Vec<_> = keys.iter().map(|key| (*key).to_owned()).chain(sums).collect();
    let groups = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let columns = columns.join(", ");
    format!("SELECT {columns} FROM {TABLE} WHERE started_at_ms >= $1 AND started_at_ms < $2{groups}")
}

fn bounds(query: &Query) -> [i64; 2] {
    let bound = |moment: Moment| i64::try_from(moment.0).unwrap_or(i64::MAX);
    [query.since.map_or(0, bound), query.until.map_or(i64::MAX, bound)]
}

/// Asks SQLite.
pub(super) fn sqlite(connection: &mut Connection, query: &Query) -> Result<Report, IndexError> {
    // Rows and total are to be of one moment.
    let transaction = connection.transaction()?;
    let ask = |by: &[Dimension]| -> Result<Vec<Row>, IndexError> {
        let mut statement = transaction.prepare(&statement(by))?;
        let rows = statement.query_map(bounds(query), |row| {
            let key = (0..by.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            let totals = totals(|sum| row.get(by.len() + sum))?;
            Ok(Row { key, totals })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok(report(query, ask(&query.by)?, ask(&[])?))
}

/// Asks PostgreSQL.
pub(super) fn postgres(session: &mut Session, query: &Query) -> Result<Report, IndexError> {
    session.with(async |client| {
        let begin = client.build_transaction().read_only(true);
        let transaction = begin.isolation_level(IsolationLevel::RepeatableRead).start().await?;
        let rows = ask(&transaction, &query.by, bounds(query)).await?;
        Ok(report(query, rows, ask(&transaction, &[], bounds(query)).await?))
    })
}

async fn ask(
    transaction: &Transaction<'_>,
    by: &[Dimension],
    [since, until]: [i64; 2],
) -> Result<Vec<Row>, IndexError> {
    let rows = transaction.query(&statement(by), &[&since, &until]).await?;
    let rows = rows.iter().map(|row| {
        let key = (0..by.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>()?;
        let totals = totals(|sum| row.try_get(by.len() + sum))?;
        Ok(Row { key, totals })
    });
    rows.collect()
}

fn totals<E>(column: impl Fn(usize) -> Result<Option<i64>, E>) -> Result<Totals, E> {
    let sum = |index| column(index).map(|sum| sum.map(|sum| u64::try_from(sum).unwrap_or_default()));
    // Sums of nothing are NULL.
    let number = |index| sum(index).map(Option::unwrap_or_default);
    Ok(Totals {
        requests: number(0)?,
        attempts: number(1)?,
        orphaned: number(2)?,
        input_tokens: number(3)?,
        cached_input_tokens: number(4)?,
        cache_creation_input_tokens: number(5)?,
        output_tokens: number(6)?,
        reasoning_tokens: number(7)?,
        total_tokens: number(8)?,
        cost_nanodollars: sum(9)?,
        unpriced: number(10)?,
    })
}

fn report(query: &Query, mut rows: Vec<Row>, total: Vec<Row>) -> Report {
    // Here, since databases order texts each in its own way.
    rows.sort_by(|one, other| one.key.cmp(&other.key));
    if query.by.is_empty() {
        rows.clear();
    }
    let total = total.into_iter().next().map(|row| row.totals).unwrap_or_default();
    Report { by: query.by.clone(), rows, total }
}
