//! Segments: the files of a ledger, numbered from 1. The last is written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::entry::{Begun, Said, decode, write_begun};
use crate::frame::{self, Frames};

/// First bytes of each segment, with the version of its frames.
pub(crate) const MAGIC: &[u8; 8] = b"TGLEDGR2";

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

/// Makes segment `number`, which begins with these frames of attempts that run. It appears whole or not at all.
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
        let Some(left) = self.bytes.strip_prefix(MAGIC.as_slice()) else { return false };
        let mut frames = Frames::of(left);
        let Some(Said::Begun(Begun { carried })) = frames.next().map(decode) else { return false };
        (0..carried).all(|_| frames.next().is_some())
    }

    /// Hands out all that it says.
    pub(crate) fn read(&self, mut take: impl FnMut(Said)) -> Extent {
        let all = self.bytes.len() as u64;
        let Some(left) = self.bytes.strip_prefix(MAGIC.as_slice()) else {
            return Extent { length: 0, rest: all };
        };
        let mut frames = Frames::of(left);
        frames.by_ref().for_each(|payload| take(decode(payload)));
        let rest = frames.rest.len() as u64;
        Extent { length: all - rest, rest }
    }
}
