//! Usage reports: what attempts have used together, from either database, by the same question.

mod day;
mod output;
mod query;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::index::{IndexError, IndexPlace, Store};

pub(crate) use day::day_of;
pub use output::Format;

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// The team that pays.
    Team,
    /// The person or service.
    User,
    /// The application.
    Application,
    /// The API key or issuer.
    Key,
    /// The model that answered: what the backend says it served, else what it was asked for.
    Model,
    /// The model that the client asked for.
    RequestedModel,
    /// The backend.
    Backend,
    /// The route.
    Route,
    /// `gen_ai.provider.name`.
    Provider,
    /// How the attempt ended.
    Outcome,
    /// The day on which it began, in UTC.
    Day,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Team,
        Self::User,
        Self::Application,
        Self::Key,
        Self::Model,
        Self::RequestedModel,
        Self::Backend,
        Self::Route,
        Self::Provider,
        Self::Outcome,
        Self::Day,
    ];

    /// Its name, on the command line and in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::User => "user",
            Self::Application => "application",
            Self::Key => "key",
            Self::Model => "model",
            Self::RequestedModel => "requested_model",
            Self::Backend => "backend",
            Self::Route => "route",
            Self::Provider => "provider",
            Self::Outcome => "outcome",
            Self::Day => "day",
        }
    }
}

impl FromStr for Dimension {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let same = |dimension: &Self| dimension.label() == text;
        Self::ALL.into_iter().find(same).ok_or_else(|| QueryError::Dimension(text.to_owned()))
    }
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// By what usage is told apart; nothing asks for the sum of all.
    pub by: Vec<Dimension>,
    /// Attempts that began at this time or later.
    pub since: Option<Moment>,
    /// Attempts that began before this time.
    pub until: Option<Moment>,
}

/// A time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl FromStr for Moment {
    type Err = QueryError;

    /// Reads `2026-11-01`, the beginning of that day, or `2026-11-01T12:00:00Z`.
    fn from_str(text: &str) -> Result<Self, QueryError> {
        day::milliseconds_of(text).map(Self).ok_or_else(|| QueryError::Moment(text.to_owned()))
    }
}

/// Why a question is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no such dimension.
    #[error("expected some of {all}, and not \"{0}\"", all = labels())]
    Dimension(String),
    /// It is no time.
    #[error("expected a day such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z, and not \"{0}\"")]
    Moment(String),
    /// There is no such parameter.
    #[error("expected by, since and until, and not \"{0}\"")]
    Parameter(String),
}

fn labels() -> String {
    Dimension::ALL.map(Dimension::label).join(", ")
}

impl Query {
    /// Reads the query of a URL: `by=team,model&since=2026-11-01`.
    ///
    /// # Errors
    /// When something in it is not known.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // The only letters that clients write otherwise.
            let value = value.replace("%2C", ",").replace("%2c", ",").replace("%3A", ":").replace("%3a", ":");
            match name {
                "by" => query.by = dimensions(&value)?,
                "since" => query.since = Some(value.parse()?),
                "until" => query.until = Some(value.parse()?),
                _ => return Err(QueryError::Parameter(name.to_owned())),
            }
        }
        Ok(query)
    }
}

/// Reads `team,model`.
fn dimensions(text: &str) -> Result<Vec<Dimension>, QueryError> {
    let named = text.split(',').filter(|name| !name.is_empty()).map(str::parse);
    Ok(distinct(named.collect::<Result<Vec<_>, _>>()?))
}

/// Each of them once, in the order in which they come first.
pub fn distinct(dimensions: impl IntoIterator<Item = Dimension>) -> Vec<Dimension> {
    let mut all = Vec::new();
    for dimension in dimensions {
        if !all.contains(&dimension) {
            all.push(dimension);
        }
    }
    all
}

/// What some attempts have used together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many exchanges these attempts belong to.
    pub requests: u64,
    /// How many attempts.
    pub attempts: u64,
    /// Those of them of which nobody knows how they ended.
    pub orphaned: u64,
    /// Tokens of prompts, cached ones included.
    pub input_tokens: u64,
    /// The part of these that was read from a cache.
    pub cached_input_tokens: u64,
    /// The part of these that was written to a cache.
    pub cache_creation_input_tokens: u64,
    /// Tokens of answers, reasoning included.
    pub output_tokens: u64,
    /// The part of these spent on reasoning.
    pub reasoning_tokens: u64,
    /// All tokens, as providers count them.
    pub total_tokens: u64,
    /// What the attempts cost whose price is known, in billionths of a dollar; `None` where there is no such attempt.
    pub cost_nanodollars: Option<u64>,
    /// Attempts that have used something whose price is not known. What they cost is in no sum.
    pub unpriced: u64,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What all its attempts have in common, in the order of the question; `None` is what nobody has told.
    pub key: Vec<Option<String>>,
    /// What they have used.
    pub totals: Totals,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// By what its rows are told apart.
    pub by: Vec<Dimension>,
    /// Its rows, ordered by their keys.
    pub rows: Vec<Row>,
    /// All of them together. A request whose attempts are in several rows counts once here.
    pub total: Totals,
}

/// A database that can be asked.
#[derive(Clone)]
pub struct Source {
    place: IndexPlace,
    folder: PathBuf,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Source {
    /// The database in the folder of a ledger.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self { place: IndexPlace::Sqlite, folder: folder.into() }
    }

    /// A server.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self { place: IndexPlace::Postgres(url.into()), folder: PathBuf::new() }
    }

    /// The same as a ledger fills.
    pub fn of(place: IndexPlace, folder: impl Into<PathBuf>) -> Self {
        Self { place, folder: folder.into() }
    }

    /// Asks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn report(&self, query: &Query) -> Result<Report, IndexError> {
        match Store::open_to_read(&self.place, &self.folder)? {
            Store::Sqlite(mut connection) => query::sqlite(&mut connection, query),
            Store::Postgres(mut session) => query::postgres(&mut session, query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_from_urls() {
        let query = Query::parse("by=team%2Cmodel,team&since=2026-11-01&until=2026-11-02T12%3A00:00Z");
        let expected = Query {
            by: vec![Dimension::Team, Dimension::Model],
            since: Some(Moment(1_793_491_200_000)),
            until: Some(Moment(1_793_620_800_000)),
        };
        assert_eq!(query, Ok(expected));
        assert_eq!(Query::parse(""), Ok(Query::default()));
        for wrong in ["by=house", "since=soon", "until=", "sort=team"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_dimension_is_read_by_its_name() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.label().parse(), Ok(dimension));
        }
    }
}
