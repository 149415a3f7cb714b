//! The Envoy data plane: control plane and external processor, each as a part of its own, and both in one process with an Envoy as a child.
//!
//! The whole is started in this order, so that nothing is asked before it can answer: processor, discovery, Envoy. It is ready after a real
//! request has gone through Envoy and the processor. Stopped in the opposite order.

mod admin;
mod bootstrap;
mod child;
mod control;
mod folder;
mod processing;
mod resources;
mod status;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_telemetry::Telemetry;

pub use admin::reachable;
pub use bootstrap::{bootstrap, sds};
pub use control::{ControlOptions, ControlPlane, Taken};
pub use processing::Processing;
pub use resources::{Parts, obstacles, snapshot_id, written};
pub use status::{DiscoveryMetrics, page};
pub use tollgate_envoy::grpc;
pub use tollgate_plan::envoy::{Identity, Patience, Place, Told};
pub use tollgate_xds::Discovery;

use child::Child;
use folder::Folder;

/// How long Envoy may take to be there, and to take a new configuration.
const START_MAX: Duration = Duration::from_secs(30);
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// How often something is looked at that cannot be waited for.
const GLANCE: Duration = Duration::from_millis(20);

/// How to run an Envoy.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The program.
    pub envoy: PathBuf,
    /// A command that becomes the program that follows it, and ends with us however we end; without one, an Envoy outlives us when we are
    /// killed.
    pub launcher: Vec<OsString>,
    /// Threads of Envoy, and of the processor.
    pub workers: usize,
    /// The rate limit service that limits were handed over to, if any.
    pub rate_limits: Option<Place>,
    /// How long clients may take.
    pub patience: Patience,
    /// The service that programs it, which others may look at.
    pub discovery: Discovery,
}

/// The parts at work. Dropping it ends Envoy at once.
pub struct Fleet {
    // In the order in which they are dropped.
    child: Child,
    control: ControlPlane,
    processing: Processing,
    folder: Folder,
}

impl Fleet {
    /// Starts everything and waits until it answers.
    ///
    /// # Errors
    /// When a socket or Envoy cannot be had, or Envoy rejects its configuration.
    pub fn start(
        options: &FleetOptions,
        snapshot: Arc<Snapshot>,
        secrets: Secrets,
        telemetry: Arc<Telemetry>,
        quotas: &Quotas,
    ) -> Result<Self> {
        let folder = Folder::new()?;
        let taken = snapshot.bundle().listeners.iter();
        ports_are_free(taken.map(|listener| SocketAddr::new(listener.address, listener.port)).collect())?;
        let (socket, workers) = (folder.processor(), options.workers);
        let processing = Processing::start(
            &socket,
            workers,
            Arc::clone(&snapshot),
            secrets.clone(),
            (telemetry, quotas.clone()),
        )?;
        let control = ControlOptions {
            listen: grpc::Place::from(&folder.discovery()),
            parts: Parts { processor: folder::place(&socket), rate_limits: options.rate_limits.clone() },
            patience: options.patience,
            discovery: options.discovery.clone(),
        };
        let control = ControlPlane::start(control, &snapshot, &secrets)?;
        let bootstrap = folder.write_bootstrap()?;
        let command = [&options.launcher[..], &[options.envoy.clone().into_os_string()]].concat();
        let child = Child::start(command, &bootstrap, workers)?;
        let fleet = Self { child, control, processing, folder };
        fleet.wait_until_ready()?;
        Ok(fleet)
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.control.served().addresses.clone()
    }

    /// Serves another configuration from now on.
    ///
    /// # Errors
    /// When it cannot be said to Envoy, or Envoy rejects it. What was served before goes on.
    pub fn reload(&self, snapshot: Arc<Snapshot>, secrets: Secrets) -> Result<()> {
        // First the processor, so that it knows what Envoy will name.
        self.processing.reload(Arc::clone(&snapshot), secrets.clone())?;
        self.control.change(&snapshot, &secrets, CHANGE_MAX, Taken::ByAll)?;
        Ok(())
    }

    /// Lets running requests finish, at most for `grace`; false when some were cut off.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.child.stop();
        if let Some(admin) = self.folder.admin() {
            // Both bounded by a second. Without an answer there is nothing to drain.
            let _ = admin::post(admin, "/healthcheck/fail");
            let _ = admin::post(admin, "/drain_listeners");
        }
        self.processing.drain(grace).await
    }

    fn wait_until_ready(&self) -> Result<()> {
        let until = now() + START_MAX;
        match self.control.settled(START_MAX).context("Envoy does not take its configuration")? {
            Taken::ByAll => {}
            Taken::NotYet => bail!("Envoy has not taken its configuration within {} s", START_MAX.as_secs()),
        }
        for address in self.control.served().cleartext.clone() {
            while let Err(error) = admin::goes_through(address, self.processing.probe()) {
                if now() > until {
                    return Err(error.context(format!("Envoy does not answer on {address}")));
                }
                if let Some(status) = self.child.has_ended() {
                    bail!("Envoy ended with {status} before it was ready");
                }
                thread::sleep(GLANCE);
            }
        }
        Ok(())
    }
}

/// Fails when somebody listens already: Envoy would share the port with him, and each would get some of the connections.
fn ports_are_free(addresses: BTreeSet<SocketAddr>) -> Result<()> {
    for address in addresses {
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    }
    Ok(())
}

/// The program that `path` names: as it is, or found where programs are.
pub fn find_envoy(path: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join("envoy")).find(|path| path.is_file());
    found.context("no Envoy: expected --envoy PATH, TOLLGATE_ENVOY, or a program called envoy")
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the clock for those who must not")]
fn now() -> Instant {
    Instant::now()
}
