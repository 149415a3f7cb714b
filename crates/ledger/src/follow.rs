//! Reading behind: the settled entries of a ledger from a position on.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_terms::{AttemptId, FastMap};

use crate::entry::{Attempt, Reader, Said};
use crate::frame::Frames;
use crate::segment::{self, Position};

/// Bytes that are read at a time. More than the longest frame.
const BATCH_BYTES: u64 = 4 << 20;

/// Reads a ledger from a position on.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    /// How far it has read.
    at: Position,
    /// What it knows of the segment from there.
    reader: Reader,
    /// The attempts that ran there: what is said of the end of one is only whole with it.
    open: FastMap<AttemptId, Attempt>,
}

/// Some entries that follow each other.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) settled: Vec<Attempt>,
    /// Where they end.
    pub(crate) to: Position,
    /// Bytes that could not be read and were passed over.
    pub(crate) damaged: u64,
    /// Entries whose names are lost.
    pub(crate) unnamed: u64,
}

impl Follower {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, at: Position::default(), reader: Reader::default(), open: FastMap::default() }
    }

    /// The entries behind `from`, as far as `limit` at most. At the end `to` is `from`.
    pub(crate) fn batch(&mut self, from: Position, limit: Position) -> io::Result<Batch> {
        if from != self.at {
            self.go_to(from)?;
        }
        let batch = self.next(from, limit)?;
        self.at = batch.to;
        Ok(batch)
    }

    /// The attempts that are over, as these frames say, which follow what was read last.
    pub(crate) fn settled(&mut self, frames: &mut Frames<'_>) -> Vec<Attempt> {
        frames.filter_map(|payload| self.over(payload)).collect()
    }

    /// The attempt that is over, if one is.
    fn over(&mut self, payload: &[u8]) -> Option<Attempt> {
        match self.reader.read(payload) {
            Said::Opened(attempt) => {
                self.open.insert(attempt.id(), *attempt);
                None
            }
            Said::Settled(attempt) => {
                self.open.remove(&attempt.id());
                Some(*attempt)
            }
            Said::Ended(attempt) => {
                let opened = self.open.remove(&attempt.id());
                Some(attempt.opened_as(opened.unwrap_or_default()))
            }
            Said::Begun(_) | Said::Named | Said::Unknown => None,
        }
    }

    /// Finds the attempts that ran at `to`. Each segment begins with those that ran before it.
    fn go_to(&mut self, to: Position) -> io::Result<()> {
        // Where it fails on the way, nothing is known.
        *self = Self::new(std::mem::take(&mut self.folder));
        let end = to.offset.min(segment::length(&self.folder, to.segment)?);
        let mut at = Position { offset: 0, ..to };
        while at.offset < end {
            at = self.read(at, end)?.to;
        }
        self.at = to;
        Ok(())
    }

    fn next(&mut self, from: Position, limit: Position) -> io::Result<Batch> {
        let nothing = Batch { settled: Vec::new(), to: from, damaged: 0, unnamed: 0 };
        let end = if from.segment == limit.segment {
            limit.offset
        } else {
            segment::length(&self.folder, from.segment)?
        };
        if from.offset < end {
            return self.read(from, end);
        }
        let next = segment::numbers(&self.folder)?.into_iter().find(|number| *number > from.segment);
        match next.filter(|next| *next <= limit.segment) {
            Some(segment) => Ok(Batch { to: Position { segment, offset: 0 }, ..nothing }),
            None => Ok(nothing),
        }
    }

    /// Removes segments before `before` that were last written to more than `age` ago.
    pub(crate) fn remove_old(&self, before: u64, age: Duration) -> io::Result<()> {
        for number in segment::numbers(&self.folder)?.into_iter().take_while(|number| *number < before) {
            let path = segment::path(&self.folder, number);
            let written = fs::metadata(&path)?.modified()?;
            if crate::clock::now().duration_since(written).is_ok_and(|old| old > age) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, from: Position, end: u64) -> io::Result<Batch> {
        let mut file = File::open(segment::path(&self.folder, from.segment))?;
        file.seek(SeekFrom::Start(from.offset))?;
        let mut bytes = Vec::new();
        file.take(BATCH_BYTES.min(end - from.offset)).read_to_end(&mut bytes)?;
        // Nothing behind what is damaged can be found: frames are only found from their beginnings.
        let damaged = Batch {
            settled: Vec::new(),
            to: Position { offset: end, ..from },
            damaged: end - from.offset,
            unnamed: 0,
        };
        let frames = if from.offset == 0 { segment::frames(&bytes) } else { Some(Frames::of(&bytes)) };
        let Some(mut frames) = frames else { return Ok(damaged) };
        let settled = self.settled(&mut frames);
        let taken = (bytes.len() - frames.rest.len()) as u64;
        if taken == 0 {
            return Ok(damaged);
        }
        let unnamed = std::mem::take(&mut self.reader.unnamed);
        Ok(Batch { settled, to: Position { offset: from.offset + taken, ..from }, damaged: 0, unnamed })
    }
}
