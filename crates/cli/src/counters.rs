//! The counters of limits of a gateway at work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings};

use crate::arguments::CounterArguments;

/// Where the counters of limits are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Option<Shared>);

/// A Redis, as it is named on the command line.
#[derive(Clone)]
struct Shared {
    url: String,
    authorities: Option<PathBuf>,
    deadline: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may have a password in it.
        f.write_str("Shared(..)")
    }
}

impl Counters {
    /// What is said on the command line.
    pub(crate) fn of(arguments: &CounterArguments) -> Self {
        Self(arguments.redis.clone().map(|url| Shared {
            url,
            authorities: arguments.redis_ca.clone(),
            deadline: arguments.redis_timeout,
        }))
    }

    /// Opens them. A Redis that does not answer yet is connected to when it does. Those in memory are saved in `folder`, if there is one, which no
    /// other process may use.
    ///
    /// # Errors
    /// When the address of the Redis is none, the certificates cannot be read, or there can be no thread.
    pub(crate) fn open(&self, folder: Option<&Path>) -> Result<Quotas> {
        let Some(Shared { url, authorities, deadline }) = &self.0 else {
            return match folder {
                Some(folder) => Quotas::saved_in(folder).context("cannot save the counters of limits"),
                None => Ok(Quotas::default()),
            };
        };
        let authorities = authorities.as_ref().map(|file| {
            std::fs::read(file).with_context(|| format!("cannot read the certificates {}", file.display()))
        });
        let place = RedisPlace::parse(url).context("--redis")?;
        let settings = RedisSettings {
            authorities: authorities.transpose()?,
            deadline: *deadline,
            ..RedisSettings::new(place)
        };
        let quotas = Quotas::in_redis(&settings).context("--redis")?;
        if let Some(folder) = folder {
            quotas.save_in(folder).context("cannot save the counters of limits")?;
        }
        Ok(quotas)
    }
}
