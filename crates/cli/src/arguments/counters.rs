//! Where the counters of limits are.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::duration;

/// Where the counters of limits are.
#[derive(Debug, Args)]
pub(crate) struct CounterArguments {
    /// Redis in which gateways share the counters of limits: redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// with TLS, redis+sentinel://HOST,HOST/SERVICE or redis+cluster://HOST,HOST [default: each gateway counts by itself]
    #[arg(long, value_name = "URL", env = "TOLLGATE_REDIS", hide_env_values = true)]
    pub(crate) redis: Option<String>,
    /// Certificates of authorities in PEM that the Redis is trusted by, instead of those of the machine
    #[arg(long, value_name = "FILE", env = "TOLLGATE_REDIS_CA", hide_env_values = true, requires = "redis")]
    pub(crate) redis_ca: Option<PathBuf>,
    /// How long the Redis may take to say whether something is left
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOLLGATE_REDIS_TIMEOUT",
        hide_env_values = true,
        default_value = "50ms",
        value_parser = duration
    )]
    pub(crate) redis_timeout: Duration,
}
