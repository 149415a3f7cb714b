//! The data plane under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_fleet::{Discovery, Fleet, FleetOptions, Patience, find_envoy};
use tollgate_proxy::{Gateway, Options};
use tollgate_telemetry::Telemetry;

/// How long a client may take for a request.
const SOON: Duration = Duration::from_millis(500);

/// Whether the data plane under test is an Envoy: `TOLLGATE_DATA_PLANE` is `envoy`.
#[must_use]
pub fn is_envoy() -> bool {
    match std::env::var("TOLLGATE_DATA_PLANE").as_deref() {
        Ok("envoy") => true,
        Ok("embedded") | Err(_) => false,
        Ok(other) => panic!("TOLLGATE_DATA_PLANE: expected envoy or embedded, found {other}"),
    }
}

/// A data plane at work.
pub(crate) enum Plane {
    Embedded(Gateway),
    Envoy(Box<Fleet>),
}

impl Plane {
    pub(crate) fn start(
        snapshot: Arc<Snapshot>,
        secrets: Secrets,
        telemetry: Arc<Telemetry>,
        quotas: &Quotas,
    ) -> Self {
        if is_envoy() {
            let path = std::env::var_os("TOLLGATE_ENVOY").map(PathBuf::from);
            let envoy = find_envoy(path.as_deref()).expect("an Envoy");
            let options = FleetOptions {
                launcher: Vec::new(),
                envoy,
                workers: 1,
                rate_limits: None,
                patience: Patience { head: SOON, request: SOON },
                discovery: Discovery::default(),
            };
            Self::Envoy(Box::new(
                Fleet::start(&options, snapshot, secrets, telemetry, quotas).expect("an Envoy at work"),
            ))
        } else {
            let options =
                Options { request_head_timeout: SOON, request_body_timeout: SOON, ..Options::new(1) };
            Self::Embedded(Gateway::start(&options, snapshot, secrets, telemetry, quotas).expect("a gateway"))
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Embedded(gateway) => gateway.addresses(),
            Self::Envoy(fleet) => fleet.addresses(),
        }
    }

    pub(crate) fn reload(&self, snapshot: Arc<Snapshot>, secrets: Secrets) {
        match self {
            Self::Embedded(gateway) => gateway.reload(snapshot, secrets).expect("a reload"),
            Self::Envoy(fleet) => fleet.reload(snapshot, secrets).expect("a reload"),
        }
    }

    pub(crate) fn drain(&self, grace: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        match self {
            Self::Embedded(gateway) => runtime.block_on(gateway.drain(grace)),
            Self::Envoy(fleet) => runtime.block_on(fleet.drain(grace)),
        }
    }
}
