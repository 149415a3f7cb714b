//! The Envoy data plane in one process: control plane, external processor, and an Envoy as a child.
//!
//! Started in this order, so that nothing is asked before it can answer: processor, discovery, Envoy. It is ready after a real request
//! has gone through Envoy and the processor. Stopped in the opposite order.

mod admin;
mod bootstrap;
mod child;
mod folder;
mod resources;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_envoy::grpc;
use tollgate_extproc::{Processor, Serving};
use tollgate_telemetry::Telemetry;
use tollgate_xds::Discovery;

pub use admin::reachable;
pub use tollgate_plan::envoy::Patience;

use child::Child;
use folder::Folder;
use resources::Programmed;

/// How long Envoy may take to be there, and to take a new configuration.
const START_MAX: Duration = Duration::from_secs(30);
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// How long requests that are cut off may take to say so.
const CUT_MAX: Duration = Duration::from_secs(1);

/// How often something is looked at that cannot be waited for.
const GLANCE: Duration = Duration::from_millis(20);

/// How to run an Envoy.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The program.
    pub envoy: PathBuf,
    /// Threads of Envoy, and of the processor.
    pub workers: usize,
    /// How long clients may take.
    pub patience: Patience,
}

/// The parts at work. Dropping it ends Envoy at once.
pub struct Fleet {
    // In the order in which they are dropped.
    child: Child,
    _discovery: grpc::Server,
    _processor: grpc::Server,
    control: Control,
    folder: Folder,
    patience: Patience,
}

/// What programs Envoy.
struct Control {
    processor: Processor,
    discovery: Discovery,
    served: std::sync::Mutex<Arc<Programmed>>,
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
    ) -> Result<Self> {
        let folder = Folder::new()?;
        let programmed = Programmed::new(&snapshot, &secrets, &folder.processor(), options.patience)?;
        let serving = Serving { id: programmed.id.clone(), snapshot, secrets };
        let processor = Processor::new(serving, telemetry);
        let processing = tollgate_extproc::serve(&processor, &folder.processor(), options.workers)
            .context("cannot listen for Envoy's calls")?;
        let discovery = Discovery::default();
        discovery.publish(programmed.set.clone());
        let discovering = tollgate_xds::serve(&discovery, &folder.discovery())
            .context("cannot listen for Envoy's discovery")?;
        let bootstrap = folder.write_bootstrap()?;
        let child = Child::start(&options.envoy, &bootstrap, options.workers)?;
        let control = Control { processor, discovery, served: std::sync::Mutex::new(Arc::new(programmed)) };
        let fleet = Self {
            child,
            _discovery: discovering,
            _processor: processing,
            control,
            folder,
            patience: options.patience,
        };
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
        let programmed =
            Arc::new(Programmed::new(&snapshot, &secrets, &self.folder.processor(), self.patience)?);
        let before = self.control.served();
        // First the processor, so that it knows what Envoy will name.
        self.control.processor.publish(Serving { id: programmed.id.clone(), snapshot, secrets });
        self.control.discovery.publish(programmed.set.clone());
        if let Err(error) = self.control.settled(CHANGE_MAX) {
            self.control.discovery.publish(before.set.clone());
            return Err(error);
        }
        *self.control.serving() = programmed;
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
        if tokio::time::timeout(grace, self.idle()).await.is_ok() {
            return true;
        }
        self.control.processor.cut();
        // What they say to their clients has to get there.
        let _ = tokio::time::timeout(CUT_MAX, self.idle()).await;
        false
    }

    /// Returns when nothing runs any more.
    async fn idle(&self) {
        while self.control.processor.running() > 0 {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn wait_until_ready(&self) -> Result<()> {
        let until = now() + START_MAX;
        self.control.settled(START_MAX).context("Envoy does not take its configuration")?;
        for address in self.control.served().cleartext.clone() {
            while let Err(error) = admin::goes_through(address, self.control.processor.probe()) {
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

impl Control {
    fn served(&self) -> Arc<Programmed> {
        Arc::clone(&self.serving())
    }

    fn serving(&self) -> std::sync::MutexGuard<'_, Arc<Programmed>> {
        self.served.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until Envoy has taken what it was sent.
    fn settled(&self, longest: Duration) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let settled = async { tokio::time::timeout(longest, self.discovery.settled()).await };
        match runtime.block_on(settled) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(words)) => Err(anyhow!("Envoy rejects it: {words}")),
            Err(_) => bail!("Envoy has not taken it within {} s", longest.as_secs()),
        }
    }
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
