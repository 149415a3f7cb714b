//! The gateway with what belongs to it: telemetry, the admin address, readiness, the served configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_fleet::{Fleet, FleetOptions, Patience};
use tollgate_proxy::admin::{self, AdminHandle, AdminState};
use tollgate_proxy::{Gateway, Options};
use tollgate_telemetry::{AccessLog, Reload, Telemetry};

use crate::finding::Finding;
use crate::served::Served;

/// How long the last lines of the access log may take.
const FLUSH: Duration = Duration::from_secs(1);

/// How to serve, whatever is served.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    pub(crate) admin_address: SocketAddr,
    pub(crate) access_log: AccessLog,
    pub(crate) workers: usize,
    pub(crate) data_plane: DataPlane,
}

/// What moves the bytes.
#[derive(Debug, Clone)]
pub(crate) enum DataPlane {
    /// This process.
    Embedded,
    /// An Envoy, which is this program.
    Envoy(PathBuf),
}

/// A configuration that can be served.
pub(crate) struct Configuration {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) secrets: Secrets,
    pub(crate) findings: Vec<Finding>,
}

/// A data plane at work.
enum Plane {
    Embedded(Gateway),
    Envoy(Box<Fleet>),
}

/// Everything that runs.
pub(crate) struct Server {
    plane: Plane,
    admin: AdminHandle,
    telemetry: Arc<Telemetry>,
    ready: Arc<AtomicBool>,
    served: Served,
}

impl Server {
    /// Starts to serve `configuration`.
    ///
    /// # Errors
    /// When an address cannot be bound, or the access log cannot be opened.
    pub(crate) fn start(options: &ServerOptions, configuration: Configuration) -> Result<Self> {
        let telemetry = tollgate_telemetry::Options {
            access_log: options.access_log.clone(),
            ..tollgate_telemetry::Options::new(env!("CARGO_PKG_VERSION"))
        };
        let telemetry = Arc::new(Telemetry::new(telemetry).context("cannot open the access log")?);
        let ready = Arc::new(AtomicBool::new(false));
        let served = Served::default();
        let admin = admin::serve(options.admin_address, admin_state(&telemetry, &ready, &served))
            .with_context(|| format!("cannot listen on the admin address {}", options.admin_address))?;
        served.replace(configuration.snapshot.bundle(), &configuration.findings);
        let plane = Plane::start(options, configuration, Arc::clone(&telemetry))?;
        telemetry.reloaded(Reload::Applied, since_epoch());
        ready.store(true, Ordering::Release);
        Ok(Self { plane, admin, telemetry, ready, served })
    }

    /// Where clients connect.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.plane {
            Plane::Embedded(gateway) => gateway.addresses(),
            Plane::Envoy(fleet) => fleet.addresses(),
        }
    }

    /// Where operators look.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves `configuration` from now on; returns its version.
    ///
    /// # Errors
    /// When it cannot be served. What was served before goes on.
    pub(crate) fn reload(&self, configuration: Configuration) -> Result<u64> {
        let snapshot = Arc::clone(&configuration.snapshot);
        match &self.plane {
            Plane::Embedded(gateway) => gateway.reload(configuration.snapshot, configuration.secrets)?,
            Plane::Envoy(fleet) => fleet.reload(configuration.snapshot, configuration.secrets)?,
        }
        self.telemetry.reloaded(Reload::Applied, since_epoch());
        Ok(self.served.replace(snapshot.bundle(), &configuration.findings))
    }

    /// Notes that a new configuration was not taken.
    pub(crate) fn refused(&self) {
        self.telemetry.reloaded(Reload::Refused, since_epoch());
    }

    /// Lets running requests finish, at most for `grace`; false when some were cut off.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        self.ready.store(false, Ordering::Release);
        let finished = match &self.plane {
            Plane::Embedded(gateway) => gateway.drain(grace).await,
            Plane::Envoy(fleet) => fleet.drain(grace).await,
        };
        self.telemetry.flush(FLUSH);
        finished
    }
}

impl Plane {
    fn start(
        options: &ServerOptions,
        configuration: Configuration,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self> {
        let (snapshot, secrets) = (configuration.snapshot, configuration.secrets);
        match &options.data_plane {
            DataPlane::Embedded => {
                let options = Options::new(options.workers);
                Ok(Self::Embedded(Gateway::start(&options, snapshot, secrets, telemetry)?))
            }
            DataPlane::Envoy(envoy) => {
                let options = FleetOptions {
                    envoy: envoy.clone(),
                    workers: options.workers,
                    patience: Patience::default(),
                };
                Ok(Self::Envoy(Box::new(Fleet::start(&options, snapshot, secrets, telemetry)?)))
            }
        }
    }
}

fn admin_state(telemetry: &Arc<Telemetry>, ready: &Arc<AtomicBool>, served: &Served) -> AdminState {
    let (telemetry, served) = (Arc::clone(telemetry), served.clone());
    AdminState {
        metrics: Arc::new(move || telemetry.encode_metrics()),
        ready: Arc::clone(ready),
        config: Arc::new(move || served.text()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the clock for those who must not")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
