//! What can be said on the command line, and the help for it.

mod counters;
mod parts;
mod prices;
mod ratelimit;
mod usage;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bound::BoundArguments;
use crate::paint::When;
use crate::place::Spot;

use parts::{CONTROL_EXAMPLES, CONTROL_HELP, EXTPROC_EXAMPLES, EXTPROC_HELP, PLAN_EXAMPLES, PLAN_HELP};
use prices::PRICES_EXAMPLES;
pub(crate) use prices::{PricesAction, PricesArguments};

pub(crate) use parts::{
    ControlArguments, EnvoyArguments, ExtprocArguments, PlanArguments, PlanOutput, PlanTo, PrintSds,
    TlsArguments,
};

pub(crate) use counters::CounterArguments;
pub(crate) use ratelimit::RatelimitArguments;
use ratelimit::{RATELIMIT_EXAMPLES, RATELIMIT_HELP};
pub(crate) use usage::{LedgerArguments, UsageArguments, UsageFormat};
use usage::{USAGE_EXAMPLES, USAGE_HELP};

/// Where operators look by default.
const ADMIN_ADDRESS: &str = "127.0.0.1:1064";

const EXAMPLES: &str = "\
Examples:
  tollgate demo                    see it work, without a key or a network
  tollgate run                     serve the provider whose key is in the environment
  tollgate run gateway.yaml        serve a configuration, and follow its changes
  tollgate check gateway.yaml      explain every mistake in it

Exit codes:
  0  all went well
  1  a mistake in the configuration, or something that failed; standard error says what
  2  a mistake on the command line";

const RUN_HELP: &str = "\
Serve a configuration

PATH is a file, or a folder whose *.yaml and *.yml files are read in the order of their names.
Changes are followed: a good one is served within a second; a bad one is refused and told,
and what was served before goes on.

Without PATH, $TOLLGATE_CONFIG is the path. Without that, the environment is the configuration:
  OPENAI_API_KEY         with OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID
  ANTHROPIC_API_KEY      with ANTHROPIC_BASE_URL
  AZURE_OPENAI_API_KEY   with AZURE_OPENAI_ENDPOINT, OPENAI_API_VERSION
  HTTPS_PROXY            with NO_PROXY: the way to those that are asked with https://

An object that cannot be served is told at the start, and requests for it get an error; it does
not keep others from being served.

SIGTERM and SIGINT (Ctrl-C) drain: readiness goes off and running requests finish, at most for
--drain-timeout. A second signal ends at once.";

const RUN_EXAMPLES: &str = "\
Examples:
  OPENAI_API_KEY=sk-... tollgate run
  tollgate run gateway.yaml secrets/
  tollgate run --address 0.0.0.0 --access-log off gateway.yaml

Exit codes:
  0  drained after a signal
  1  could not start, or running requests were cut off at the end
  2  a mistake on the command line";

const CHECK_HELP: &str = "\
Explain every mistake in a configuration

Reads files and folders as `run` does, and tells every mistake with file, line and column, not
only the first. Nothing is started, and no network is used.";

const CHECK_EXAMPLES: &str = "\
Examples:
  tollgate check gateway.yaml
  tollgate check --deny-warnings --output json deploy/ > findings.json

Exit codes:
  0  no mistakes
  1  mistakes
  2  a mistake on the command line";

const DEMO_HELP: &str = "\
Show the gateway at work, without a key or a network

Starts mock model servers and the gateway in front of them, all on this machine. Sends a chat, a
stream, a tool call, a request that is translated for another provider, and one whose first
backend fails, and shows what became of them. Then it stays up for your own requests, until
Ctrl-C.";

const DEMO_EXIT: &str = "\
Exit codes:
  0  every row went well
  1  one did not
  2  a mistake on the command line";

const HEALTHCHECK_EXIT: &str = "\
Exit codes:
  0  ready
  1  not ready, or not there within a second
  2  a mistake on the command line";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    about = "One OpenAI- and Anthropic-compatible API in front of every model",
    after_help = EXAMPLES,
    propagate_version = false,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the program talks, whatever it does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct LogArguments {
    /// Least level to log: off, error, warn, info, debug or trace; or a list such as `warn,tollgate_proxy=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "TOLLGATE_LOG_LEVEL",
        hide_env_values = true,
        default_value = "info"
    )]
    pub(crate) log_level: String,
    /// How log lines on standard error look: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        hide_possible_values = true,
        env = "TOLLGATE_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
    /// When to use colour: always, never, or auto, which is on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true, default_value = "auto")]
    pub(crate) color: When,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a configuration
    #[command(long_about = RUN_HELP, after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Explain every mistake in a configuration
    #[command(long_about = CHECK_HELP, after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Print what would be served
    #[command(long_about = PLAN_HELP, after_help = PLAN_EXAMPLES)]
    Plan(PlanArguments),
    /// Program a fleet of Envoys
    #[command(long_about = CONTROL_HELP, after_help = CONTROL_EXAMPLES)]
    Controlplane(Box<ControlArguments>),
    /// Answer the calls of an Envoy
    #[command(long_about = EXTPROC_HELP, after_help = EXTPROC_EXAMPLES)]
    Extproc(Box<ExtprocArguments>),
    /// Limit rates for Envoys
    #[command(long_about = RATELIMIT_HELP, after_help = RATELIMIT_EXAMPLES)]
    Ratelimit(Box<RatelimitArguments>),
    /// Show the gateway at work, without a key or a network
    #[command(long_about = DEMO_HELP, after_help = DEMO_EXIT)]
    Demo(DemoArguments),
    /// Show what models cost, or take new prices
    #[command(after_help = PRICES_EXAMPLES)]
    Prices(PricesArguments),
    /// Print the custom resource definitions for Kubernetes
    Crds,
    /// Become another program, which ends with the one that started it
    #[command(hide = true)]
    Bound(BoundArguments),
    /// Tell what was used, from a ledger
    #[command(long_about = USAGE_HELP, after_help = USAGE_EXAMPLES)]
    Usage(UsageArguments),
    /// Ask a running gateway whether it is ready
    #[command(after_help = HEALTHCHECK_EXIT)]
    Healthcheck(HealthcheckArguments),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  source <(tollgate completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `tollgate run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Files and folders of Kubernetes YAML
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Address to listen on for clients; 0.0.0.0 lets other machines in
    #[arg(long, env = "TOLLGATE_ADDRESS", hide_env_values = true, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Let everybody in where other machines reach and no SecurityPolicy asks who calls
    #[arg(
        long,
        env = "TOLLGATE_ALLOW_ANONYMOUS",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub(crate) allow_anonymous: bool,
    /// Port to listen on, instead of the one that the listeners name; 0 takes a free one
    #[arg(long, env = "TOLLGATE_PORT", hide_env_values = true)]
    pub(crate) port: Option<u16>,
    /// Address for operators: /metrics, /healthz, /readyz, /config, /usage with a ledger, and /xds with an Envoy
    #[arg(long, value_name = "ADDRESS:PORT", env = "TOLLGATE_ADMIN_ADDRESS", hide_env_values = true, default_value = ADMIN_ADDRESS)]
    pub(crate) admin_address: SocketAddr,
    #[command(flatten)]
    pub(crate) requests: RequestArguments,
    /// What moves the bytes: embedded, which is this process, or envoy, which is an Envoy that it starts
    #[arg(
        long,
        value_name = "PLANE",
        hide_possible_values = true,
        env = "TOLLGATE_DATA_PLANE",
        hide_env_values = true,
        default_value = "embedded"
    )]
    pub(crate) data_plane: Plane,
    /// The Envoy to start, with --data-plane envoy [default: the program called envoy]
    #[arg(long, value_name = "PATH", env = "TOLLGATE_ENVOY", hide_env_values = true)]
    pub(crate) envoy: Option<PathBuf>,
    /// A rate limit service on this machine that Envoy asks, which then counts the global limits of BackendTrafficPolicies: HOST:PORT or unix:PATH
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_RATE_LIMIT_SERVICE", hide_env_values = true)]
    pub(crate) rate_limit_service: Option<Spot>,
    /// What of callers Envoy's own filters look at first, with --data-plane envoy: keys, which it is then sent, tokens, or both with a comma between
    #[arg(
        long,
        value_name = "WHAT",
        env = "TOLLGATE_ENVOY_AUTHENTICATION",
        hide_env_values = true,
        hide_possible_values = true,
        value_delimiter = ','
    )]
    pub(crate) envoy_authentication: Vec<Authentication>,
}

/// What of callers a filter of Envoy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Authentication {
    /// API keys
    Keys,
    /// JSON Web Tokens
    Tokens,
}

/// What moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plane {
    /// This process
    Embedded,
    /// An Envoy
    Envoy,
}

/// `tollgate check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Files and folders of Kubernetes YAML
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Let a warning fail the check too
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// What is to serve it: embedded, or envoy, which cannot do everything
    #[arg(
        long,
        value_name = "PLANE",
        hide_possible_values = true,
        env = "TOLLGATE_DATA_PLANE",
        hide_env_values = true,
        default_value = "embedded"
    )]
    pub(crate) data_plane: Plane,
    /// The rate limit service that Envoy is to ask, with --data-plane envoy: what cannot be said to it is told
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_RATE_LIMIT_SERVICE", hide_env_values = true)]
    pub(crate) rate_limit_service: Option<Spot>,
    /// What of callers Envoy's own filters are to look at first, with --data-plane envoy: keys, tokens, or both; what cannot be said to them is told
    #[arg(
        long,
        value_name = "WHAT",
        env = "TOLLGATE_ENVOY_AUTHENTICATION",
        hide_env_values = true,
        hide_possible_values = true,
        value_delimiter = ','
    )]
    pub(crate) envoy_authentication: Vec<Authentication>,
    /// File of prices over those that come with the program; of several, separated by commas, the last wins
    #[arg(long, value_name = "FILE", env = "TOLLGATE_PRICES", hide_env_values = true, value_delimiter = ',')]
    pub(crate) prices: Vec<PathBuf>,
    /// How to tell what was found: text with the lines in question, or json
    #[arg(long, short, value_name = "FORMAT", hide_possible_values = true, default_value = "text")]
    pub(crate) output: Output,
}

/// How findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people, with the lines in question
    Text,
    /// One JSON object with all findings
    Json,
}

/// `tollgate demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// End after the table
    #[arg(long)]
    pub(crate) once: bool,
    /// Port for clients; 0 takes a free one [default: 1975, or a free one where that is taken]
    #[arg(long)]
    pub(crate) port: Option<u16>,
}

/// How whoever answers requests does it.
#[derive(Debug, Args)]
pub(crate) struct RequestArguments {
    /// Where to write one line of JSON for each request: off, stdout, or a file
    #[arg(
        long,
        value_name = "WHERE",
        env = "TOLLGATE_ACCESS_LOG",
        hide_env_values = true,
        default_value = "stdout"
    )]
    pub(crate) access_log: String,
    /// File of prices over those that come with the program; of several, separated by commas, the last wins
    #[arg(long, value_name = "FILE", env = "TOLLGATE_PRICES", hide_env_values = true, value_delimiter = ',')]
    pub(crate) prices: Vec<PathBuf>,
    /// Threads that serve requests [default: one for each core]
    #[arg(long, value_name = "N", env = "TOLLGATE_WORKERS", hide_env_values = true)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// How long running requests may take to finish at the end, such as 30s or 5m
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOLLGATE_DRAIN_TIMEOUT", hide_env_values = true,
        default_value = "30s",
        value_parser = duration
    )]
    pub(crate) drain_timeout: Duration,
    #[command(flatten)]
    pub(crate) counters: CounterArguments,
    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

/// `tollgate healthcheck`.
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArguments {
    /// Address for operators of the gateway
    #[arg(long, value_name = "ADDRESS:PORT", env = "TOLLGATE_ADMIN_ADDRESS", hide_env_values = true, default_value = ADMIN_ADDRESS)]
    pub(crate) admin_address: SocketAddr,
}

/// Reads `500ms`, `30s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a number with ms, s, m or h, such as 30s, and not \"{text}\"");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_argument_is_explained() {
        let all = Arguments::command();
        for command in std::iter::once(&all).chain(all.get_subcommands()) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "30", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
