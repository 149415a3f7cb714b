//! Segments: the files of a ledger, numbered from 1. The last is written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::entry::{Begun, Reader, Said, write_begun};
use crate::frame::{self, Frames};

/// First bytes of each segment, with the version of its frames.
pub(crate) const MAGIC: &[u8; 8] = b"TGLEDGR3";

/// Those of the version before: its entries say all names themselves, and are read as they were.
const MAGIC_BEFORE: &[u8; 8] = b"TGLEDGR2";

const SUFFIX: &str = "segment";

/// A place in the ledger: a segment, and the bytes before it in there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The path of segment `number`.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.{SUFFIX}"))
}

/// The numbers of all segments, ascending.
pub(crate) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// How long a segment is; 0 where there is none any more.
pub(crate) fn length(folder: &Path, number: u64) -> io::Result<u64> {
    match fs::metadata(path(folder, number)) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The frames of a segment, without its first bytes; `None` if it does not begin as one does.
pub(crate) fn frames(bytes: &[u8]) -> Option<Frames<'_>> {
    let (magic, frames) = bytes.split_first_chunk()?;
    (magic == MAGIC || magic == MAGIC_BEFORE).then(|| Frames::of(frames))
}

/// Makes segment `number`, which begins with these frames: attempts that run, and their names. It appears whole or not at all.
pub(crate) fn create(folder: &Path, number: u64, carried: &[Vec<u8>]) -> io::Result<(File, u64)> {
    let begun = Begun { carried: carried.len() as u64 };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(frame::frame(|payload| write_begun(&begun, payload)));
    carried.iter().for_each(|frame| bytes.extend_from_slice(frame));
    let unfinished = folder.join("unfinished");
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).open(&unfinished)?;
    file.write_all(&bytes)?;
    fs::rename(&unfinished, path(folder, number))?;
    Ok((file, bytes.len() as u64))
}

/// Opens a segment to write behind the first `length` bytes of it.
pub(crate) fn reopen(folder: &Path, number: u64, length: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(path(folder, number))?;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

/// A segment as it was read.
pub(crate) struct Contents {
    bytes: Vec<u8>,
}

/// How far a segment can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Up to the end of the last whole frame; 0 when it does not even begin as a segment does.
    pub(crate) length: u64,
    /// Bytes behind that.
    pub(crate) rest: u64,
}

impl Contents {
    pub(crate) fn load(folder: &Path, number: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path(folder, number))?.read_to_end(&mut bytes)?;
        Ok(Self { bytes })
    }

    /// Whether it begins as it was made: the attempts that ran before it are all here.
    pub(crate) fn is_well_begun(&self) -> bool {
        let Some(mut frames) = frames(&self.bytes) else { return false };
        let first = frames.next().map(|payload| Reader::default().read(payload));
        let Some(Said::Begun(Begun { carried })) = first else { return false };
        (0..carried).all(|_| frames.next().is_some())
    }

    /// Whether no entry may be added that has its names elsewhere: who reads that version does not know of it.
    pub(crate) fn is_of_version_before(&self) -> bool {
        self.bytes.starts_with(MAGIC_BEFORE)
    }

    /// Hands out the payloads of all its frames.
    pub(crate) fn read(&self, mut take: impl FnMut(&[u8])) -> Extent {
        let all = self.bytes.len() as u64;
        let Some(mut frames) = frames(&self.bytes) else {
            return Extent { length: 0, rest: all };
        };
        frames.by_ref().for_each(&mut take);
        let rest = frames.rest.len() as u64;
        Extent { length: all - rest, rest }
    }
}
