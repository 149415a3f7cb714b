//! What can be said of the ledger: where it is kept, and what is asked of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tollgate_ledger::usage::{Dimension, Moment};

pub(super) const USAGE_HELP: &str = "\
Tell what was used, from a ledger

Adds up requests, attempts, tokens and cost of what `run --ledger` has recorded. Without --by it
tells the sum of all. A gateway may run meanwhile: what was used a second ago is there.

CACHED and REASONING are parts of INPUT and OUTPUT. UNPRICED counts the attempts whose price is not
known: what they cost is in no sum. A request that was tried at several backends counts in the row
of each, and once in the total.";

pub(super) const USAGE_EXAMPLES: &str = "\
Dimensions:
  team, user, application, key, model, requested_model, backend, route, provider, outcome, day

Examples:
  tollgate usage --ledger /var/lib/tollgate --by team,model --since 2026-11-01
  tollgate usage --postgres postgres://tollgate@db/tollgate --by day --format csv > usage.csv

Exit codes:
  0  all went well
  1  the ledger cannot be read; standard error says why
  2  a mistake on the command line";

/// Where the ledger is kept.
#[derive(Debug, Args)]
pub(crate) struct LedgerArguments {
    /// Folder in which every attempt is recorded, so that its usage survives the end of this process; made where there is none
    #[arg(long, value_name = "DIR", env = "TOLLGATE_LEDGER", hide_env_values = true)]
    pub(crate) ledger: Option<PathBuf>,
    /// Fill a PostgreSQL database from it, instead of a file of SQLite in the folder: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(
        long,
        value_name = "URL",
        requires = "ledger",
        env = "TOLLGATE_LEDGER_POSTGRES",
        hide_env_values = true
    )]
    pub(crate) ledger_postgres: Option<String>,
    /// Days for which the files of the ledger stay after all of them is in the database: at least 1, since they are what it is made
    /// from where a machine has lost its power
    #[arg(
        long,
        value_name = "DAYS",
        requires = "ledger",
        env = "TOLLGATE_LEDGER_RETENTION",
        hide_env_values = true,
        default_value_t = 7,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) ledger_retention: u32,
    /// Days for which an attempt can be asked for; its row in the database goes then. 0: for ever
    #[arg(
        long,
        value_name = "DAYS",
        requires = "ledger",
        env = "TOLLGATE_USAGE_RETENTION",
        hide_env_values = true,
        default_value_t = 400
    )]
    pub(crate) usage_retention: u32,
}

/// `tollgate usage`.
#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    /// Folder of the ledger
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "postgres",
        env = "TOLLGATE_LEDGER",
        hide_env_values = true
    )]
    pub(crate) ledger: Option<PathBuf>,
    /// Database that gateways fill from their ledgers, instead of a folder
    #[arg(long, value_name = "URL", env = "TOLLGATE_LEDGER_POSTGRES", hide_env_values = true)]
    pub(crate) postgres: Option<String>,
    /// What to tell apart, such as team,model
    #[arg(long, value_name = "DIMENSIONS", value_delimiter = ',')]
    pub(crate) by: Vec<Dimension>,
    /// Attempts that began on this day (UTC) or later: 2026-11-01, or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Attempts that began before this day or time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// How to tell it: table, csv or json
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, default_value = "table")]
    pub(crate) format: UsageFormat,
}

/// How usage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageFormat {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}
