//! The command for the rate limit service.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::TlsArguments;
use crate::place::Spot;

pub(super) const RATELIMIT_HELP: &str = "\
Limit rates for Envoys

Envoy's rate limit service over gRPC, in the place of envoyproxy/ratelimit: it reads the same
configuration, answers alike, and has the same metrics. Changes of its files are followed; one with
a mistake is told and counted, and what was served before goes on.

Without --redis it counts in its own memory, for itself alone.";

pub(super) const RATELIMIT_EXAMPLES: &str = "\
Examples:
  tollgate ratelimit --config limits.yaml
  TOLLGATE_REDIS=rediss://user:password@redis.example.com tollgate ratelimit --config limits/

Exit codes:
  0  ended after a signal
  1  could not start
  2  a mistake on the command line";

/// `tollgate ratelimit`.
#[derive(Debug, Args)]
pub(crate) struct RatelimitArguments {
    /// A file with one domain, or a folder of such files that end in .yaml or .yml
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) config: PathBuf,
    /// Where counters are: redis://HOST, rediss://HOST, redis+sentinel://HOST,HOST/SERVICE or redis+cluster://HOST,HOST
    #[arg(long, value_name = "URL", env = "TOLLGATE_REDIS", hide_env_values = true)]
    pub(crate) redis: Option<String>,
    /// File with the authorities that have signed the certificate of the Redis, instead of those of this machine
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) redis_ca: Option<PathBuf>,
    /// Where Envoys ask: ADDRESS:PORT or unix:PATH
    #[arg(
        long,
        value_name = "PLACE",
        env = "TOLLGATE_RATELIMIT_ADDRESS",
        hide_env_values = true,
        default_value = "127.0.0.1:8081"
    )]
    pub(crate) address: Spot,
    /// Address for operators: /metrics, /healthz, /readyz, /rlconfig, and POST /json, which answers as over gRPC
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "TOLLGATE_ADMIN_ADDRESS",
        hide_env_values = true,
        default_value = "127.0.0.1:6070"
    )]
    pub(crate) admin_address: SocketAddr,
    /// Threads that answer [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Only count what is asked for, and refuse nobody
    #[arg(long, env = "SHADOW_MODE", hide_env_values = true)]
    pub(crate) shadow: bool,
    /// Do not count requests that are refused
    #[arg(long)]
    pub(crate) count_allowed_only: bool,
    /// Tell limits in the headers RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset
    #[arg(long, env = "LIMIT_RESPONSE_HEADERS_ENABLED", hide_env_values = true)]
    pub(crate) headers: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}
