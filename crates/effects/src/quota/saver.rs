//! A thread that saves the counters in memory, so that they survive the process but for its last second.
//!
//! It has a copy of what is settled, and asks for what has changed, a few counters at a time: whoever counts meanwhile waits for those at most.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tollgate_config::bundle::Window;
use tollgate_policy::quota::Counter;

use super::memory::{Memory, Name};
use super::saved;
use super::tally::Tally;
use crate::clock;

/// The pause before something is saved, and how much longer it is for each counter: a file of very many takes its time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_FOR_EACH: Duration = Duration::from_micros(10);

/// How many counters are asked for at a time.
const ASKED_AT_ONCE: usize = 64;

/// The thread, which ends when this is dropped.
pub(super) struct Saver {
    wanted: mpsc::Sender<oneshot::Sender<()>>,
}

impl Saver {
    /// Fills `memory` with what is saved in `folder`, and saves there from now on. What cannot be read is passed over, and the log says so.
    ///
    /// # Errors
    /// If there is no thread.
    pub(super) fn start(folder: &Path, memory: Arc<Memory>, tally: Arc<Tally>) -> io::Result<Self> {
        let counters = saved::read(folder, now_ms()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the counters of limits begin anew");
            Vec::new()
        });
        let settled = counters.iter().cloned().collect();
        memory.save_from(counters);
        let folder = folder.to_owned();
        let work = Work { folder, memory, tally, settled, is_failing: false };
        let (wanted, wants) = mpsc::channel();
        std::thread::Builder::new().name("quota-saver".to_owned()).spawn(move || work.run(&wants))?;
        Ok(Self { wanted })
    }

    /// Waits for at most so long until what is settled by now is saved.
    pub(super) async fn flush(&self, within: Duration) {
        let (saved, is_saved) = oneshot::channel();
        if self.wanted.send(saved).is_ok() {
            // Whoever cannot save says so in the log.
            let _ = tokio::time::timeout(within, is_saved).await;
        }
    }
}

/// What the thread knows.
struct Work {
    folder: PathBuf,
    memory: Arc<Memory>,
    tally: Arc<Tally>,
    /// All that is to be in the file.
    settled: HashMap<Name, Counter>,
    /// Whether it could not be written the last time.
    is_failing: bool,
}

impl Work {
    fn run(mut self, wants: &Receiver<oneshot::Sender<()>>) {
        loop {
            let counters = u32::try_from(self.settled.len()).unwrap_or(u32::MAX);
            match wants.recv_timeout(PAUSE.saturating_add(PAUSE_FOR_EACH.saturating_mul(counters))) {
                Ok(saved) => {
                    self.save();
                    // Whoever wanted it may not wait any more.
                    let _ = saved.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.save(),
                Err(RecvTimeoutError::Disconnected) => return self.save(),
            }
        }
    }

    fn save(&mut self) {
        let changed: Vec<Name> = self.memory.changed().into_iter().filter(is_lasting).collect();
        if changed.is_empty() && !self.is_failing {
            return;
        }
        for names in changed.chunks(ASKED_AT_ONCE) {
            let counters = self.memory.settled(names);
            self.settled.extend(names.iter().cloned().zip(counters));
        }
        let now_ms = now_ms();
        self.settled.retain(|_, counter| !counter.is_empty() && counter.end_ms() > now_ms);
        match saved::write(&self.folder, self.settled.iter()) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.tally.unsaved();
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "the counters of limits cannot be saved");
                }
            }
        }
    }
}

/// What is in flight dies with the process.
fn is_lasting(name: &Name) -> bool {
    *name.window != Window::InFlight
}

fn now_ms() -> u64 {
    let since = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
