//! Appending: a thread puts its frame in the [`Front`], which the kernel keeps, and goes on. Ten times a second, or when there is no room
//! left, all of it is written to the segment at once.
//!
//! Where the front is not kept a thread waits for the file as well. Whoever gets it first writes what all have queued; the others find
//! their own written and go on. So nobody returns before the kernel has what he brought, and nobody waits for more than two writes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_terms::{AttemptId, EntryRef, FastMap};

use crate::entry;
use crate::frame::seal;
use crate::front::Front;
use crate::names::{Names, say};
use crate::segment::{self, Position};
use crate::status::Status;

/// Most bytes that are kept while they cannot be written.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// How often a thread looks whether another one has written its frame, before it sleeps.
const GLANCES: u32 = 400;

/// Where frames are added.
#[derive(Debug)]
pub(crate) struct Appender {
    queue: Mutex<Queue>,
    tail: Mutex<Tail>,
    /// How many entries were ever taken out of the queue and written.
    written: AtomicU64,
    status: Arc<Status>,
}

#[derive(Debug)]
struct Queue {
    front: Front,
    /// How many entries were ever queued, of which names are none.
    sequence: u64,
    /// The attempts that run: the next segment begins with them.
    open: FastMap<AttemptId, Running>,
    /// What the segment has said under numbers: the next one begins with those of attempts that run.
    names: Names,
}

/// An attempt that runs.
#[derive(Debug)]
struct Running {
    frame: Vec<u8>,
    /// The number of its names; `None` where the frame says them.
    names: Option<u32>,
}

/// The segment that is written to.
#[derive(Debug)]
struct Tail {
    folder: PathBuf,
    file: Arc<File>,
    at: Position,
    /// How many entries were ever taken out of the queue.
    sequence: u64,
    /// What could not be written yet, and how many entries that is.
    backlog: Vec<u8>,
    behind: u64,
    /// Length from which the next segment is made.
    full_at: u64,
    segment_bytes: u64,
    /// Whether a part of a frame may stand behind `at`.
    is_torn: bool,
    /// Segments that are full, until the disk was asked to keep them.
    full: Vec<Arc<File>>,
}

/// What a frame is for the list of attempts that run.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// One begins, and its frame is kept until it ends. Where that is too long nothing is known of it, as of one that was never dispatched.
    Begins(&'a AttemptId),
    /// One ends. The segment to which the frame is added says what was known of it when it began; if it does not run, nothing is added.
    Ends(&'a AttemptId),
    /// The list stays as it is.
    Stands,
}

/// A frame on its way.
pub(crate) enum Entry<'a> {
    /// It is whole.
    Whole(&'a [u8]),
    /// It has no seal, and room for the number of these names.
    Numbered(&'a mut Vec<u8>, &'a [u8]),
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The kernel has it, or the disk is in trouble.
    Yes,
    /// It is the end of an attempt that does not run, and is not added.
    NotOpen,
    /// There is no number for its names: it has to say them, and is not added like this.
    NotNamed,
}

/// What became of a frame at the front.
enum Queued {
    /// It is kept.
    Kept,
    /// It has to be written, and has this number.
    Waits(u64),
    /// It is not.
    Refused(Appended),
}

impl Entry<'_> {
    fn frame(&self) -> &[u8] {
        match self {
            Self::Whole(frame) => frame,
            Self::Numbered(frame, _) => frame,
        }
    }
}

/// What the disk is to be asked to keep.
pub(crate) struct Unsynced {
    pub(crate) files: Vec<Arc<File>>,
    /// How far these go.
    pub(crate) to: Position,
    /// Whether a segment was made since.
    pub(crate) is_new: bool,
}

impl Appender {
    /// Goes on behind `at`, where `file` stands. These attempts run according to what is before, and these numbers are given.
    pub(crate) fn new(
        folder: PathBuf,
        (file, at, front): (File, Position, Front),
        segment_bytes: u64,
        status: Arc<Status>,
        (open, names): (FastMap<AttemptId, Vec<u8>>, Names),
    ) -> Self {
        let running = |(id, frame)| (id, Running { frame, names: None });
        let open = open.into_iter().map(running).collect();
        let tail = Tail {
            folder,
            file: Arc::new(file),
            at,
            sequence: 0,
            backlog: Vec::new(),
            behind: 0,
            full_at: segment_bytes,
            segment_bytes,
            is_torn: false,
            full: Vec::new(),
        };
        let queue = Queue { front, sequence: 0, open, names };
        Self { queue: Mutex::new(queue), tail: Mutex::new(tail), written: AtomicU64::new(0), status }
    }

    /// Adds a frame.
    pub(crate) fn append(&self, change: Change<'_>, mut entry: Entry<'_>) -> Appended {
        match self.queue(change, &mut entry) {
            Queued::Kept => {}
            Queued::Waits(own) => self.wait(own),
            Queued::Refused(why) => return why,
        }
        if entry.frame().is_empty() {
            self.status.lost.add(1);
        }
        Appended::Yes
    }

    /// Waits until the frame with this number is written.
    fn wait(&self, own: u64) {
        // A write takes a microsecond: to sleep until it is done would take longer.
        for _ in 0..GLANCES {
            if self.written.load(Ordering::Acquire) >= own {
                return;
            }
            if let Ok(mut tail) = self.tail.try_lock() {
                self.write_until(own, &mut tail);
                return;
            }
            std::hint::spin_loop();
        }
        self.write_until(own, &mut lock(&self.tail));
    }

    fn queue(&self, change: Change<'_>, entry: &mut Entry<'_>) -> Queued {
        loop {
            if let Some(queued) = lock(&self.queue).push(change, entry) {
                return queued;
            }
            self.write(&mut lock(&self.tail));
        }
    }

    /// Writes what is queued, unless somebody has done it as far as `own`.
    fn write_until(&self, own: u64, tail: &mut Tail) {
        if tail.sequence < own {
            self.write(tail);
        }
    }

    /// Writes what is queued, and what could not be written before.
    pub(crate) fn flush(&self) {
        self.write(&mut lock(&self.tail));
    }

    /// What has come since the last time.
    pub(crate) fn unsynced(&self) -> Unsynced {
        let mut tail = lock(&self.tail);
        let mut files = std::mem::take(&mut tail.full);
        let is_new = !files.is_empty();
        files.push(Arc::clone(&tail.file));
        Unsynced { files, to: tail.at, is_new }
    }

    fn write(&self, tail: &mut Tail) {
        let is_full = tail.at.offset >= tail.full_at;
        let carried = {
            let mut queue = lock(&self.queue);
            tail.behind += queue.sequence - tail.sequence;
            tail.sequence = queue.sequence;
            let at = tail.at;
            queue.front.take(&mut tail.backlog, at);
            // Together with the queue: what runs is what the old segment will say of it, and nothing else.
            (is_full && !tail.backlog.is_empty()).then(|| queue.carried())
        };
        if tail.backlog.is_empty() {
            return;
        }
        match tail.write_backlog() {
            Ok(bytes) => {
                self.status.bytes.add(bytes);
                self.status.write.went_well("entries are written");
            }
            Err(error) => {
                self.status.write.failed("entries cannot be written", &error);
                let mut queue = lock(&self.queue);
                // What could not be written is in plain memory alone.
                queue.names.doubt();
                if let Some(lost) = tail.bound_backlog() {
                    self.status.lost.add(lost);
                    // What has come since may refer to names that were among what is lost.
                    queue.names.frames().for_each(|frame| tail.backlog.extend(frame));
                }
            }
        }
        // While something is to be written to the old segment there is no new one: it would stand behind.
        if let Some(carried) = carried.filter(|_| tail.backlog.is_empty())
            && let Err(error) = tail.begin_segment(&carried)
        {
            self.status.write.failed("a new segment cannot be made", &error);
        }
        if tail.backlog.is_empty() {
            lock(&self.queue).front.is_written(tail.at);
        }
        self.written.store(tail.sequence, Ordering::Release);
    }
}

impl Queue {
    /// Adds a frame, and before it what says its names if nothing has; `None` if there is no room before others are taken out.
    fn push(&mut self, change: Change<'_>, entry: &mut Entry<'_>) -> Option<Queued> {
        let ending = match change {
            Change::Ends(id) => match self.open.entry_ref(id) {
                EntryRef::Occupied(ending) => Some(ending),
                EntryRef::Vacant(_) => return Some(Queued::Refused(Appended::NotOpen)),
            },
            Change::Begins(_) | Change::Stands => None,
        };
        let names = match entry {
            Entry::Whole(_) => None,
            Entry::Numbered(frame, names) => {
                let number = match self.names.number(names) {
                    Some(number) => number,
                    None => {
                        let Some(number) = self.names.unsaid(names) else {
                            return Some(Queued::Refused(Appended::NotNamed));
                        };
                        if !self.front.push(&say(number, names)) {
                            return None;
                        }
                        self.names.note(names, number);
                        number
                    }
                };
                entry::put_number(frame, number);
                seal(frame);
                Some(number)
            }
        };
        let frame = entry.frame();
        if !self.front.push(frame) {
            return None;
        }
        if let Some(ending) = ending {
            ending.remove();
        }
        self.sequence += 1;
        if let Change::Begins(id) = change
            && !frame.is_empty()
        {
            self.open.insert(id.clone(), Running { frame: frame.to_vec(), names });
        }
        Some(if self.front.is_kept() { Queued::Kept } else { Queued::Waits(self.sequence) })
    }

    /// What the next segment begins with. Other names will be said again in there.
    fn carried(&mut self) -> Vec<Vec<u8>> {
        let numbers = self.open.values().filter_map(|running| running.names).collect();
        self.names.keep(&numbers);
        self.names.frames().chain(self.open.values().map(|running| running.frame.clone())).collect()
    }
}

impl Tail {
    /// Writes what is to be written; returns how much that was.
    fn write_backlog(&mut self) -> io::Result<u64> {
        if self.is_torn {
            self.mend()?;
        }
        let length = self.backlog.len() as u64;
        if let Err(error) = (&*self.file).write_all(&self.backlog) {
            self.is_torn = true;
            self.mend()?;
            return Err(error);
        }
        self.at.offset += length;
        self.backlog.clear();
        self.behind = 0;
        Ok(length)
    }

    /// Cuts away a part of a frame, which would make all behind it unreadable.
    fn mend(&mut self) -> io::Result<()> {
        self.file.set_len(self.at.offset)?;
        (&*self.file).seek(SeekFrom::Start(self.at.offset))?;
        self.is_torn = false;
        Ok(())
    }

    /// Gives up what is too much to keep; returns how many entries that were, if it did.
    fn bound_backlog(&mut self) -> Option<u64> {
        if self.backlog.len() <= BACKLOG_BYTES_MAX {
            return None;
        }
        self.backlog = Vec::new();
        Some(std::mem::take(&mut self.behind))
    }

    fn begin_segment(&mut self, carried: &[Vec<u8>]) -> io::Result<()> {
        // If it fails, the old one grows on for a while.
        self.full_at = self.at.offset + self.segment_bytes;
        let number = self.at.segment + 1;
        let (file, offset) = segment::create(&self.folder, number, carried)?;
        self.full.push(std::mem::replace(&mut self.file, Arc::new(file)));
        self.at = Position { segment: number, offset };
        // What it was begun with is no reason to end it.
        self.full_at = offset + self.segment_bytes;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Form, Reader, Said, write_names_of_opening, write_opened};
    use crate::frame::{Frames, write_unsealed};

    fn appender(file: File, status: &Arc<Status>) -> Appender {
        let at = Position { segment: 1, offset: 0 };
        let begun = (file, at, Front::Lost(Vec::new()));
        Appender::new("/nowhere".into(), begun, 1 << 20, Arc::clone(status), Default::default())
    }

    #[test]
    fn a_full_disk_is_counted_and_what_is_too_much_is_given_up() {
        let status = Arc::new(Status::default());
        let file = File::options().write(true).open("/dev/full").expect("a full disk");
        let appender = appender(file, &status);
        for _ in 0..20 {
            appender.append(Change::Stands, Entry::Whole(&[1; 1 << 20]));
        }
        assert_eq!((status.write.failures(), status.write.fails()), (20, true));
        assert!((9..20).contains(&status.lost.get()), "{}", status.lost.get());
        assert_eq!(status.bytes.get(), 0);
    }

    #[test]
    fn names_are_said_again_that_were_among_what_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        let status = Arc::new(Status::default());
        let appender = appender(File::open("/dev/null").expect("a file"), &status);
        let begin = |number| {
            let opening = crate::tests::opening(number);
            let (mut frame, mut names) = (Vec::new(), Vec::new());
            write_names_of_opening(&opening, &mut names);
            write_unsealed(&mut frame, |payload| write_opened(&opening, Form::Numbered, payload));
            let entry = Entry::Numbered(&mut frame, &names);
            appender.append(Change::Begins(&opening.facts.id()), entry);
        };
        begin(0);
        while status.lost.get() == 0 {
            appender.append(Change::Stands, Entry::Whole(&[1; 1 << 20]));
        }
        lock(&appender.tail).file = Arc::new(File::create(&path).expect("a file"));
        // With the same names as the first.
        begin(6);
        let bytes = std::fs::read(&path).expect("a file");
        let mut reader = Reader::default();
        let said: Vec<_> = Frames::of(&bytes).map(|payload| reader.read(payload)).collect();
        let [names @ .., Said::Opened(opened)] = &*said else { panic!("{said:?}") };
        assert!(!names.is_empty() && names.iter().all(|said| *said == Said::Named), "{said:?}");
        assert_eq!((opened.route.as_str(), opened.id()), ("default/ai", crate::tests::id(6)));
    }

    #[test]
    fn what_could_not_be_written_is_written_later_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        let status = Arc::new(Status::default());
        std::fs::write(&path, b"").expect("a file");
        // A file that is not open to write stands for a disk that does not take anything.
        let appender = appender(File::open(&path).expect("a file"), &status);
        appender.append(Change::Stands, Entry::Whole(b"one"));
        appender.append(Change::Stands, Entry::Whole(b"two"));
        lock(&appender.tail).file = Arc::new(File::options().write(true).open(&path).expect("a file"));
        appender.flush();
        assert_eq!(std::fs::read(&path).expect("a file"), b"onetwo");
        assert_eq!((status.write.fails(), status.lost.get(), status.bytes.get()), (false, 0, 6));
    }
}
