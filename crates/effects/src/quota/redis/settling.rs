//! What is still to be put right in a Redis: a bounded queue, and the task that works it off.
//!
//! What is tried twice counts once. Nothing leaves the queue without being counted, as settled or as lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{ErrorKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tollgate_policy::quota::{Claim, Span};
use tollgate_terms::AttemptId;

use super::link::Link;
use super::script::{Believes, Form, Names};
use crate::quota::tally::Tally;
use crate::quota::{StoreFailure, Unsettled};

/// How many are sent at once.
const BATCH: usize = 64;

/// How long a batch may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long it is tried to settle something.
const TRIED_MAX: Duration = Duration::from_secs(5 * 60);

/// The shortest and the longest time between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What of one attempt is to be put right.
pub(in crate::quota) struct Settlement {
    pub(in crate::quota) id: AttemptId,
    pub(in crate::quota) lines: Vec<Line>,
    /// Whether its gateway knows that the attempt had taken what it wanted to.
    pub(in crate::quota) surely_taken: bool,
    pub(super) believes: Believes,
    queued_at: Instant,
}

/// One claim that is to be put right.
pub(in crate::quota) struct Line {
    pub(in crate::quota) claim: Claim,
    /// What was used.
    pub(in crate::quota) actual: u64,
    /// Where it was taken.
    pub(in crate::quota) then: Span,
    /// Where more is charged.
    pub(in crate::quota) charged: Span,
    /// When the attempt was over.
    pub(in crate::quota) now: Span,
}

/// What is to be put right.
pub(in crate::quota) struct Settling {
    queue: Mutex<Queue>,
    settlements_max: usize,
    filled: Notify,
    emptied: Notify,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Settlement>>,
    /// They are being sent; whoever takes up the work finds them here.
    sending: Vec<Arc<Settlement>>,
    is_closed: bool,
}

impl Settlement {
    pub(in crate::quota) fn new(id: AttemptId, lines: Vec<Line>, surely_taken: bool) -> Self {
        // Its mark is there as long as it says, by the clock of the attempt.
        let aged =
            |line: &Line| line.now.now_ms.saturating_sub(line.then.now_ms) >= super::script::MARK_MS / 2;
        let believes =
            if surely_taken && lines.iter().any(aged) { Believes::Gateway } else { Believes::Mark };
        Self { id, lines, surely_taken, believes, queued_at: Instant::now() }
    }
}

impl Settling {
    /// For at most so many at once.
    pub(super) fn new(settlements_max: usize, tally: Arc<Tally>) -> Self {
        Self {
            queue: Mutex::default(),
            settlements_max,
            filled: Notify::new(),
            emptied: Notify::new(),
            tally,
        }
    }

    /// Never waits. What there is no room for is lost, and told.
    pub(in crate::quota) fn push(&self, settlement: Settlement) {
        let mut queue = self.lock();
        if queue.is_closed {
            drop(queue);
            return self.lose(&settlement, Unsettled::Ended);
        }
        if queue.waiting.len() + queue.sending.len() >= self.settlements_max {
            drop(queue);
            return self.lose(&settlement, Unsettled::Full);
        }
        queue.waiting.push_back(Arc::new(settlement));
        drop(queue);
        self.filled.notify_one();
    }

    /// How many there are.
    pub(in crate::quota) fn depth(&self) -> usize {
        let queue = self.lock();
        queue.waiting.len() + queue.sending.len()
    }

    /// How old the oldest is.
    pub(in crate::quota) fn oldest(&self) -> Duration {
        let queue = self.lock();
        let all = queue.sending.iter().chain(&queue.waiting);
        all.map(|settlement| settlement.queued_at.elapsed()).max().unwrap_or_default()
    }

    /// Waits until there is none any more, for at most so long. What is left then is lost, and told.
    pub(in crate::quota) async fn flush(&self, within: Duration) {
        let emptied = async {
            loop {
                let emptied = self.emptied.notified();
                if self.depth() == 0 {
                    return;
                }
                emptied.await;
            }
        };
        if timeout(within, emptied).await.is_ok() {
            return;
        }
        let mut queue = self.lock();
        queue.is_closed = true;
        let left: Vec<_> = queue.waiting.drain(..).collect();
        let sending = std::mem::take(&mut queue.sending);
        drop(queue);
        for settlement in left.iter().chain(&sending) {
            self.lose(settlement, Unsettled::Ended);
        }
    }

    fn lose(&self, settlement: &Settlement, why: Unsettled) {
        for line in &settlement.lines {
            let taken = if settlement.surely_taken { line.claim.take } else { 0 };
            self.tally.unsettled(why, line.claim.unit, line.actual.saturating_sub(taken));
            self.tally.kept(line.claim.unit, taken.saturating_sub(line.actual));
        }
    }

    /// Works the queue off for ever.
    pub(super) async fn work(&self, link: &Link, names: &Names) {
        let mut pause = PAUSE_MIN;
        loop {
            let filled = self.filled.notified();
            let batch = self.take();
            if batch.is_empty() {
                filled.await;
                continue;
            }
            if self.send(&batch, link, names).await {
                pause = PAUSE_MIN;
            } else {
                sleep(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// The next batch. What was being sent and never answered comes first.
    fn take(&self) -> Vec<Arc<Settlement>> {
        let mut queue = self.lock();
        while queue.sending.len() < BATCH
            && let Some(next) = queue.waiting.pop_front()
        {
            queue.sending.push(next);
        }
        queue.sending.clone()
    }

    /// Sends a batch; whether all of it is settled or lost.
    async fn send(&self, batch: &[Arc<Settlement>], link: &Link, names: &Names) -> bool {
        let sent = batch.iter().map(|settlement| async move {
            let settled = settle(settlement, link, names).await;
            self.sort_out(settlement, settled)
        });
        join_all(sent).await.into_iter().all(|is_over| is_over)
    }

    /// Whether a settlement is over.
    fn sort_out(&self, settlement: &Arc<Settlement>, settled: Result<(), Failure>) -> bool {
        let lost = match settled {
            Ok(()) => None,
            Err(Failure::Never) => Some(Unsettled::Refused),
            Err(Failure::NotNow) if settlement.queued_at.elapsed() > TRIED_MAX => Some(Unsettled::Expired),
            Err(Failure::NotNow) => return false,
        };
        // It may have been given up meanwhile, and counted as lost.
        if !self.remove(settlement) {
            return true;
        }
        match lost {
            Some(why) => self.lose(settlement, why),
            None => {
                let lines = &settlement.lines;
                lines.iter().for_each(|line| self.tally.settled(line.claim.unit, line.actual));
            }
        }
        true
    }

    fn remove(&self, settlement: &Arc<Settlement>) -> bool {
        let mut queue = self.lock();
        let before = queue.sending.len();
        queue.sending.retain(|other| !Arc::ptr_eq(other, settlement));
        let is_removed = queue.sending.len() < before;
        if queue.sending.is_empty() && queue.waiting.is_empty() {
            self.emptied.notify_waiters();
        }
        is_removed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why something is not settled.
enum Failure {
    NotNow,
    Never,
}

async fn settle(settlement: &Settlement, link: &Link, names: &Names) -> Result<(), Failure> {
    let used = link.connection().map_err(|_: StoreFailure| Failure::NotNow)?;
    let command = |form| names.settle(form, &settlement.id, settlement.believes, &settlement.lines);
    let asking = async {
        let mut connection = used.connection.clone();
        match connection.ask(&command(Form::Hash)).await {
            Err(error) if error.kind() == ErrorKind::NoScriptError => {
                connection.ask(&command(Form::Text)).await
            }
            answered => answered,
        }
    };
    match timeout(ANSWER_MAX, asking).await {
        Ok(Ok(Value::Int(_))) => {
            link.well();
            Ok(())
        }
        Ok(Ok(_)) => Err(Failure::Never),
        Ok(Err(error)) => {
            link.judge(&used, &error);
            Err(if is_final(&error) { Failure::Never } else { Failure::NotNow })
        }
        Err(_) => {
            link.late();
            Err(Failure::NotNow)
        }
    }
}

/// Whether a server will say the same the next time: something is wrong with the script, or with what is under its keys.
fn is_final(error: &RedisError) -> bool {
    error.kind() == ErrorKind::ResponseError || matches!(error.code(), Some("WRONGTYPE"))
}
