//! The access log: lines go into a bounded queue, and one thread writes them in batches.
//!
//! A request never waits for it. When the writer cannot keep up, because a disk is slow or nobody reads the pipe, the
//! queue fills and further lines are dropped and counted.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tollgate_exchange::Summary;

use crate::access_line::Line;

/// Bytes of lines that wait to be written.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Memory that the queue keeps when it is empty.
const IDLE_BYTES_MAX: usize = 256 << 10;

/// How long lines are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(5);

/// How long the end of the program waits for the last lines.
const LAST_LINES_PATIENCE: Duration = Duration::from_secs(1);

/// Where the access log goes.
#[derive(Debug, Clone)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
    /// To whoever receives: one or more whole lines at a time.
    Channel(SyncSender<Vec<u8>>),
}

/// The queue and its thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    dropped: Counter,
    _thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread: there are lines, or the end has come.
    filled: Condvar,
    /// Wakes those who wait until everything is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: u64,
    /// The thread waits for `filled`: whoever adds a line has to wake it.
    writer_sleeps: bool,
    /// The thread is writing what it took.
    writing: bool,
    closing: bool,
}

thread_local! {
    /// Where a line is put together, so that the queue is locked for a copy only.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Writer {
    /// Opens the log and starts its thread; `None` when there is to be no log.
    pub(crate) fn start(target: &AccessLog, dropped: Counter) -> io::Result<Option<Self>> {
        let out = match target {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Output::Stdout(io::stdout()),
            AccessLog::File(path) => Output::File(OpenOptions::new().create(true).append(true).open(path)?),
            AccessLog::Channel(sender) => Output::Channel(sender.clone()),
        };
        Self::run(out, dropped).map(Some)
    }

    fn run(mut out: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (queue, lost) = (Arc::clone(&shared), dropped.clone());
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || queue.drain(&mut out, &lost))?;
        Ok(Self { shared, dropped, _thread: thread })
    }

    /// Puts the line of `summary` into the queue.
    pub(crate) fn write(&self, summary: &Summary) {
        SCRATCH.with_borrow_mut(|line| {
            line.clear();
            if serde_json::to_writer(&mut *line, &Line::new(summary)).is_err() {
                self.dropped.inc();
                return;
            }
            line.push(b'\n');
            if !self.shared.push(line) {
                self.dropped.inc();
            }
        });
    }

    /// Waits until everything queued is written, at most `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let queue = self.shared.lock();
        let busy = |queue: &mut Queue| !queue.bytes.is_empty() || queue.writing;
        drop(self.shared.emptied.wait_timeout_while(queue, patience, busy));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.filled.notify_all();
        // Not joined: a pipe that nobody reads must not keep the program from ending.
        self.flush(LAST_LINES_PATIENCE);
    }
}

impl Shared {
    /// Adds a line; false when there is no room.
    fn push(&self, line: &[u8]) -> bool {
        let mut queue = self.lock();
        if queue.bytes.len() + line.len() > QUEUE_BYTES_MAX {
            return false;
        }
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        let wake = std::mem::take(&mut queue.writer_sleeps);
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
        true
    }

    /// The thread: writes what comes until the end has come.
    fn drain(&self, out: &mut impl Write, dropped: &Counter) {
        let mut taken = Vec::new();
        while let Some(lines) = self.take(&mut taken) {
            if let Err(error) = out.write_all(&taken).and_then(|()| out.flush()) {
                dropped.inc_by(lines);
                tracing::warn!(%error, lines, "lines of the access log are lost");
            }
            taken.clear();
            taken.shrink_to(IDLE_BYTES_MAX);
            let mut queue = self.lock();
            queue.writing = false;
            if queue.bytes.is_empty() {
                self.emptied.notify_all();
            }
        }
    }

    /// Waits for lines, gathers for a moment, and takes them all; tells how many. `None` at the end.
    fn take(&self, taken: &mut Vec<u8>) -> Option<u64> {
        let mut queue = self.lock();
        while queue.bytes.is_empty() {
            if queue.closing {
                return None;
            }
            queue.writer_sleeps = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_sleeps = false;
        let open = |queue: &mut Queue| !queue.closing;
        let gathered = self.filled.wait_timeout_while(queue, GATHER, open);
        let mut queue = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(taken, &mut queue.bytes);
        queue.writing = true;
        Some(std::mem::take(&mut queue.lines))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the thread writes.
enum Output {
    Stdout(io::Stdout),
    File(File),
    Channel(SyncSender<Vec<u8>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
            Self::Channel(out) => {
                out.send(bytes.to_vec()).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(out) => out.flush(),
            Self::Channel(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only when allowed to.
    struct Slow(mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_dropped_when_nobody_reads_and_kept_again_when_somebody_does() {
        let (allow, allowed) = mpsc::channel();
        let writer = Writer::run(Slow(allowed), Counter::default()).expect("a thread");
        let line = vec![b'x'; 1 << 20];
        let kept = (0..32).filter(|_| writer.shared.push(&line)).count();
        assert!((4..=9).contains(&kept), "{kept}");
        (0..64).for_each(|_| allow.send(()).expect("the writer"));
        writer.flush(Duration::from_secs(5));
        assert!(writer.shared.push(&line));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (allow, allowed) = mpsc::channel::<()>();
        drop(allow);
        let dropped = Counter::default();
        let writer = Writer::run(Slow(allowed), dropped.clone()).expect("a thread");
        assert!(writer.shared.push(b"a\n") && writer.shared.push(b"b\n"));
        writer.flush(Duration::from_secs(5));
        assert_eq!(dropped.get(), 2);
    }
}
