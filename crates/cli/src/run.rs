//! `tollgate run`: serves a configuration, follows its changes, and drains at the end.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use tollgate_config::Bundle;
use tollgate_config::bundle::Listener;
use tollgate_telemetry::AccessLog;

use crate::arguments::{Plane, RunArguments};
use crate::follow::{Follower, complaints, log};
use crate::load::Loaded;
use crate::origin::{Origin, Port};
use crate::paint::Paint;
use crate::server::{DataPlane, Server, ServerOptions};
use crate::signals::Signals;
use crate::watch::Watch;

/// Runs until a signal.
///
/// # Errors
/// When there is nothing to serve, or it cannot be served.
pub(crate) fn run(arguments: &RunArguments, began: Instant, paint: Paint) -> Result<ExitCode> {
    let origin = Origin::choose(arguments)?;
    // Before the files are read, so that no change falls between.
    let watch = match &origin {
        Origin::Paths(paths) => Some(Watch::new(paths.clone())),
        Origin::Environment(_) => None,
    };
    let mut loaded = origin.load(arguments.address);
    let port = Port::choose(arguments, &loaded.bundle)?;
    let configuration = port.compile(&mut loaded);
    show(&loaded, paint)?;
    if loaded.is_unreadable {
        bail!("nothing is served: the configuration cannot be read");
    }
    if configuration.snapshot.bundle().listeners.is_empty() {
        bail!("nothing is served: expected a Gateway with a listener");
    }
    let known = complaints(&configuration.findings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let signals = Signals::take()?;
    let snapshot = Arc::clone(&configuration.snapshot);
    let server = Arc::new(Server::start(&server_options(arguments)?, configuration)?);
    tell_ready(&server, snapshot.bundle(), began)?;
    let following = watch.map(|mut watch| {
        watch.follow(loaded.files);
        let (default_address, server) = (arguments.address, Arc::clone(&server));
        Follower { watch, origin, default_address, port, known, server }.start()
    });
    let code = runtime.block_on(until_signal(&server, signals, arguments));
    if let Some(following) = following {
        following.stop();
    }
    Ok(code)
}

fn server_options(arguments: &RunArguments) -> Result<ServerOptions> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let data_plane = match arguments.data_plane {
        Plane::Embedded => DataPlane::Embedded,
        Plane::Envoy => DataPlane::Envoy(tollgate_fleet::find_envoy(arguments.envoy.as_deref())?),
    };
    Ok(ServerOptions {
        admin_address: arguments.admin_address,
        access_log: match arguments.access_log.as_str() {
            "off" => AccessLog::Off,
            "stdout" | "-" => AccessLog::Stdout,
            path => AccessLog::File(path.into()),
        },
        workers: arguments.workers.map_or_else(cores, usize::from),
        data_plane,
    })
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
    let with_tls = |address: &SocketAddr| {
        let at = |listener: &&Listener| SocketAddr::new(listener.address, listener.port) == *address;
        bundle.listeners.iter().find(at).is_some_and(|listener| listener.tls.is_some())
    };
    let url = |address: &SocketAddr| {
        let scheme = if with_tls(address) { "https" } else { "http" };
        format!("{scheme}://{address}")
    };
    let addresses: Vec<_> = server.addresses().iter().map(url).collect();
    let (addresses, admin) = (addresses.join(", "), server.admin_address());
    let took = began.elapsed().as_millis();
    writeln!(std::io::stderr(), "Tollgate listening on {addresses} (admin http://{admin}) after {took} ms")?;
    Ok(())
}

async fn until_signal(server: &Server, mut signals: Signals, arguments: &RunArguments) -> ExitCode {
    let signal = signals.next().await;
    tracing::info!(signal, "finishing what runs; a second signal ends at once");
    tokio::select! {
        finished = server.drain(arguments.drain_timeout) => {
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
