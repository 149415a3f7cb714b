//! The thread that fetches, and the task of each credential in it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tollgate_config::bundle::Proof;

use super::renewal::{backoff, renewal};
use super::{Live, Outlook, State, ledger};
use crate::clock;
use crate::issue::{IssueError, Issued};

/// How long a fetch may take, in all of its requests.
const FETCH_MAX: Duration = Duration::from_secs(20);

/// After so many failures in a row, requests do not wait any more.
const FAILURES_MAX: u32 = 2;

/// A credential that was fetched so short a time ago is not fetched anew because a backend did not take it: one that never takes it would have a
/// token fetched for each request.
const DOUBT_MIN: Duration = Duration::from_secs(5);

/// Fetches a credential.
pub(crate) type Fetch = Box<dyn Fn() -> Fetching + Send + Sync>;

type Fetching = Pin<Box<dyn Future<Output = Result<Issued<Proof>, IssueError>> + Send>>;

/// A thread with a runtime of its own, which ends when this is dropped.
pub(crate) struct Keeper {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            // The sender is dropped at the end, and says nothing.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _end: end })
    }

    /// What runs in the thread.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Keeps what `fetch` fetches from the moment on that it is first needed. `name` is for the log. What has no end is fetched again
    /// after `endless`.
    pub(crate) fn keep(&self, name: String, endless: Duration, fetch: Fetch) -> Live {
        let (sender, state) = watch::channel(State::default());
        let wanted = Arc::new(Notify::new());
        let is_retired = Arc::new(AtomicBool::new(false));
        let doubts = Arc::new(Notify::new());
        let kept = Kept {
            name,
            endless,
            fetch,
            state: sender,
            wanted: Arc::clone(&wanted),
            is_retired: Arc::clone(&is_retired),
            doubts: Arc::clone(&doubts),
            failures: 0,
            trouble: None,
        };
        let task = self.runtime.spawn(kept.keep()).abort_handle();
        Live { state, wanted, is_retired, doubts, task }
    }
}

/// The task of one credential.
struct Kept {
    name: String,
    /// How long something without an end is taken for good.
    endless: Duration,
    fetch: Fetch,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
    is_retired: Arc<AtomicBool>,
    /// Told where a backend has not taken it.
    doubts: Arc<Notify>,
    /// In a row.
    failures: u32,
    /// What was logged last.
    trouble: Option<String>,
}

impl Kept {
    async fn keep(mut self) {
        self.needed().await;
        loop {
            let fetched = tokio::time::timeout(FETCH_MAX, (self.fetch)()).await;
            match fetched.unwrap_or_else(|_| Err(IssueError::TooSlow { service: self.name.clone() })) {
                Ok(issued) => self.rest(issued).await,
                Err(error) => self.recover(error).await,
            }
        }
    }

    /// Publishes what was fetched, and waits until it has to be renewed.
    async fn rest(&mut self, issued: Issued<Proof>) {
        let now = clock::now();
        if issued.expires_at.is_some_and(|end| end <= now) {
            let error = format!("{} gave a credential that has ended already", self.name);
            return self.recover(IssueError::Misconfigured(error)).await;
        }
        if self.trouble.take().is_some() {
            tracing::info!(source = self.name, "the credential can be had again");
        }
        self.failures = 0;
        ledger::succeeded(&self.name, issued.expires_at);
        let until = Instant::now() + renewal(now, issued.expires_at, self.endless, rand::random());
        self.state
            .send_replace(State { proof: Some((issued.value, issued.expires_at)), outlook: Outlook::Good });
        tokio::select! {
            () = tokio::time::sleep_until(until) => self.unless_retired().await,
            // Clocks differ after a sleep of the machine: somebody has found that it has ended.
            () = self.needed() => {}
            () = self.doubted() => {}
        }
    }

    /// Waits until somebody needs a credential and there is none.
    async fn needed(&self) {
        loop {
            self.wanted.notified().await;
            if self.state.borrow().proof_at(clock::now()).is_none() {
                return;
            }
        }
    }

    /// Waits until a backend does not take what was fetched just now.
    async fn doubted(&self) {
        tokio::time::sleep(DOUBT_MIN).await;
        // What was told in the meantime may be about the one before.
        let _ = self.doubts.notified().now_or_never();
        self.doubts.notified().await;
    }

    /// Returns at once, unless only those who have begun may still need the credential.
    async fn unless_retired(&self) {
        if self.is_retired.load(Ordering::Relaxed) {
            self.needed().await;
        }
    }

    /// Tells a failure, and waits for the next try.
    async fn recover(&mut self, error: IssueError) {
        self.failures = self.failures.saturating_add(1);
        ledger::failed(&self.name);
        let is_hopeless = !error.retryable() || self.failures >= FAILURES_MAX;
        let reason = error.to_string();
        if self.trouble.as_ref() != Some(&reason) {
            tracing::warn!(source = self.name, reason, "a credential cannot be had");
            self.trouble = Some(reason);
        }
        if is_hopeless {
            self.state.send_modify(|state| state.outlook = Outlook::Bad);
        }
        tokio::time::sleep(backoff(self.failures, rand::random())).await;
        self.unless_retired().await;
    }
}
