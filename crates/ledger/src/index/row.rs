//! The columns of the table, the same in both databases, and what an entry says in each of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::entry::Attempt;
use crate::usage::day_of;

/// The table of attempts, and that of how far each ledger was read.
pub(crate) const TABLE: &str = "tollgate_attempts";
pub(crate) const POSITIONS: &str = "tollgate_positions";

/// Largest number that is stored. A provider that lies must not make sums overflow that others are in too.
const NUMBER_MAX: u64 = 1 << 53;

/// Each column with its type.
pub(crate) const COLUMNS: [(&str, &str); 36] = [
    ("request_id", "TEXT NOT NULL"),
    ("attempt", "BIGINT NOT NULL"),
    ("gateway", "TEXT NOT NULL"),
    ("started_at_ms", "BIGINT NOT NULL"),
    ("day", "TEXT NOT NULL"),
    ("user_id", "TEXT"),
    ("team", "TEXT"),
    ("application", "TEXT"),
    ("key_id", "TEXT"),
    ("route", "TEXT NOT NULL"),
    ("backend", "TEXT NOT NULL"),
    ("provider", "TEXT NOT NULL"),
    ("operation", "TEXT NOT NULL"),
    ("client_dialect", "TEXT NOT NULL"),
    ("backend_dialect", "TEXT NOT NULL"),
    ("streamed", "BIGINT NOT NULL"),
    ("requested_model", "TEXT NOT NULL"),
    ("upstream_model", "TEXT NOT NULL"),
    ("served_model", "TEXT"),
    ("outcome", "TEXT NOT NULL"),
    ("fault", "TEXT"),
    ("upstream_status", "BIGINT"),
    ("input_tokens", "BIGINT NOT NULL"),
    ("cached_input_tokens", "BIGINT NOT NULL"),
    ("cache_creation_input_tokens", "BIGINT NOT NULL"),
    ("output_tokens", "BIGINT NOT NULL"),
    ("reasoning_tokens", "BIGINT NOT NULL"),
    ("total_tokens", "BIGINT NOT NULL"),
    ("usage_source", "TEXT NOT NULL"),
    ("cost_nanodollars", "BIGINT"),
    ("losses", "TEXT"),
    ("duration_us", "BIGINT NOT NULL"),
    ("time_to_first_token_us", "BIGINT"),
    ("time_per_output_token_us", "BIGINT"),
    ("delivered", "BIGINT NOT NULL"),
    ("reserved", "TEXT"),
];

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value<'a> {
    Null,
    Number(i64),
    Text(Cow<'a, str>),
}

/// What `settled`, of the ledger `gateway`, says in each column.
pub(crate) fn values<'a>(settled: &'a Attempt, gateway: &'a str) -> [Value<'a>; COLUMNS.len()] {
    [
        text(&settled.request_id),
        number(u64::from(settled.attempt)),
        text(gateway),
        number(settled.started_at_ms),
        Value::Text(day_of(settled.started_at_ms).into()),
        optional(settled.user.as_deref()),
        optional(settled.team.as_deref()),
        optional(settled.application.as_deref()),
        optional(settled.key_id.as_deref()),
        text(&settled.route),
        text(&settled.backend),
        text(&settled.provider),
        text(&settled.operation),
        text(&settled.client_dialect),
        text(&settled.backend_dialect),
        number(u64::from(settled.streamed)),
        text(&settled.requested_model),
        text(&settled.upstream_model),
        optional(settled.served_model.as_deref()),
        text(&settled.outcome),
        optional(settled.fault.as_deref()),
        settled.upstream_status.map_or(Value::Null, |status| number(u64::from(status))),
        number(settled.input_tokens),
        number(settled.cached_input_tokens),
        number(settled.cache_creation_input_tokens),
        number(settled.output_tokens),
        number(settled.reasoning_tokens),
        number(settled.total_tokens),
        text(&settled.usage_source),
        settled.cost_nanodollars.map_or(Value::Null, number),
        counts(&settled.losses),
        number(settled.duration_us),
        settled.time_to_first_token_us.map_or(Value::Null, number),
        settled.time_per_output_token_us.map_or(Value::Null, number),
        number(u64::from(settled.delivered)),
        counts(&settled.reserved),
    ]
}

/// What makes the tables where there are none; `options` are those of the table of attempts.
///
/// The time comes first in its key: ids are random, and rows that come one after the other have their places side by side.
pub(crate) fn definition(options: &str) -> String {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} ({}, PRIMARY KEY (started_at_ms, request_id, attempt)) {options};
         CREATE TABLE IF NOT EXISTS {POSITIONS}
         (gateway TEXT PRIMARY KEY, segment BIGINT NOT NULL, bytes BIGINT NOT NULL);",
        columns.join(", ")
    )
}

/// What removes some of the attempts that began before a time: the time and their number are its two parameters. `choosing` is said
/// at the end of how they are chosen.
pub(crate) fn removal(choosing: &str) -> String {
    let key = "started_at_ms, request_id, attempt";
    format!(
        "DELETE FROM {TABLE} WHERE ({key}) IN
         (SELECT {key} FROM {TABLE} WHERE started_at_ms < $1 ORDER BY {key} LIMIT $2 {choosing})"
    )
}

/// The names of all columns.
pub(crate) fn names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

pub(crate) fn number(value: u64) -> Value<'static> {
    Value::Number(i64::try_from(value.min(NUMBER_MAX)).unwrap_or(i64::MAX))
}

/// PostgreSQL has no text with a NUL in it, and a caller may have one in its name.
fn text(value: &str) -> Value<'_> {
    Value::Text(if value.contains('\0') { value.replace('\0', "\u{fffd}").into() } else { value.into() })
}

fn optional(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Null, text)
}

fn counts(counts: &BTreeMap<String, u64>) -> Value<'static> {
    if counts.is_empty() {
        return Value::Null;
    }
    Value::Text(serde_json::to_string(counts).unwrap_or_default().into())
}
