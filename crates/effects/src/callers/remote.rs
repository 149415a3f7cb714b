//! Key sets that are fetched: again and again, ahead of their end, and early when somebody misses a key.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tollgate_exchange::authorize::{KeySet, REFETCH_S};

use super::jwk::{self, Shared};
use crate::clock;
use crate::issue::{Client, IssueError, key_set};
use crate::live::{backoff, ledger};

/// How long a fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(10);

/// However short the keys are good for, they are not fetched more often.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// However often keys are missed, they are not fetched more often for that.
const PAUSE_AFTER_MISS: Duration = Duration::from_secs(REFETCH_S);

/// How long somebody waits for keys that it has missed.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// How many wait for one key set at the same time.
const WAITING_MAX: usize = 1024;

/// A key set at an address. Dropping it ends the fetching.
pub(super) struct RemoteKeys {
    pub(super) state: watch::Receiver<Fetched>,
    wanted: Arc<Notify>,
    waiting: Semaphore,
    task: AbortHandle,
    /// Tells whether they are fetched by another way.
    pub(super) fingerprint: [u8; 32],
}

/// What is known of a key set.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// Whether the last fetch brought nothing. Nobody waits for the next one then.
    is_failing: bool,
}

impl RemoteKeys {
    /// Begins to fetch.
    pub(super) fn start(
        runtime: &Handle,
        client: Client,
        (uri, refresh): (String, Duration),
        fingerprint: [u8; 32],
    ) -> Self {
        let set = KeySet { keys: None, asked_at_s: Some(now_s()) };
        let (sender, state) = watch::channel(Fetched { set, is_failing: false });
        let wanted = Arc::new(Notify::new());
        let fetching =
            Fetching { client, uri, refresh, state: sender, wanted: Arc::clone(&wanted), failures: 0 };
        let task = runtime.spawn(fetching.run()).abort_handle();
        Self { state, wanted, waiting: Semaphore::new(WAITING_MAX), task, fingerprint }
    }

    /// Has them fetched, for somebody who misses one in `known`, and waits until they are others. Returns whether they are: not if the
    /// issuer does not answer, or if too many wait.
    pub(super) async fn renewed(&self, known: &KeySet) -> bool {
        let Ok(_waits) = self.waiting.try_acquire() else { return false };
        let mut state = self.state.clone();
        let is_over = |fetched: &Fetched| fetched.is_failing || !fetched.set.is_same(known);
        let is_wanted = !is_over(&state.borrow_and_update());
        if is_wanted {
            self.wanted.notify_one();
        }
        match tokio::time::timeout(WAIT_MAX, state.wait_for(is_over)).await {
            Ok(Ok(fetched)) => !fetched.is_failing,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Drop for RemoteKeys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task of one key set.
struct Fetching {
    client: Client,
    uri: String,
    refresh: Duration,
    state: watch::Sender<Fetched>,
    wanted: Arc<Notify>,
    /// In a row.
    failures: u32,
}

impl Fetching {
    async fn run(mut self) {
        loop {
            let fetched = tokio::time::timeout(FETCH_MAX, self.fetch()).await;
            let fetched = fetched.unwrap_or_else(|_| Err(IssueError::TooSlow { service: self.name() }));
            let wait = match fetched {
                Ok(set) => {
                    if self.failures > 0 {
                        tracing::info!(source = self.name(), "the keys of an issuer can be had again");
                    }
                    self.failures = 0;
                    ledger::succeeded(&self.name(), None);
                    self.state.send_replace(Fetched { set, is_failing: false });
                    // Up to a fifth earlier, so that many gateways do not ask at once.
                    let share = 0.9 - 0.1 * f64::from(rand::random::<u16>()) / f64::from(u16::MAX);
                    self.refresh.mul_f64(share).max(PAUSE_MIN)
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    ledger::failed(&self.name());
                    if self.failures == 1 {
                        let reason = error.to_string();
                        tracing::warn!(source = self.name(), reason, "the keys of an issuer cannot be had");
                    }
                    // Those that are known serve on.
                    self.state.send_modify(|fetched| {
                        fetched.set.asked_at_s = Some(now_s());
                        fetched.is_failing = true;
                    });
                    backoff(self.failures, rand::random())
                }
            };
            self.rest(wait).await;
        }
    }

    /// What it is called in metrics.
    fn name(&self) -> String {
        // What stands in a query may be secret.
        format!("key set {}", self.uri.split('?').next().unwrap_or_default())
    }

    async fn rest(&self, wait: Duration) {
        if self.failures > 0 {
            return tokio::time::sleep(wait).await;
        }
        // Those who have missed keys while they were fetched have them now, or come again.
        pin!(self.wanted.notified()).enable();
        let pause = wait.min(PAUSE_AFTER_MISS);
        tokio::time::sleep(pause).await;
        tokio::select! {
            () = tokio::time::sleep(wait.saturating_sub(pause)) => {}
            () = self.wanted.notified() => {}
        }
    }

    async fn fetch(&self) -> Result<KeySet, IssueError> {
        let text = key_set(&self.client, &self.uri).await?;
        let keys = jwk::parse(&text, Shared::Refused)
            .map_err(|reason| IssueError::Unreadable { service: self.name(), reason: reason.to_owned() })?;
        Ok(KeySet { keys: Some(keys), asked_at_s: Some(now_s()) })
    }
}

fn now_s() -> u64 {
    clock::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
