//! The running gateway: start, reload, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_telemetry::Telemetry;

use crate::door::{DoorError, doors};
use crate::drain::Drain;
use crate::listen;
use crate::serving::Serving;
use crate::worker::Worker;

/// How the gateway runs, whatever it serves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads, at least one.
    pub workers: usize,
    /// Longest wait for a whole request head in HTTP/1.1, and for the next one to begin.
    pub request_head_timeout: Duration,
    /// Longest wait for a whole request body.
    pub request_body_timeout: Duration,
}

impl Options {
    /// Options for so many workers. Request heads have half a minute; their bodies have five: an upload of 50 MB over a slow
    /// line takes a while.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            request_head_timeout: Duration::from_secs(30),
            request_body_timeout: Duration::from_secs(300),
        }
    }
}

/// Why the gateway does not start, or does not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An address cannot be served.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A thread or runtime cannot be made.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// The embedded data plane at work. Dropping it ends its threads at once; [`Gateway::drain`] does so gracefully.
pub struct Gateway {
    serving: Arc<ArcSwap<Serving>>,
    changes: Mutex<Option<watch::Sender<u64>>>,
    drain: Arc<Drain>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Binds every address of `snapshot` and begins to serve.
    ///
    /// # Errors
    /// When an address is taken, a certificate cannot be loaded, or a thread cannot be made.
    pub fn start(
        options: &Options,
        snapshot: Arc<Snapshot>,
        secrets: Secrets,
        telemetry: Arc<Telemetry>,
        quotas: &Quotas,
    ) -> Result<Self, GatewayError> {
        let doors = doors(&snapshot, &secrets)?;
        let _reserved = doors.keys().map(|&address| reserve(address)).collect::<Result<Vec<_>, _>>()?;
        let serving = Serving::new(snapshot, &secrets, doors, None);
        let serving = Arc::new(ArcSwap::from_pointee(serving));
        let (changes, watching) = watch::channel(0);
        let drain = Arc::new(Drain::default());
        let workers = (0..options.workers.max(1))
            .map(|number| {
                let shared = (Arc::clone(&serving), Arc::clone(&telemetry), Arc::clone(&drain));
                let worker = Worker::new(shared.0, shared.1, quotas.clone(), shared.2, options);
                spawn(number, Arc::new(worker), watching.clone())
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(GatewayError::Worker)?;
        Ok(Self { serving, changes: Mutex::new(Some(changes)), drain, workers: Mutex::new(workers) })
    }

    /// The addresses that clients can connect to.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.serving.load().doors.keys().copied().collect()
    }

    /// Serves `snapshot` from now on. Requests that have begun keep what they began with.
    ///
    /// # Errors
    /// When the new configuration cannot be served; the old one then stays.
    pub fn reload(&self, snapshot: Arc<Snapshot>, secrets: Secrets) -> Result<(), GatewayError> {
        let doors = doors(&snapshot, &secrets)?;
        let before = self.serving.load_full();
        let new = doors.keys().filter(|address| !before.doors.contains_key(*address));
        let _reserved = new.map(|&address| reserve(address)).collect::<Result<Vec<_>, _>>()?;
        self.serving.store(Arc::new(Serving::new(snapshot, &secrets, doors, Some(&before))));
        if let Some(changes) = &*lock(&self.changes) {
            changes.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    /// Stops taking connections, lets what runs finish for at most `grace`, and ends.
    ///
    /// What is still streaming then gets an in-band error. Returns whether everything finished by itself.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.drain.begin();
        let finished = tokio::time::timeout(grace, self.drain.idle()).await.is_ok();
        if !finished {
            self.drain.cut();
            // Streams have been told; give their last words a moment to leave.
            let _told = tokio::time::timeout(Duration::from_secs(1), self.drain.idle()).await;
        }
        // What the last responses wrote is still in the hands of their connections.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.stop();
        finished
    }

    fn stop(&self) {
        drop(lock(&self.changes).take());
        for worker in lock(&self.workers).drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(number: usize, worker: Arc<Worker>, changes: watch::Receiver<u64>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (started, has_started) = std::sync::mpsc::channel();
    let handle = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            let running = tokio::spawn(worker.run(changes));
            // One turn, so that the sockets listen before `start` returns.
            tokio::task::yield_now().await;
            let _ = started.send(());
            let _ = running.await;
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    })?;
    has_started.recv().map_err(io::Error::other)?;
    Ok(handle)
}

fn reserve(address: SocketAddr) -> Result<socket2::Socket, GatewayError> {
    listen::reserve(address).map_err(|error| GatewayError::Listen { address, error })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
