//! `tollgate ratelimit`: Envoy's rate limit service.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings};
use tollgate_proxy::admin::{self, AdminState, RateLimitPages};
use tollgate_ratelimit::{Consumption, Headers, Live, Options, RateLimits};

use crate::arguments::RatelimitArguments;
use crate::run::workers;
use crate::signals::Signals;

/// How long the store may take to be there at the start. It is asked for without it as well.
const STORE_MAX: Duration = Duration::from_secs(5);

/// How long calls may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until a signal.
///
/// # Errors
/// When the configuration has a mistake, or something cannot be listened on.
pub(crate) fn run(arguments: &RatelimitArguments, began: Instant) -> Result<ExitCode> {
    let quotas = quotas(arguments)?;
    let options = Options {
        consumption: if arguments.count_allowed_only { Consumption::AllowedOnly } else { Consumption::All },
        headers: if arguments.headers { Headers::Told } else { Headers::Untold },
        shadow: arguments.shadow,
    };
    let limits = RateLimits::new(Live::open(&arguments.config)?, quotas.clone(), options);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut signals = Signals::take()?;
    if !runtime.block_on(quotas.up(STORE_MAX)) {
        tracing::warn!("the Redis is not there yet: until it is, Envoys are told so");
    }
    let place = arguments.address.listen(&arguments.tls)?;
    let server = tollgate_ratelimit::serve(&limits, place, workers(arguments.workers))
        .with_context(|| format!("cannot listen on {}", arguments.address))?;
    let ready = Arc::new(AtomicBool::new(true));
    let state = AdminState {
        usage: None,
        metrics: {
            let limits = limits.clone();
            Arc::new(move || limits.metrics_text())
        },
        rate_limits: Some(pages(limits)),
        ready: Arc::clone(&ready),
        config: Arc::new(|| "{}".to_owned()),
        xds: None,
    };
    let admin = admin::serve(arguments.admin_address, state)
        .with_context(|| format!("cannot listen on the admin address {}", arguments.admin_address))?;
    let at = server.address().map_or_else(|| arguments.address.to_string(), |address| address.to_string());
    let took = began.elapsed().as_millis();
    writeln!(std::io::stderr(), "limits rates on {at} (admin http://{}) after {took} ms", admin.address())?;
    let signal = runtime.block_on(signals.next());
    tracing::info!(signal, "finishing what runs");
    ready.store(false, Ordering::Relaxed);
    server.stop(GRACE);
    Ok(ExitCode::SUCCESS)
}

/// What is answered over HTTP, at the address for operators.
fn pages(limits: RateLimits) -> RateLimitPages {
    let asked = limits.clone();
    RateLimitPages {
        json: Arc::new(move |body| {
            let limits = asked.clone();
            Box::pin(async move { limits.answer_json(&body).await })
        }),
        config: Arc::new(move || limits.config_text()),
    }
}

fn quotas(arguments: &RatelimitArguments) -> Result<Quotas> {
    let Some(url) = &arguments.redis else { return Ok(Quotas::default()) };
    let mut settings = RedisSettings::new(RedisPlace::parse(url)?);
    if let Some(file) = &arguments.redis_ca {
        settings.authorities =
            Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(Quotas::in_redis(&settings)?)
}
