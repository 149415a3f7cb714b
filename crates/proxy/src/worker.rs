//! One worker thread: a runtime, its listening sockets, its pools.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tollgate_effects::quota::Quotas;
use tollgate_telemetry::Telemetry;

use crate::connection;
use crate::date::Date;
use crate::drain::Drain;
use crate::gateway::Options;
use crate::listen;
use crate::serving::Serving;
use crate::upstream::Pools;

/// Pause after a failed accept: running out of file descriptors must not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often unused connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What one worker thread has, and what it shares with the others.
pub(crate) struct Worker {
    serving: Arc<ArcSwap<Serving>>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) quotas: Quotas,
    pub(crate) drain: Arc<Drain>,
    pub(crate) pools: Pools,
    pub(crate) date: Date,
    pub(crate) request_head_timeout: Duration,
    pub(crate) request_body_timeout: Duration,
}

impl Worker {
    pub(crate) fn new(
        serving: Arc<ArcSwap<Serving>>,
        telemetry: Arc<Telemetry>,
        quotas: Quotas,
        drain: Arc<Drain>,
        options: &Options,
    ) -> Self {
        Self {
            serving,
            telemetry,
            quotas,
            drain,
            pools: Pools::default(),
            date: Date::default(),
            request_head_timeout: options.request_head_timeout,
            request_body_timeout: options.request_body_timeout,
        }
    }

    /// The configuration of this moment. A request keeps the one that it began with.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Serves until the channel of changes closes.
    pub(crate) async fn run(self: Arc<Self>, mut changes: watch::Receiver<u64>) {
        let mut accepting: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        self.follow(&mut accepting);
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => self.follow(&mut accepting),
                    Err(_) => return,
                },
                _ = sweep.tick() => self.pools.sweep(),
                () = self.drain.begun() => break,
            }
        }
        for (_, task) in std::mem::take(&mut accepting) {
            task.abort();
        }
        while changes.changed().await.is_ok() {}
    }

    /// Begins and ends listening as the configuration says.
    fn follow(self: &Arc<Self>, accepting: &mut BTreeMap<SocketAddr, AbortHandle>) {
        let serving = self.serving();
        accepting.retain(|address, task| {
            let stays = serving.doors.contains_key(address);
            if !stays {
                task.abort();
            }
            stays
        });
        let bundle = serving.snapshot.bundle();
        self.pools.retain(|backend, proxy| {
            let is_known = |proxy| bundle.forward_proxies.values().any(|known| known == proxy);
            bundle.backends.contains_key(backend) && proxy.is_none_or(is_known)
        });
        for &address in serving.doors.keys() {
            if accepting.contains_key(&address) {
                continue;
            }
            match listen::bind(address) {
                Ok(listener) => {
                    let task = tokio::spawn(Arc::clone(self).accept(listener, address));
                    accepting.insert(address, task.abort_handle());
                }
                Err(error) => tracing::error!(%address, %error, "cannot listen"),
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(connection::serve(Arc::clone(&self), stream, address, peer));
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
