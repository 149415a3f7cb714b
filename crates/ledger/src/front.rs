//! The front of the ledger: what was taken in and is in no segment yet.
//!
//! It is the memory of a file, so that what stands in it survives the death of the process, and costs no call to the kernel. It has two
//! halves: entries are added to one, while the other is written to its segment. The head of a half tells from which position of the
//! ledger on its entries belong, so that whoever opens the ledger after a death knows which of them its segment has already.
//!
//! Where a file system does not keep the room that it has promised, entries are queued in plain memory, and written before a request
//! goes on.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

use tollgate_mapped::Mapped;

use crate::frame::{Frames, HEAD_BYTES, PAYLOAD_BYTES_MAX};
use crate::segment::{self, Position};

const FILE: &str = "front";

/// First bytes of the file, with the version of what follows.
const MAGIC: &[u8; 8] = b"TGFRONT2";

/// Those of the version before, whose entries say all names themselves.
const MAGIC_BEFORE: &[u8; 8] = b"TGFRONT1";

/// The magic, and for each half its segment, its offset in there, and how many bytes it holds.
const HEAD: usize = 4096;
const NUMBERS_BYTES: usize = 24;

/// Room of a half: twice the longest frame.
const HALF: usize = 2 * (HEAD_BYTES + PAYLOAD_BYTES_MAX);

/// What was taken in.
#[derive(Debug)]
pub(crate) enum Front {
    /// In memory that outlives the process.
    Kept(Halves),
    /// In memory that does not.
    Lost(Vec<u8>),
}

/// The file, and which half of it is added to.
#[derive(Debug)]
pub(crate) struct Halves {
    file: Mapped,
    active: Half,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

impl Front {
    /// The front of the ledger in `folder`, whose next entry belongs to `at`. What stands in it is forgotten.
    pub(crate) fn open(folder: &Path, at: Position) -> Self {
        let length = u32::try_from(HEAD + 2 * HALF).unwrap_or(u32::MAX);
        match Mapped::open(&folder.join(FILE), length) {
            Ok(file) => {
                let mut halves = Halves { file, active: Half::First, length: 0 };
                halves.write(0, MAGIC);
                halves.set_length(Half::Second, 0);
                halves.begin(at);
                Self::Kept(halves)
            }
            Err(error) => {
                tracing::info!(%error, "each entry of the ledger is written by itself: its file system cannot be trusted with memory");
                Self::Lost(Vec::new())
            }
        }
    }

    /// Adds a frame; not if there is no room for it before others are taken out.
    pub(crate) fn push(&mut self, frame: &[u8]) -> bool {
        match self {
            Self::Kept(halves) => halves.push(frame),
            Self::Lost(bytes) => {
                bytes.extend_from_slice(frame);
                true
            }
        }
    }

    /// Whether what is in here is still there when the process has died.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// Moves everything to the end of `backlog`, which is to be written at `at`. Until it [`is_written`](Self::is_written) it is still
    /// kept.
    pub(crate) fn take(&mut self, backlog: &mut Vec<u8>, at: Position) {
        match self {
            Self::Kept(halves) => {
                backlog.extend_from_slice(halves.content());
                halves.active = halves.active.other();
                halves.begin(Position { offset: at.offset + backlog.len() as u64, ..at });
            }
            Self::Lost(bytes) => backlog.append(bytes),
        }
    }

    /// What was taken out need not be kept any more. What has come since belongs to `at`.
    pub(crate) fn is_written(&mut self, at: Position) {
        if let Self::Kept(halves) = self {
            halves.set_length(halves.active.other(), 0);
            halves.set_position(halves.active, at);
        }
    }
}

impl Halves {
    fn push(&mut self, frame: &[u8]) -> bool {
        let (start, end) = (self.length, self.length + frame.len());
        if end > HALF {
            return false;
        }
        self.write(self.active.content() + start, frame);
        // If the process dies in between, the frame was never here.
        compiler_fence(Ordering::Release);
        self.set_length(self.active, end);
        self.length = end;
        self.file.expect_write(self.active.content() + end);
        true
    }

    fn content(&self) -> &[u8] {
        let start = self.active.content();
        self.file.get(start..start + self.length).unwrap_or_default()
    }

    /// Begins to add to the active half.
    fn begin(&mut self, at: Position) {
        self.length = 0;
        self.set_length(self.active, 0);
        compiler_fence(Ordering::Release);
        self.set_position(self.active, at);
    }

    fn set_position(&mut self, half: Half, at: Position) {
        self.write(half.numbers(), &at.segment.to_le_bytes());
        self.write(half.numbers() + 8, &at.offset.to_le_bytes());
    }

    fn set_length(&mut self, half: Half, length: usize) {
        self.write(half.numbers() + 16, &(length as u64).to_le_bytes());
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        if let Some(place) = self.file.get_mut(start..start + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

impl Half {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Where its segment, offset and length stand.
    fn numbers(self) -> usize {
        match self {
            Self::First => MAGIC.len(),
            Self::Second => MAGIC.len() + NUMBERS_BYTES,
        }
    }

    fn content(self) -> usize {
        match self {
            Self::First => HEAD,
            Self::Second => HEAD + HALF,
        }
    }
}

/// Frames that a process that died has left in its front, in the order in which they came. Its segments can be read as far as `end`.
pub(crate) fn left(folder: &Path, end: Position) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(folder.join(FILE)) {
        Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        Err(error) => return Err(error),
    }
    if !bytes.starts_with(MAGIC) && !bytes.starts_with(MAGIC_BEFORE) {
        return Ok(Vec::new());
    }
    let number = |at: usize| {
        let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk());
        chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk))
    };
    let mut halves = [Half::First, Half::Second].map(|half| {
        let at = Position { segment: number(half.numbers()), offset: number(half.numbers() + 8) };
        let length = usize::try_from(number(half.numbers() + 16)).unwrap_or(usize::MAX);
        let content = bytes.get(half.content()..half.content() + length.min(HALF)).unwrap_or_default();
        (at, content)
    });
    halves.sort_by_key(|(at, _)| *at);
    let mut left = Vec::new();
    for (at, content) in halves {
        let length =
            if at.segment == end.segment { end.offset } else { segment::length(folder, at.segment)? };
        let written = length.saturating_sub(at.offset);
        let mut frames = Frames::of(content);
        frames.by_ref().for_each(drop);
        let whole = content.strip_suffix(frames.rest).unwrap_or_default();
        left.extend_from_slice(
            usize::try_from(written).ok().and_then(|at| whole.get(at..)).unwrap_or_default(),
        );
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    fn frame(text: &str) -> Vec<u8> {
        crate::frame::frame(|payload| payload.extend_from_slice(text.as_bytes()))
    }

    /// A folder with a front that begins at the end of segment 1, which has 100 bytes.
    fn begun() -> (tempfile::TempDir, Front) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(segment::path(folder.path(), 1), [0; 100]).expect("a segment");
        let front = Front::open(folder.path(), at(1, 100));
        assert!(front.is_kept());
        (folder, front)
    }

    fn texts(folder: &Path, end: Position) -> Vec<String> {
        let left = left(folder, end).expect("what is left");
        Frames::of(&left).map(|payload| String::from_utf8_lossy(payload).into_owned()).collect()
    }

    #[test]
    fn what_is_in_a_segment_already_is_not_left() {
        let (folder, mut front) = begun();
        assert!(front.push(&frame("one")) && front.push(&frame("two")));
        assert_eq!(texts(folder.path(), at(1, 100)), ["one", "two"]);
        let mut backlog = Vec::new();
        front.take(&mut backlog, at(1, 100));
        assert!(front.push(&frame("three")));
        // Killed before the write, in the middle of it, and behind it.
        let one = 100 + frame("one").len() as u64;
        let both = 100 + backlog.len() as u64;
        assert_eq!(texts(folder.path(), at(1, 100)), ["one", "two", "three"]);
        assert_eq!(texts(folder.path(), at(1, one)), ["two", "three"]);
        assert_eq!(texts(folder.path(), at(1, both)), ["three"]);
        front.is_written(at(1, both));
        assert_eq!(texts(folder.path(), at(1, both)), ["three"]);
    }

    #[test]
    fn what_came_while_a_segment_was_begun_belongs_to_the_new_one() {
        let (folder, mut front) = begun();
        assert!(front.push(&frame("old")));
        let mut backlog = vec![0; 100];
        front.take(&mut backlog, at(1, 0));
        assert!(front.push(&frame("new")));
        // The segments are written: 1 to its end, and the beginning of 2.
        std::fs::write(segment::path(folder.path(), 1), &backlog).expect("written");
        std::fs::write(segment::path(folder.path(), 2), [0; 20]).expect("a segment");
        assert_eq!(texts(folder.path(), at(2, 20)), ["new"]);
        front.is_written(at(2, 20));
        assert_eq!(texts(folder.path(), at(2, 20)), ["new"]);
        let behind = 20 + frame("new").len() as u64;
        assert_eq!(texts(folder.path(), at(2, behind)), [""; 0]);
    }

    #[test]
    fn there_is_room_again_when_it_was_taken_out() {
        let (folder, mut front) = begun();
        let long = frame(&"x".repeat(PAYLOAD_BYTES_MAX));
        assert!(front.push(&long) && front.push(&long) && !front.push(&frame("one")));
        let mut backlog = Vec::new();
        front.take(&mut backlog, at(1, 100));
        assert_eq!(backlog.len(), 2 * long.len());
        assert!(front.push(&frame("one")));
        assert_eq!(texts(folder.path(), at(1, 100)).len(), 3);
    }

    #[test]
    fn a_frame_that_is_not_whole_is_not_left() {
        let (folder, mut front) = begun();
        assert!(front.push(&frame("one")) && front.push(&frame("two")));
        let Front::Kept(halves) = &mut front else { panic!("it is kept") };
        let last = Half::First.content() + halves.length - 1;
        halves.write(last, b"?");
        assert_eq!(texts(folder.path(), at(1, 100)), ["one"]);
        assert_eq!(texts(&folder.path().join("nowhere"), at(1, 100)), [""; 0]);
    }
}
