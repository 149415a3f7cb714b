//! Names that attempts have in common. Who called, by which route, at which backend, for which model, under which limits: of most attempts
//! the ledger has said so before. So each combination is said once in a segment, and entries refer to it by its number.
//!
//! A number is given once in a segment, by whatever process, and by one process once at all: an entry means the same in the segment for
//! which it was written and in the next, which begins with the names of the attempts that run. So where names are lost with a part of the
//! disk, an entry has none, and never those of somebody else.

use std::hash::{Hash, Hasher};

use tollgate_exchange::{Facts, Opening, Record};
use tollgate_terms::{Equivalent, FastMap, FastSet};

use crate::entry::{write_names_of_end, write_names_of_opening};
use crate::frame::frame;

/// Most combinations that are known at a time. An entry with another one says its names itself.
const KNOWN_MAX: usize = 1024;

/// Longest frame of one: callers choose their names.
const FRAME_BYTES_MAX: usize = 4096;

/// The names of an entry, where the gateway has them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Combination<'a> {
    /// Those that are known when an attempt begins.
    Opening(&'a Opening),
    /// Those that are known when it ends.
    End(&'a Record),
}

/// The combinations that the segment has said which is written to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: FastMap<Owned, Known>,
    last: u32,
    /// How often what was said before was no longer sure to be read.
    doubts: u32,
}

/// A combination that is kept; of what it was taken from only the names are looked at.
#[derive(Debug)]
enum Owned {
    Opening(Opening),
    End(Box<Record>),
}

#[derive(Debug)]
struct Known {
    number: u32,
    /// What says it.
    frame: Vec<u8>,
    /// When it was said, as `doubts` counts.
    said_after: u32,
}

/// A combination that is not said yet.
#[derive(Debug)]
pub(crate) struct Unsaid {
    known: Known,
}

impl Unsaid {
    /// What says it.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.known.frame
    }
}

impl Names {
    /// None are known. Numbers up to `last` are given already.
    pub(crate) fn after(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// The number of this combination, if it is said.
    pub(crate) fn number(&self, combination: Combination<'_>) -> Option<u32> {
        let known = self.known.get(&combination).filter(|known| known.said_after == self.doubts);
        known.map(|known| known.number)
    }

    /// What was said may be lost: from now on it is said again, each when it is needed.
    pub(crate) fn doubt(&mut self) {
        self.doubts = self.doubts.wrapping_add(1);
    }

    /// How to say one that is not said; `None` if it is to be said with its entry.
    pub(crate) fn unsaid(&self, combination: Combination<'_>) -> Option<Unsaid> {
        let said_after = self.doubts;
        if let Some(Known { number, frame, .. }) = self.known.get(&combination) {
            return Some(Unsaid { known: Known { number: *number, frame: frame.clone(), said_after } });
        }
        let number = self.last.checked_add(1).filter(|_| self.known.len() < KNOWN_MAX)?;
        let frame = frame(|payload| match combination {
            Combination::Opening(opening) => write_names_of_opening(number, opening, payload),
            Combination::End(record) => write_names_of_end(number, record, payload),
        });
        (1..=FRAME_BYTES_MAX)
            .contains(&frame.len())
            .then_some(Unsaid { known: Known { number, frame, said_after } })
    }

    /// It is said from now on. Returns its number.
    pub(crate) fn note(&mut self, combination: Combination<'_>, Unsaid { known }: Unsaid) -> u32 {
        let number = known.number;
        self.last = self.last.max(number);
        self.known.insert(combination.owned(), known);
        number
    }

    /// Forgets all but these.
    pub(crate) fn keep(&mut self, numbers: &FastSet<u32>) {
        self.known.retain(|_, known| numbers.contains(&known.number));
    }

    /// What says all that are known.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.known.values().map(|known| known.frame.as_slice())
    }
}

impl Combination<'_> {
    fn owned(self) -> Owned {
        match self {
            Self::Opening(opening) => Owned::Opening(opening.clone()),
            Self::End(record) => {
                Owned::End(Box::new(Record { losses: Vec::new(), cost_errors: Vec::new(), ..record.clone() }))
            }
        }
    }
}

impl Owned {
    fn combination(&self) -> Combination<'_> {
        match self {
            Self::Opening(opening) => Combination::Opening(opening),
            Self::End(record) => Combination::End(record),
        }
    }
}

/// By those that differ most.
impl Hash for Combination<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Opening(Opening { facts, .. }) => {
                facts.principal.user.hash(state);
                facts.backend.hash(state);
                facts.requested_model.hash(state);
            }
            Self::End(record) => {
                record.served_model.hash(state);
                record.outcome.hash(state);
            }
        }
    }
}

impl PartialEq for Combination<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Opening(one), Self::Opening(other)) => {
                has_same_facts(&one.facts, &other.facts)
                    && one.reserved.iter().map(|it| &it.limit).eq(other.reserved.iter().map(|it| &it.limit))
            }
            (Self::End(one), Self::End(other)) => ends_alike(one, other),
            (Self::Opening(_), Self::End(_)) | (Self::End(_), Self::Opening(_)) => false,
        }
    }
}

impl Hash for Owned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.combination().hash(state);
    }
}

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.combination() == other.combination()
    }
}

impl Eq for Owned {}

impl Equivalent<Owned> for Combination<'_> {
    fn equivalent(&self, owned: &Owned) -> bool {
        *self == owned.combination()
    }
}

fn has_same_facts(one: &Facts, other: &Facts) -> bool {
    let Facts {
        request_id: _,
        attempt: _,
        started_at_ms: _,
        principal,
        route,
        backend,
        provider,
        operation,
        client_dialect,
        backend_dialect,
        delivery,
        requested_model,
        upstream_model,
    } = one;
    (*operation, *client_dialect, *backend_dialect, *delivery)
        == (other.operation, other.client_dialect, other.backend_dialect, other.delivery)
        && *principal == other.principal
        && *route == other.route
        && *backend == other.backend
        && *provider == other.provider
        && *requested_model == other.requested_model
        && *upstream_model == other.upstream_model
}

fn ends_alike(one: &Record, other: &Record) -> bool {
    let Record {
        served_model,
        outcome,
        fault,
        usage_source,
        charges,
        facts: _,
        upstream_status: _,
        usage: _,
        cost_nanodollars: _,
        cost_errors: _,
        losses: _,
        duration: _,
        time_to_first_token: _,
        time_per_output_token: _,
        delivered: _,
    } = one;
    (*outcome, *fault, *usage_source) == (other.outcome, other.fault, other.usage_source)
        && *served_model == other.served_model
        && charges.iter().map(|it| &it.limit).eq(other.charges.iter().map(|it| &it.limit))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use tollgate_exchange::{Charge, Journal, Reserved};
    use tollgate_terms::ModelName;

    use super::*;
    use crate::entry::{
        Begun, Form, Reader, Said, put_number, write_begun, write_ended, write_opened, write_settled,
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

    fn number(names: &mut Names, combination: Combination<'_>) -> Option<u32> {
        names.number(combination).or_else(|| {
            let unsaid = names.unsaid(combination)?;
            Some(names.note(combination, unsaid))
        })
    }

    #[test]
    fn attempts_with_the_same_names_have_one_number() {
        let names = &mut Names::default();
        let begun = |number| opening(number);
        assert_eq!(number(names, Combination::Opening(&begun(0))), Some(1));
        assert_eq!(number(names, Combination::Opening(&begun(6))), Some(1));
        // Another team and another backend, and the end of the first.
        assert_eq!(number(names, Combination::Opening(&begun(1))), Some(2));
        assert_eq!(number(names, Combination::End(&record(1))), Some(3));
        let mut other = begun(0);
        other.reserved[0].amount = 9;
        assert_eq!(number(names, Combination::Opening(&other)), Some(1));
        other.reserved[0].limit = "other".into();
        assert_eq!(number(names, Combination::Opening(&other)), Some(4));
        names.keep(&[2, 3].into_iter().collect());
        assert_eq!(names.frames().count(), 2);
        // A number is given once.
        assert_eq!(number(names, Combination::Opening(&begun(0))), Some(5));
    }

    #[test]
    fn whoever_invents_names_fills_no_memory() {
        let names = &mut Names::default();
        let asked = |number: usize| asking(0, &format!("model-{number}"));
        for at in 0..KNOWN_MAX {
            assert!(number(names, Combination::Opening(&asked(at))).is_some());
        }
        assert_eq!(number(names, Combination::Opening(&asked(KNOWN_MAX))), None);
        assert_eq!(number(names, Combination::Opening(&asked(0))), Some(1));
        let mut long = opening(0);
        long.reserved[0].limit = "x".repeat(FRAME_BYTES_MAX).into();
        assert_eq!(number(&mut Names::default(), Combination::Opening(&long)), None);
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
        read(frame(|payload| write_names_of_opening(1, &opening, payload)));
        read(frame(|payload| write_names_of_end(0xffff_ffff, &record, payload)));
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
        let combination = opening(0);
        let combination = Combination::Opening(&combination);
        assert_eq!(number(names, combination), Some(41));
        names.doubt();
        assert_eq!(names.number(combination), None);
        assert_eq!(number(names, combination), Some(41));
        assert_eq!((names.number(combination), names.frames().count()), (Some(41), 1));
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
        let named = |model: &str| frame(|payload| write_names_of_opening(1, &asking(0, model), payload));
        let frames = [numbered(), named("one"), numbered(), named("two"), numbered()].concat();
        let expected = [("", 0), ("one", 1), ("two", 1)].map(|(model, limits)| (model.to_owned(), limits));
        assert_eq!(route(&frames), expected);
    }
}
