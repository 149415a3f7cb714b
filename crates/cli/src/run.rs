//! `tollgate run`: serves a configuration, follows its changes, and drains at the end.

use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tollgate_config::Bundle;
use tollgate_telemetry::AccessLog;

use crate::account::Place;
use crate::anonymous::Anonymous;
use crate::arguments::{Plane, RunArguments};
use crate::counters::Counters;
use crate::follow::{Follower, complaints, log};
use crate::keeper::Keeper;
use crate::load::Loaded;
use crate::origin::{Origin, Port};
use crate::paint::Paint;
use crate::place::Spot;
use crate::prices;
use crate::server::{Part, Server, ServerOptions};
use crate::signals::Signals;
use crate::watch::Watch;

/// What is to be served, and how.
pub(crate) struct Start {
    pub(crate) origin: Origin,
    /// Files of prices.
    pub(crate) prices: Vec<PathBuf>,
    pub(crate) keeper: Keeper,
    /// Of Gateways that name none.
    pub(crate) default_address: IpAddr,
    pub(crate) anonymous: Anonymous,
    /// Instead of those of the listeners.
    pub(crate) port: Option<u16>,
    pub(crate) options: ServerOptions,
    pub(crate) drain_timeout: Duration,
}

/// Runs until a signal.
///
/// # Errors
/// When there is nothing to serve, or it cannot be served.
pub(crate) fn run(arguments: &RunArguments, began: Instant, paint: Paint) -> Result<ExitCode> {
    let service = arguments.rate_limit_service.as_ref();
    let authentication = arguments.envoy_authentication.as_slice();
    let part = match arguments.data_plane {
        Plane::Embedded if service.is_some() => {
            bail!("--rate-limit-service is for --data-plane envoy: this process counts by itself")
        }
        Plane::Embedded if !authentication.is_empty() => {
            bail!("--envoy-authentication is for --data-plane envoy: this process looks at callers by itself")
        }
        Plane::Embedded => Part::Embedded,
        Plane::Envoy => Part::Envoy {
            program: tollgate_fleet::find_envoy(arguments.envoy.as_deref())?,
            rate_limits: service.map(Spot::nearby).transpose()?,
        },
    };
    let start = Start {
        origin: Origin::choose(arguments)?,
        prices: arguments.requests.prices.clone(),
        keeper: Keeper::of(service, authentication),
        default_address: arguments.address,
        anonymous: if arguments.allow_anonymous { Anonymous::Allowed } else { Anonymous::Refused },
        port: arguments.port,
        options: ServerOptions {
            admin_address: arguments.admin_address,
            access_log: access_log(&arguments.requests.access_log),
            workers: workers(arguments.requests.workers),
            counters: Counters::of(&arguments.requests.counters),
            ledger: Place::of(&arguments.requests.ledger),
            part,
        },
        drain_timeout: arguments.requests.drain_timeout,
    };
    serve(start, began, paint)
}

/// Serves until a signal, whichever part of the gateway it is.
///
/// # Errors
/// When there is nothing to serve, or it cannot be served.
pub(crate) fn serve(start: Start, began: Instant, paint: Paint) -> Result<ExitCode> {
    let Start { origin, prices, keeper, default_address, anonymous, port, options, drain_timeout } = start;
    // Before the files are read, so that no change falls between.
    let watch = match &origin {
        Origin::Paths(paths) => Some(Watch::new([&paths[..], &prices].concat())),
        Origin::Environment(_) if prices.is_empty() => None,
        Origin::Environment(_) => Some(Watch::new(prices.clone())),
    };
    let mut loaded = origin.load(default_address);
    prices::take_in(&prices, &mut loaded);
    keeper.take_in(&mut loaded);
    let port = Port::choose(port, default_address, &loaded.bundle)?;
    let configuration = port.compile(&mut loaded);
    show(&loaded, paint)?;
    if loaded.is_unreadable {
        bail!("nothing is served: the configuration cannot be read");
    }
    if configuration.snapshot.bundle().listeners.is_empty() {
        bail!("nothing is served: expected a Gateway with a listener");
    }
    if let Err(reason) = anonymous.check(configuration.snapshot.bundle()) {
        bail!("nothing is served: {reason}");
    }
    let known = complaints(&configuration.findings);
    let files = std::mem::take(&mut loaded.files);
    // The keys of callers stand in it, of which only hashes are to be kept.
    drop(loaded);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let signals = Signals::take()?;
    let snapshot = Arc::clone(&configuration.snapshot);
    let server = Arc::new(Server::start(options, configuration)?);
    tell_ready(&server, snapshot.bundle(), began)?;
    let following = watch.map(|mut watch| {
        watch.follow(files);
        let server = Arc::clone(&server);
        Follower { watch, origin, prices, keeper, default_address, anonymous, port, known, server }.start()
    });
    let code = runtime.block_on(until_signal(&server, signals, drain_timeout));
    if let Some(following) = following {
        following.stop();
    }
    Ok(code)
}

/// Where the access log goes, as it is said on the command line.
pub(crate) fn access_log(said: &str) -> AccessLog {
    match said {
        "off" => AccessLog::Off,
        "stdout" | "-" => AccessLog::Stdout,
        path => AccessLog::File(path.into()),
    }
}

/// How many threads serve.
pub(crate) fn workers(wanted: Option<NonZeroUsize>) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(cores, usize::from)
}

/// Shows what is wrong at the start: to a person as `check` does, to a log without the lines themselves.
fn show(loaded: &Loaded, paint: Paint) -> Result<()> {
    if !std::io::stderr().is_terminal() {
        log(&loaded.findings);
        return Ok(());
    }
    let mut text = String::new();
    for finding in &loaded.findings {
        finding.write(&mut text, &loaded.sources, paint);
    }
    std::io::stderr().write_all(text.as_bytes())?;
    Ok(())
}

fn tell_ready(server: &Server, bundle: &Bundle, began: Instant) -> Result<()> {
    let (what, admin) = (server.describe(bundle), server.admin_address());
    let took = began.elapsed().as_millis();
    writeln!(std::io::stderr(), "{what} (admin http://{admin}) after {took} ms")?;
    Ok(())
}

async fn until_signal(server: &Server, mut signals: Signals, drain_timeout: Duration) -> ExitCode {
    let signal = signals.next().await;
    tracing::info!(signal, "finishing what runs; a second signal ends at once");
    tokio::select! {
        finished = server.drain(drain_timeout) => {
            if finished {
                return ExitCode::SUCCESS;
            }
            tracing::warn!("requests were cut off: they took longer than --drain-timeout");
            ExitCode::FAILURE
        }
        signal = signals.next() => {
            tracing::warn!(signal, "ending at once");
            std::process::exit(1)
        }
    }
}
