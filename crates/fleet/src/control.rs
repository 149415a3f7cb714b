//! The control plane: makes Envoy's resources of a configuration, and sees to it that Envoys have them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_envoy::grpc;
use tollgate_plan::envoy::Patience;
use tollgate_xds::Discovery;

use crate::resources::{Parts, Programmed};

/// How long Envoys are waited for after a change.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// How a control plane is run.
#[derive(Debug)]
pub struct ControlOptions {
    /// Where Envoys ask.
    pub listen: grpc::Place,
    /// Where they find what they ask.
    pub parts: Parts,
    /// How long clients may take.
    pub patience: Patience,
    /// The service, which others may look at.
    pub discovery: Discovery,
}

/// What has become of a configuration that Envoys were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// There was none, or one has not answered yet.
    NotYet,
    /// Every Envoy that is connected has it.
    ByAll,
}

/// A control plane at work. Dropping it ends its streams; Envoys go on with what they have.
pub struct ControlPlane {
    discovery: Discovery,
    server: grpc::Server,
    parts: Parts,
    patience: Patience,
    /// The last that was not rejected.
    served: Mutex<Arc<Programmed>>,
}

impl ControlPlane {
    /// Tells Envoys of `snapshot` from now on.
    ///
    /// # Errors
    /// When something cannot be said to Envoy, or the socket cannot be had.
    pub fn start(options: ControlOptions, snapshot: &Snapshot, secrets: &Secrets) -> Result<Self> {
        let ControlOptions { listen, parts, patience, discovery } = options;
        let programmed = Programmed::new(snapshot, secrets, &parts, patience)?;
        discovery.publish(programmed.set.clone());
        let place = listen.to_string();
        let server = tollgate_xds::serve(&discovery, listen)
            .with_context(|| format!("cannot listen for Envoys on {place}"))?;
        Ok(Self { discovery, server, parts, patience, served: Mutex::new(Arc::new(programmed)) })
    }

    /// Tells Envoys of another one, and waits for what they say.
    ///
    /// # Errors
    /// When it cannot be said to Envoy, or one that is connected rejects it. Then all are told what was served before. An Envoy that
    /// does not answer soon is no reason: others are not to wait for it.
    pub fn reload(&self, snapshot: &Snapshot, secrets: &Secrets) -> Result<Taken> {
        let longest = if self.discovery.status().nodes.is_empty() { Duration::ZERO } else { ANSWER_MAX };
        self.change(snapshot, secrets, longest, Taken::NotYet)
    }

    /// The same, for who wants at least this to become of it within `longest`.
    pub(crate) fn change(
        &self,
        snapshot: &Snapshot,
        secrets: &Secrets,
        longest: Duration,
        least: Taken,
    ) -> Result<Taken> {
        let programmed = Arc::new(Programmed::new(snapshot, secrets, &self.parts, self.patience)?);
        self.discovery.publish(programmed.set.clone());
        let taken = self.settled(longest).and_then(|taken| {
            if taken < least {
                bail!("Envoy has not taken it within {} s", longest.as_secs());
            }
            Ok(taken)
        });
        let taken = taken.inspect_err(|_| {
            self.discovery.publish(self.served().set.clone());
        })?;
        *self.serving() = programmed;
        Ok(taken)
    }

    /// Where Envoys ask, if not on a Unix socket.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.server.address()
    }

    /// What Envoys are to have.
    pub(crate) fn served(&self) -> Arc<Programmed> {
        Arc::clone(&self.serving())
    }

    /// Waits until there is an Envoy, and all have taken what they were told.
    pub(crate) fn settled(&self, longest: Duration) -> Result<Taken> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let settled = async { tokio::time::timeout(longest, self.discovery.settled()).await };
        match runtime.block_on(settled) {
            Ok(Ok(())) => Ok(Taken::ByAll),
            Ok(Err(words)) => Err(anyhow!("Envoy rejects it: {words}")),
            Err(_) => Ok(Taken::NotYet),
        }
    }

    fn serving(&self) -> MutexGuard<'_, Arc<Programmed>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
