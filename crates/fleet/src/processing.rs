//! The external processor as a part of its own: it serves what it is given, and ends when its exchanges have.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tollgate_config::Snapshot;
use tollgate_effects::quota::Quotas;
use tollgate_effects::{Credentials, Secrets};
use tollgate_envoy::grpc;
use tollgate_extproc::{Processor, Serving};
use tollgate_telemetry::Telemetry;

use crate::resources::snapshot_id;

/// How long requests that are cut off may take to say so.
const CUT_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether something still runs.
const GLANCE: Duration = Duration::from_millis(20);

/// An external processor at work.
pub struct Processing {
    processor: Processor,
    /// Until it is stopped.
    server: Mutex<Option<grpc::Server>>,
    address: Option<SocketAddr>,
}

impl Processing {
    /// Answers Envoys at `listen`, on so many threads.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn start(
        listen: impl Into<grpc::Place>,
        workers: usize,
        snapshot: Arc<Snapshot>,
        secrets: Secrets,
        (telemetry, quotas): (Arc<Telemetry>, Quotas),
    ) -> Result<Self> {
        let processor = Processor::new(serving(snapshot, &secrets, None)?, telemetry, quotas);
        let listen = listen.into();
        let place = listen.to_string();
        let server = tollgate_extproc::serve(&processor, listen, workers)
            .with_context(|| format!("cannot listen for an Envoy on {place}"))?;
        let address = server.address();
        Ok(Self { processor, server: Mutex::new(Some(server)), address })
    }

    /// Serves another configuration too, to Envoys that name it.
    ///
    /// # Errors
    /// Never in practice: when the configuration cannot be written as JSON.
    pub fn reload(&self, snapshot: Arc<Snapshot>, secrets: Secrets) -> Result<()> {
        let before = self.processor.newest();
        self.processor.publish(serving(snapshot, &secrets, Some(&before.credentials))?);
        Ok(())
    }

    /// Where it listens, if not on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more requests, and lets running ones finish, at most for `grace`; false when some were cut off.
    pub async fn stop(&self, grace: Duration) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopping = server.map(|server| std::thread::spawn(move || server.stop(grace + CUT_MAX)));
        let finished = self.drain(grace).await;
        if let Some(stopping) = stopping
            && stopping.join().is_err()
        {
            tracing::error!("the thread that stops the external processor panicked");
        }
        finished
    }

    /// Lets running requests finish, at most for `grace`; false when some were cut off.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        if tokio::time::timeout(grace, self.idle()).await.is_ok() {
            return true;
        }
        self.processor.cut();
        // What they say to their clients has to get there.
        let _ = tokio::time::timeout(CUT_MAX, self.idle()).await;
        false
    }

    /// The value of a probe's header.
    pub(crate) fn probe(&self) -> &str {
        self.processor.probe()
    }

    /// Returns when nothing runs any more.
    async fn idle(&self) {
        while self.processor.running() > 0 {
            tokio::time::sleep(GLANCE).await;
        }
    }
}

fn serving(snapshot: Arc<Snapshot>, secrets: &Secrets, before: Option<&Credentials>) -> Result<Serving> {
    let credentials = Credentials::new(snapshot.bundle(), secrets, before);
    Ok(Serving { id: snapshot_id(snapshot.bundle())?, snapshot, credentials })
}
