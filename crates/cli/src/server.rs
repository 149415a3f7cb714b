//! The gateway, or a part of it, with what belongs to it: telemetry, the admin address, readiness, the served configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tollgate_config::bundle::Listener;
use tollgate_config::{Bundle, Snapshot};
use tollgate_effects::quota::{QuotaMetrics, Quotas};
use tollgate_effects::{CredentialMetrics, Secrets};
use tollgate_fleet::{
    ControlOptions, ControlPlane, Discovery, DiscoveryMetrics, Fleet, FleetOptions, Parts, Patience, Place,
    Processing, Taken, grpc,
};
use tollgate_proxy::admin::{self, AdminHandle, AdminState, TextSource};
use tollgate_proxy::{Gateway, Options};
use tollgate_telemetry::{AccessLog, Reload, Telemetry};

use crate::account::{Account, Place as LedgerPlace};
use crate::counters::Counters;
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
    /// Where the counters of limits are.
    pub(crate) counters: Counters,
    /// Where attempts are recorded, if anywhere.
    pub(crate) ledger: Option<LedgerPlace>,
    pub(crate) part: Part,
}

/// What this process is.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// The gateway, and it moves the bytes itself.
    Embedded,
    /// The gateway, and an Envoy moves the bytes.
    Envoy {
        /// It is this program.
        program: PathBuf,
        /// The rate limit service that limits were handed over to.
        rate_limits: Option<Place>,
    },
    /// What programs Envoys.
    Control {
        /// Where they ask.
        listen: grpc::Place,
        /// Where they find what they ask.
        parts: Parts,
    },
    /// The external processor.
    Processor(grpc::Place),
}

/// A configuration that can be served.
pub(crate) struct Configuration {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) secrets: Secrets,
    pub(crate) findings: Vec<Finding>,
}

/// A part at work.
enum Working {
    Embedded(Gateway),
    Envoy(Box<Fleet>),
    Control(Box<ControlPlane>, String),
    Processor(Processing, String),
}

/// Everything that runs.
pub(crate) struct Server {
    working: Working,
    admin: AdminHandle,
    telemetry: Arc<Telemetry>,
    ready: Arc<AtomicBool>,
    served: Served,
    account: Account,
    quotas: Quotas,
}

impl Server {
    /// Starts to serve `configuration`.
    ///
    /// # Errors
    /// When an address cannot be bound, or the access log cannot be opened.
    pub(crate) fn start(options: ServerOptions, configuration: Configuration) -> Result<Self> {
        let telemetry = tollgate_telemetry::Options {
            access_log: options.access_log.clone(),
            ..tollgate_telemetry::Options::new(env!("CARGO_PKG_VERSION"))
        };
        let telemetry = Telemetry::new(telemetry).context("cannot open the access log")?;
        let discovery = match options.part {
            Part::Envoy { .. } | Part::Control { .. } => Some(Discovery::default()),
            Part::Embedded | Part::Processor(_) => None,
        };
        let account = Account::open(options.ledger.clone())?;
        // The folder of the ledger is ours from here on.
        let quotas = options.counters.open(options.ledger.as_ref().map(LedgerPlace::folder))?;
        let telemetry =
            telemetry.with(Box::new(CredentialMetrics)).with(Box::new(QuotaMetrics(quotas.clone())));
        let telemetry = account.join(telemetry);
        let telemetry = Arc::new(match discovery.clone() {
            Some(discovery) => telemetry.with(Box::new(DiscoveryMetrics(discovery))),
            None => telemetry,
        });
        let ready = Arc::new(AtomicBool::new(false));
        let served = Served::default();
        let state = admin_state(&telemetry, &ready, &served, discovery.clone());
        let state = AdminState { usage: account.usage(), ..state };
        let admin = admin::serve(options.admin_address, state)
            .with_context(|| format!("cannot listen on the admin address {}", options.admin_address))?;
        served.replace(configuration.snapshot.bundle(), &configuration.findings);
        let discovery = discovery.unwrap_or_default();
        let working = Working::start(options, configuration, discovery, (Arc::clone(&telemetry), &quotas))?;
        telemetry.reloaded(Reload::Applied, since_epoch());
        ready.store(true, Ordering::Release);
        Ok(Self { working, admin, telemetry, ready, served, account, quotas })
    }

    /// Where clients connect; nowhere, if it is only a part.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.working {
            Working::Embedded(gateway) => gateway.addresses(),
            Working::Envoy(fleet) => fleet.addresses(),
            Working::Control(..) | Working::Processor(..) => Vec::new(),
        }
    }

    /// What listens where, in words.
    pub(crate) fn describe(&self, bundle: &Bundle) -> String {
        let with_tls = |address: &SocketAddr| {
            let at = |listener: &&Listener| SocketAddr::new(listener.address, listener.port) == *address;
            bundle.listeners.iter().find(at).is_some_and(|listener| listener.tls.is_some())
        };
        let url = |address: &SocketAddr| {
            let scheme = if with_tls(address) { "https" } else { "http" };
            format!("{scheme}://{address}")
        };
        match &self.working {
            Working::Embedded(_) | Working::Envoy(_) => {
                let addresses: Vec<_> = self.addresses().iter().map(url).collect();
                format!("Tollgate listening on {}", addresses.join(", "))
            }
            Working::Control(_, place) => format!("Tollgate control plane listening on {place}"),
            Working::Processor(_, place) => format!("Tollgate external processor listening on {place}"),
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
        let secrets = configuration.secrets;
        match &self.working {
            Working::Embedded(gateway) => gateway.reload(configuration.snapshot, secrets)?,
            Working::Envoy(fleet) => fleet.reload(configuration.snapshot, secrets)?,
            Working::Control(control, _) => match control.reload(&configuration.snapshot, &secrets)? {
                Taken::ByAll => {}
                Taken::NotYet => tracing::warn!("not every Envoy has taken the new configuration yet"),
            },
            Working::Processor(processing, _) => processing.reload(configuration.snapshot, secrets)?,
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
        let finished = match &self.working {
            Working::Embedded(gateway) => gateway.drain(grace).await,
            Working::Envoy(fleet) => fleet.drain(grace).await,
            // No request goes through it.
            Working::Control(..) => true,
            Working::Processor(processing, _) => processing.stop(grace).await,
        };
        self.quotas.flush(FLUSH).await;
        self.telemetry.flush(FLUSH);
        self.account.close();
        finished
    }
}

impl Working {
    fn start(
        options: ServerOptions,
        configuration: Configuration,
        discovery: Discovery,
        (telemetry, quotas): (Arc<Telemetry>, &Quotas),
    ) -> Result<Self> {
        let (snapshot, secrets) = (configuration.snapshot, configuration.secrets);
        let (workers, patience) = (options.workers, Patience::default());
        match options.part {
            Part::Embedded => {
                let options = Options::new(workers);
                Ok(Self::Embedded(Gateway::start(&options, snapshot, secrets, telemetry, quotas)?))
            }
            Part::Envoy { program: envoy, rate_limits } => {
                let launcher = vec![std::env::current_exe()?.into_os_string(), "bound".into()];
                let options = FleetOptions { envoy, launcher, workers, rate_limits, patience, discovery };
                Ok(Self::Envoy(Box::new(Fleet::start(&options, snapshot, secrets, telemetry, quotas)?)))
            }
            Part::Control { listen, parts } => {
                let place = listen.to_string();
                let options = ControlOptions { listen, parts, patience, discovery };
                let control = ControlPlane::start(options, &snapshot, &secrets)?;
                // With the port that was found, if 0 was asked for.
                let place = control.address().map_or(place, |address| address.to_string());
                Ok(Self::Control(Box::new(control), place))
            }
            Part::Processor(listen) => {
                let place = listen.to_string();
                let processing =
                    Processing::start(listen, workers, snapshot, secrets, (telemetry, quotas.clone()))?;
                let place = processing.address().map_or(place, |address| address.to_string());
                Ok(Self::Processor(processing, place))
            }
        }
    }
}

fn admin_state(
    telemetry: &Arc<Telemetry>,
    ready: &Arc<AtomicBool>,
    served: &Served,
    discovery: Option<Discovery>,
) -> AdminState {
    let (telemetry, served) = (Arc::clone(telemetry), served.clone());
    AdminState {
        usage: None,
        rate_limits: None,
        metrics: Arc::new(move || telemetry.encode_metrics()),
        ready: Arc::clone(ready),
        config: Arc::new(move || served.text()),
        xds: discovery.map(|discovery| -> TextSource { Arc::new(move || tollgate_fleet::page(&discovery)) }),
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the clock for those who must not")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
