//! Envoy as a child: started, started again when it dies, and ended with us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::folder;

/// How often it is looked whether Envoy still runs.
const GLANCE: Duration = Duration::from_millis(50);

/// How long nothing is done after Envoy has died: short at first, and longer the more often it happens.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Runs longer than this are not counted as failed starts.
const STEADY: u32 = 200;

/// Envoy, watched by a thread.
pub(crate) struct Child {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

struct Shared {
    process: Mutex<std::process::Child>,
    ended: Mutex<Option<ExitStatus>>,
    /// No start any more when it dies.
    stopping: AtomicBool,
    /// It is to be ended now.
    ending: AtomicBool,
}

/// How Envoy is started.
struct Start {
    /// The program, behind what launches it.
    command: Vec<OsString>,
    bootstrap: PathBuf,
    workers: usize,
}

impl Child {
    /// Starts Envoy with this bootstrap.
    pub(crate) fn start(command: Vec<OsString>, bootstrap: &Path, workers: usize) -> Result<Self> {
        let start = Start { command, bootstrap: bootstrap.to_owned(), workers };
        let shared = Arc::new(Shared {
            process: Mutex::new(start.spawn()?),
            ended: Mutex::new(None),
            stopping: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let watcher = thread::spawn(move || watch(&watched, &start));
        Ok(Self { shared, watcher: Some(watcher) })
    }

    /// Lets it run, but not be started again.
    pub(crate) fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
    }

    /// How it ended, if it has at least once.
    pub(crate) fn has_ended(&self) -> Option<ExitStatus> {
        *lock(&self.shared.ended)
    }
}

impl Start {
    fn spawn(&self) -> Result<std::process::Child> {
        let folder = self.bootstrap.parent().unwrap_or(Path::new("."));
        let (program, rest) = self.command.split_first().context("no program")?;
        Command::new(program)
            .args(rest)
            .arg("--config-path")
            .arg(&self.bootstrap)
            .arg("--admin-address-path")
            .arg(folder::admin_path(folder))
            .args(["--concurrency", &self.workers.to_string()])
            .args(["--disable-hot-restart", "--log-level", "error", "--drain-time-s", "10"])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))
    }
}

fn watch(shared: &Shared, start: &Start) {
    let (mut glances, mut pause) = (0_u32, PAUSE_MIN);
    loop {
        if shared.ending.load(Ordering::SeqCst) {
            return end(&mut lock(&shared.process));
        }
        let ended = lock(&shared.process).try_wait();
        match ended {
            Ok(None) | Err(_) => thread::sleep(GLANCE),
            Ok(Some(status)) => {
                *lock(&shared.ended) = Some(status);
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                pause = if glances > STEADY { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                tracing::error!(%status, ?pause, "Envoy has ended, and is started again");
                thread::sleep(pause);
                match start.spawn() {
                    Ok(process) => *lock(&shared.process) = process,
                    Err(error) => tracing::error!(error = format!("{error:#}"), "Envoy cannot be started"),
                }
                glances = 0;
            }
        }
        glances = glances.saturating_add(1);
    }
}

fn end(process: &mut std::process::Child) {
    // An error means that it has ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
        self.shared.ending.store(true, Ordering::SeqCst);
        if let Some(watcher) = self.watcher.take()
            && watcher.join().is_err()
        {
            tracing::error!("the thread that watches Envoy panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
