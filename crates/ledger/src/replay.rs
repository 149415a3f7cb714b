//! What a ledger says of the process before: where it was torn off, and which attempts died with it.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use tollgate_terms::{AttemptId, FastMap};

use crate::entry::{Attempt, Reader, Said};
use crate::frame::Frames;
use crate::front;
use crate::segment::{self, Contents, Position};

/// What was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Attempts that had begun and were not over: they are settled as orphaned now.
    pub orphaned: Vec<AttemptId>,
    /// Bytes of an entry that was torn off at the end, which were cut away.
    pub torn_bytes: u64,
    /// Entries that settle an attempt once more, which count for nothing.
    pub duplicates: u64,
}

/// What the last segments say.
#[derive(Default)]
pub(crate) struct Replay {
    /// What it knows of names by now.
    pub(crate) reader: Reader,
    open: FastMap<AttemptId, Attempt>,
    settled: HashSet<AttemptId>,
    pub(crate) torn_bytes: u64,
    pub(crate) duplicates: u64,
    /// Where to go on: the last segment, and what of it is good. `None` for a ledger that is new.
    pub(crate) end: Option<Position>,
    /// Whether that segment was begun by a gateway that knew of no entries with names elsewhere.
    pub(crate) is_of_version_before: bool,
    /// What belongs behind that and is in no segment yet.
    pub(crate) left: Vec<u8>,
}

impl Replay {
    /// Reads as many of the last segments as it takes to know which attempts ran.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let numbers = segment::numbers(folder)?;
        let mut needed = Vec::new();
        for &number in numbers.iter().rev() {
            let contents = Contents::load(folder, number)?;
            let is_enough = contents.is_well_begun();
            needed.push((number, contents));
            // A machine that lost its power may have lost the beginning of the newest.
            if is_enough {
                break;
            }
        }
        let mut replay = Self::default();
        while let Some((number, contents)) = needed.pop() {
            let extent = contents.read(|payload| replay.take(payload));
            replay.is_of_version_before = contents.is_of_version_before();
            replay.torn_bytes = extent.rest;
            replay.end = Some(Position { segment: number, offset: extent.length });
        }
        let left = front::left(folder, replay.end.unwrap_or_default())?;
        Frames::of(&left).for_each(|payload| replay.take(payload));
        Ok(Self { left, ..replay })
    }

    fn take(&mut self, payload: &[u8]) {
        match self.reader.read(payload) {
            Said::Opened(attempt) => {
                let id = attempt.id();
                if !self.settled.contains(&id) {
                    self.open.insert(id, *attempt);
                }
            }
            Said::Settled(attempt) | Said::Ended(attempt) => {
                let id = attempt.id();
                self.open.remove(&id);
                if !self.settled.insert(id) {
                    self.duplicates += 1;
                }
            }
            Said::Begun(_) | Said::Named | Said::Unknown => {}
        }
    }

    /// The attempts that ran, in the order in which they began.
    pub(crate) fn orphans(&mut self) -> Vec<Attempt> {
        let mut orphans: Vec<_> = self.open.drain().map(|(_, attempt)| attempt).collect();
        orphans.sort_by_key(|attempt| (attempt.started_at_ms, attempt.id()));
        orphans
    }
}
