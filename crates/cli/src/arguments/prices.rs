//! `tollgate prices`: what can be said of prices.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const PRICES_EXAMPLES: &str = "\
Examples:
  tollgate prices show gpt-4o-mini
  tollgate prices show --prices contract.json gpt-4o-mini
  tollgate prices update --dry-run --prices prices.json data.json

Exit codes:
  0  all went well
  1  the model is not known, or a file is no catalog
  2  a mistake on the command line";

/// `tollgate prices`.
#[derive(Debug, Args)]
pub(crate) struct PricesArguments {
    #[command(subcommand)]
    pub(crate) action: PricesAction,
}

/// What to do with prices.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesAction {
    /// Show the price of a model, or all prices
    Show {
        /// The model, as it is asked for
        model: Option<String>,
        /// File of prices over those that come with the program; of several, the last wins
        #[arg(
            long,
            value_name = "FILE",
            env = "TOLLGATE_PRICES",
            hide_env_values = true,
            value_delimiter = ','
        )]
        prices: Vec<PathBuf>,
    },
    /// Check a catalog of prices, put it where the gateway reads it, and show what that changes
    Update {
        /// A catalog: the gateway's own format, data.json of genai-prices, or api.json of models.dev
        file: PathBuf,
        /// Where to put it: the file that `run` is given
        #[arg(
            long,
            value_name = "FILE",
            env = "TOLLGATE_PRICES",
            hide_env_values = true,
            value_delimiter = ','
        )]
        prices: Vec<PathBuf>,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
}
