//! Names that attempts have in common. Who called, by which route, at which backend, for which model, under which limits: of most attempts
//! the ledger has said so before. So each combination is said once in a segment, and entries refer to it by its number.
//!
//! A number is given once in a segment, by whatever process, and by one process once at all: an entry means the same in the segment for
//! which it was written and in the next, which begins with the names of the attempts that run. So where names are lost with a part of the
//! disk, an entry has none, and never those of somebody else.

use tollgate_terms::{FastMap, FastSet};

use crate::entry::write_names;
use crate::frame::frame;

/// Most combinations that are known at a time. An entry with another one says its names itself.
const KNOWN_MAX: usize = 1024;

/// Most bytes of one: callers choose their names.
const BYTES_MAX: usize = 4000;

/// The combinations that the segment has said which is written to, as they are written.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: FastMap<Box<[u8]>, Known>,
    last: u32,
    /// How often what was said before was no longer sure to be read.
    doubts: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    number: u32,
    /// When it was said, as `doubts` counts.
    said_after: u32,
}

impl Names {
    /// None are known. Numbers up to `last` are given already.
    pub(crate) fn after(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// The number under which these are said.
    pub(crate) fn number(&self, names: &[u8]) -> Option<u32> {
        let known = self.known.get(names).filter(|known| known.said_after == self.doubts);
        known.map(|known| known.number)
    }

    /// The number under which these, which are not said, have to be; `None` if they are to be said with their entry.
    pub(crate) fn unsaid(&self, names: &[u8]) -> Option<u32> {
        if let Some(known) = self.known.get(names) {
            return Some(known.number);
        }
        let has_room = self.known.len() < KNOWN_MAX && names.len() <= BYTES_MAX;
        self.last.checked_add(1).filter(|_| has_room)
    }

    /// They are said under `number`.
    pub(crate) fn note(&mut self, names: &[u8], number: u32) {
        self.last = self.last.max(number);
        self.known.insert(names.into(), Known { number, said_after: self.doubts });
    }

    /// What was said may be lost: from now on it is said again, each when it is needed.
    pub(crate) fn doubt(&mut self) {
        self.doubts = self.doubts.wrapping_add(1);
    }

    /// Forgets all but these.
    pub(crate) fn keep(&mut self, numbers: &FastSet<u32>) {
        self.known.retain(|_, known| numbers.contains(&known.number));
    }

    /// What says all that are known.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Vec<u8>> {
        self.known.iter().map(|(names, known)| say(known.number, names))
    }
}

/// What says `names` under `number`.
pub(crate) fn say(number: u32, names: &[u8]) -> Vec<u8> {
    frame(|payload| write_names(number, names, payload))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use tollgate_exchange::{Charge, Facts, Journal, Opening, Record, Reserved};
    use tollgate_terms::ModelName;

    use super::*;
    use crate::entry::{
        Begun, Form, Reader, Said, put_number, write_begun, write_ended, write_names_of_end,
        write_names_of_opening, write_opened, write_settled,
    };
    use crate::frame::{Frames, seal};
    use crate::front::Front;
    use crate::segment::{self, Contents, Position};
    use crate::tests::{entries, id, opening, options, record, usage};
    use crate::usage::Dimension;
    use crate::{IndexPlace, Ledger, Options};

    fn asking(number: u32, model: &str) -> Opening {
        let Opening { facts, reserved } = opening(number);
        let requested_model = ModelName::parse(model).expect("a name");
        Opening { facts: Arc::new(Facts { requested_model, ..(*facts).clone() }), reserved }
    }

    fn of_opening(opening: &Opening) -> Vec<u8> {
        let mut names = Vec::new();
        write_names_of_opening(opening, &mut names);
        names
    }

    fn of_end(record: &Record) -> Vec<u8> {
        let mut names = Vec::new();
        write_names_of_end(record, &mut names);
        names
    }

    /// The number under which `said` is said, from now on if not before.
    fn number(names: &mut Names, said: &[u8]) -> Option<u32> {
        names.number(said).or_else(|| {
            let number = names.unsaid(said)?;
            names.note(said, number);
            Some(number)
        })
    }

    #[test]
    fn attempts_with_the_same_names_have_one_number() {
        let names = &mut Names::default();
        let begun = |number| opening(number);
        assert_eq!(number(names, &of_opening(&begun(0))), Some(1));
        assert_eq!(number(names, &of_opening(&begun(6))), Some(1));
        // Another team and another backend, and the end of the first.
        assert_eq!(number(names, &of_opening(&begun(1))), Some(2));
        assert_eq!(number(names, &of_end(&record(1))), Some(3));
        let mut other = begun(0);
        other.reserved[0].amount = 9;
        assert_eq!(number(names, &of_opening(&other)), Some(1));
        other.reserved[0].limit = "other".into();
        assert_eq!(number(names, &of_opening(&other)), Some(4));
        names.keep(&[2, 3].into_iter().collect());
        assert_eq!(names.frames().count(), 2);
        // A number is given once.
        assert_eq!(number(names, &of_opening(&begun(0))), Some(5));
    }

    #[test]
    fn whoever_invents_names_fills_no_memory() {
        let names = &mut Names::default();
        let asked = |number: usize| asking(0, &format!("model-{number}"));
        for at in 0..KNOWN_MAX {
            assert!(number(names, &of_opening(&asked(at))).is_some());
        }
        assert_eq!(number(names, &of_opening(&asked(KNOWN_MAX))), None);
        assert_eq!(number(names, &of_opening(&asked(0))), Some(1));
        let mut long = opening(0);
        long.reserved[0].limit = "x".repeat(BYTES_MAX).into();
        assert_eq!(number(&mut Names::default(), &of_opening(&long)), None);
    }

    /// The requested models of all that the table knows.
    fn models(folder: &Path) -> usize {
        usage(folder, &[Dimension::RequestedModel]).rows.len()
    }

    #[test]
    fn names_without_a_number_are_said_with_their_entry() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { index: Some(IndexPlace::Sqlite), segment_bytes: 16 << 20, ..options() };
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        let all = u32::try_from(KNOWN_MAX).expect("a number") + 100;
        for number in 0..all {
            ledger.opened(&asking(number, &format!("model-{number}")));
            ledger.settled(&record(number));
        }
        drop(ledger);
        assert_eq!(entries(folder.path()).0.len(), KNOWN_MAX + 100);
        assert_eq!(models(folder.path()), KNOWN_MAX + 100);
    }

    #[test]
    fn an_attempt_takes_few_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { segment_bytes: 16 << 20, ..options() };
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        for number in 0..1000 {
            ledger.opened(&opening(number));
            ledger.settled(&record(number));
        }
        drop(ledger);
        let length = segment::length(folder.path(), 1).expect("a segment");
        assert!(length < 115 * 1000, "{length}");
    }

    #[test]
    fn what_is_said_under_numbers_is_what_is_said_whole() {
        let reserved = ["one", "two"].map(|limit| Reserved { limit: limit.into(), amount: 70_000 });
        let opening = Opening { reserved: reserved.into_iter().collect(), ..opening(7) };
        let charge = |limit: &str, used| Charge { limit: limit.into(), counter: "c".into(), taken: 1, used };
        let charges = vec![charge("one", 18), charge("two", 0), charge("three", u64::MAX)];
        let record = Record { charges, fault: Some("cut"), ..record(10) };
        let mut reader = Reader::default();
        let mut read = |frame: Vec<u8>| {
            let payload = Frames::of(&frame).next().expect("a payload");
            reader.read(payload)
        };
        let sealed = |number, write: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = frame(write);
            put_number(&mut frame, number);
            seal(&mut frame);
            frame
        };
        read(say(1, &of_opening(&opening)));
        read(say(0xffff_ffff, &of_end(&record)));
        let opened = sealed(1, &|payload| write_opened(&opening, Form::Numbered, payload));
        let whole = frame(|payload| write_opened(&opening, Form::Whole, payload));
        assert!(opened.len() < whole.len());
        assert_eq!(read(opened), read(whole));
        let ended = sealed(0xffff_ffff, &|payload| write_ended(&record, Form::Numbered, payload));
        assert_eq!(read(ended), read(frame(|payload| write_ended(&record, Form::Whole, payload))));
        // A number that nothing was said under.
        let lost = sealed(2, &|payload| write_opened(&opening, Form::Numbered, payload));
        assert!(matches!(read(lost), Said::Opened(attempt) if attempt.team.is_none()));
        assert_eq!(reader.unnamed, 1);
    }

    /// A second process goes on in the segment of the first.
    #[test]
    fn a_number_is_given_once_in_a_segment() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { index: Some(IndexPlace::Sqlite), segment_bytes: 16 << 20, ..options() };
        for process in 0..3 {
            let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
            for number in (0..9).map(|at| 10 * process + at) {
                ledger.opened(&opening(number));
                ledger.settled(&record(number));
            }
        }
        let mut numbers = Vec::new();
        Contents::load(folder.path(), 1).expect("a segment").read(|payload| {
            if let Some((b'n', message)) = payload.split_first() {
                let names: crate::entry::Attempt = prost::Message::decode(message).expect("names");
                numbers.push(names.names);
            }
        });
        let count = u32::try_from(numbers.len()).expect("a number");
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        assert_eq!(entries(folder.path()).0.len(), 27);
        assert_eq!(usage(folder.path(), &[Dimension::Team]).rows.len(), 3);
    }

    #[test]
    fn what_may_be_lost_is_said_again_under_its_number() {
        let names = &mut Names::after(40);
        let said = &*of_opening(&opening(0));
        assert_eq!(number(names, said), Some(41));
        names.doubt();
        assert_eq!(names.number(said), None);
        assert_eq!(number(names, said), Some(41));
        assert_eq!((names.number(said), names.frames().count()), (Some(41), 1));
    }

    /// One that a gateway has left which knew of no numbers: it is read, and nothing is added to it.
    #[test]
    fn a_segment_of_the_version_before_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { index: Some(IndexPlace::Sqlite), ..options() };
        let mut old = b"TGLEDGR2".to_vec();
        let begun = Begun { carried: 1 };
        old.extend(frame(|payload| write_begun(&begun, payload)));
        old.extend(
            (0..3).flat_map(|number| frame(|payload| write_opened(&opening(number), Form::Whole, payload))),
        );
        old.extend(frame(|payload| write_settled(&record(0), payload)));
        fs::write(segment::path(folder.path(), 7), &old).expect("a segment");
        // What its front still had belongs to it.
        let at = Position { segment: 7, offset: old.len() as u64 };
        let left = frame(|payload| write_settled(&record(1), payload));
        assert!(Front::open(folder.path(), at).push(&left));
        old.extend(left);
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        assert_eq!(ledger.replayed().orphaned, [id(2)]);
        (3..5).for_each(|number| {
            ledger.opened(&opening(number));
            ledger.settled(&record(number));
        });
        drop(ledger);
        assert_eq!(fs::read(segment::path(folder.path(), 7)).expect("a segment"), old);
        let report = usage(folder.path(), &[Dimension::Team]);
        assert_eq!((report.total.attempts, report.total.orphaned, report.rows.len()), (5, 1, 3));
        assert_eq!(Ledger::open(folder.path(), &options).expect("a ledger").replayed().orphaned, []);
    }

    #[test]
    fn a_number_means_what_was_last_said_under_it() {
        let mut reader = Reader::default();
        let mut route = |frames: &[u8]| {
            let mut routes = Vec::new();
            for payload in Frames::of(frames) {
                if let Said::Opened(attempt) = reader.read(payload) {
                    routes.push((attempt.requested_model, attempt.reserved.len()));
                }
            }
            routes
        };
        let numbered = || {
            let mut frame = frame(|payload| write_opened(&opening(0), Form::Numbered, payload));
            put_number(&mut frame, 1);
            seal(&mut frame);
            frame
        };
        let named = |model: &str| say(1, &of_opening(&asking(0, model)));
        let frames = [numbered(), named("one"), numbered(), named("two"), numbered()].concat();
        let expected = [("", 0), ("one", 1), ("two", 1)].map(|(model, limits)| (model.to_owned(), limits));
        assert_eq!(route(&frames), expected);
    }
}
