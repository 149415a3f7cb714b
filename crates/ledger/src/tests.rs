//! The ledger as a whole, against a model of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_chat::{Effect, Loss, LossKind};
use tollgate_exchange::{Charge, Facts, Journal, Opening, Outcome, Record, Reserved};
use tollgate_terms::{
    AttemptId, BackendName, Delivery, Dialect, ModelName, Operation, Principal, RouteName, Usage, UsageSource,
};

use crate::entry::{Attempt, Form, Reader, Said, write_ended, write_opened, write_settled};
use crate::follow::Follower;
use crate::frame::Frames;
use crate::front::Front;
use crate::segment::{self, Contents, Position};
use crate::usage::{Dimension, Query, Source};
use crate::{FolderError, Ledger, Options};

pub(crate) fn options() -> Options {
    let sync_every = Duration::from_millis(5);
    // The tests know what was used on some days, which get older.
    Options { index: None, segment_bytes: 2048, sync_every, usage_retention: None, ..Options::default() }
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a name")
}

fn facts(number: u32) -> Arc<Facts> {
    let principal = Principal { team: Some(format!("team-{}", number % 3).into()), ..Principal::default() };
    Arc::new(Facts {
        request_id: format!("request-{}", number / 2).into(),
        attempt: number % 2 + 1,
        started_at_ms: 1_795_600_000_000 + u64::from(number) * 60_000,
        principal: Arc::new(principal),
        route: RouteName::new("default/ai"),
        backend: BackendName::new(format!("default/b{}", number % 2)),
        provider: "a",
        operation: Operation::Chat,
        client_dialect: Dialect::OpenAiChat,
        backend_dialect: Dialect::OpenAiChat,
        delivery: Delivery::Stream,
        requested_model: name("asked"),
        upstream_model: name("sent"),
    })
}

pub(crate) fn opening(number: u32) -> Opening {
    let reserved = Reserved { limit: "Budget/default/b".into(), amount: 7 };
    Opening { facts: facts(number), reserved: [reserved].into_iter().collect() }
}

pub(crate) fn record(number: u32) -> Record {
    Record {
        facts: facts(number),
        served_model: number.is_multiple_of(5).then(|| name("served")),
        outcome: Outcome::Complete,
        fault: None,
        upstream_status: Some(200),
        usage: Usage { input_tokens: u64::from(number), output_tokens: 1, ..Usage::default() },
        usage_source: UsageSource::ProviderFinal,
        charges: Vec::new(),
        cost_nanodollars: number.is_multiple_of(2).then_some(10),
        cost_errors: Vec::new(),
        losses: Vec::new(),
        duration: Duration::from_millis(5),
        time_to_first_token: Some(Duration::from_millis(1)),
        time_per_output_token: None,
        delivered: true,
    }
}

pub(crate) fn id(number: u32) -> AttemptId {
    AttemptId { request_id: format!("request-{}", number / 2).into(), attempt: number % 2 + 1 }
}

/// All entries of a folder: which attempts were opened, and how each was settled first.
pub(crate) fn entries(folder: &Path) -> (BTreeSet<AttemptId>, BTreeMap<AttemptId, String>) {
    let (mut opened, mut settled) = (BTreeSet::new(), BTreeMap::new());
    for number in segment::numbers(folder).expect("segments") {
        let contents = Contents::load(folder, number).expect("a segment");
        assert!(contents.is_well_begun(), "segment {number}");
        // Each can be read without any other.
        let mut reader = Reader::default();
        contents.read(|payload| match reader.read(payload) {
            Said::Opened(attempt) => {
                assert_eq!(who(&attempt), expected_who(&attempt));
                opened.insert(attempt.id());
            }
            Said::Settled(attempt) | Said::Ended(attempt) => {
                assert_ne!(attempt.outcome, "");
                settled.entry(attempt.id()).or_insert(attempt.outcome);
            }
            Said::Begun(_) | Said::Named => {}
            Said::Unknown => panic!("an entry that cannot be read"),
        });
    }
    (opened, settled)
}

/// Whose attempt it is, and at which backend.
fn who(attempt: &Attempt) -> (Option<&str>, &str) {
    (attempt.team.as_deref(), &attempt.backend)
}

/// What [`facts`] says of the attempt of this id.
fn expected_who(attempt: &Attempt) -> (Option<&'static str>, &'static str) {
    let request: u32 =
        attempt.request_id.rsplit('-').next().and_then(|id| id.parse().ok()).expect("a number");
    let number = request * 2 + attempt.attempt - 1;
    let at = |number| usize::try_from(number).expect("a number");
    (Some(["team-0", "team-1", "team-2"][at(number % 3)]), ["default/b0", "default/b1"][at(number % 2)])
}

pub(crate) fn usage(folder: &Path, by: &[Dimension]) -> crate::usage::Report {
    let query = Query { by: by.to_vec(), ..Query::default() };
    Source::folder(folder).report(&query).expect("a report")
}

/// What `write` writes, read again.
fn read(write: impl FnOnce(&mut Vec<u8>)) -> Attempt {
    let mut payload = Vec::new();
    write(&mut payload);
    match Reader::default().read(&payload) {
        Said::Opened(attempt) | Said::Settled(attempt) | Said::Ended(attempt) => *attempt,
        said => panic!("{said:?}"),
    }
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn what_is_known_of_an_attempt_is_told_whole() {
    let opened = read(|payload| write_opened(&opening(10), Form::Whole, payload));
    let expected = Attempt {
        request_id: "request-5".to_owned(),
        attempt: 1,
        started_at_ms: 1_795_600_600_000,
        team: Some("team-1".to_owned()),
        route: "default/ai".to_owned(),
        backend: "default/b0".to_owned(),
        provider: "a".to_owned(),
        operation: "chat".to_owned(),
        client_dialect: "openai_chat".to_owned(),
        backend_dialect: "openai_chat".to_owned(),
        streamed: true,
        requested_model: "asked".to_owned(),
        upstream_model: "sent".to_owned(),
        reserved: counts(&[("Budget/default/b", 7)]),
        ..Attempt::default()
    };
    assert_eq!(opened, expected);
    let loss = |kind| Loss { pointer: "/a".to_owned(), kind, effect: Effect::Meaning };
    let charge = |limit: &str, used| Charge { limit: limit.into(), counter: "c".into(), taken: 1, used };
    let record = Record {
        fault: Some("cut"),
        charges: vec![charge("one", 18), charge("two", 0)],
        losses: [LossKind::Sampling, LossKind::Citation, LossKind::Sampling].map(loss).to_vec(),
        time_per_output_token: Some(Duration::ZERO),
        ..record(10)
    };
    let settled = read(|payload| write_settled(&record, payload));
    let ended = read(|payload| write_ended(&record, Form::Whole, payload));
    assert_eq!((ended.route.as_str(), ended.id()), ("", settled.id()));
    assert_eq!(ended.opened_as(opened), settled);
    let expected = Attempt {
        reserved: BTreeMap::new(),
        served_model: Some("served".to_owned()),
        outcome: "complete".to_owned(),
        fault: Some("cut".to_owned()),
        upstream_status: Some(200),
        input_tokens: 10,
        output_tokens: 1,
        total_tokens: 11,
        usage_source: "provider_final".to_owned(),
        cost_nanodollars: Some(10),
        charges: counts(&[("one", 18), ("two", 0)]),
        losses: counts(&[("sampling", 2), ("citation", 1)]),
        duration_us: 5000,
        time_to_first_token_us: Some(1000),
        time_per_output_token_us: Some(0),
        delivered: true,
        ..expected
    };
    assert_eq!(settled, expected);
}

/// What is written by hand is what the library writes, member by member: anything that knows the messages can read a ledger.
#[test]
fn an_entry_is_protobuf() {
    let mut payload = Vec::new();
    write_settled(&record(10), &mut payload);
    let attempt = read(|read| read.extend_from_slice(&payload));
    assert_eq!(prost::Message::encode_to_vec(&attempt), payload[1..]);
}

/// What an older gateway has written is read, and what a later one has written too.
#[test]
fn members_that_are_missing_or_new_do_no_harm() {
    // Member 1 is "r"; member 99 is a text, and member 100 a number.
    let attempt = read(|payload| payload.extend_from_slice(b"s\x0a\x01r\x9a\x06\x03new\xa0\x06\x07"));
    assert_eq!(attempt, Attempt { request_id: "r".to_owned(), ..Attempt::default() });
}

#[test]
fn one_process_has_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Ledger::open(folder.path(), &options()).expect("a ledger");
    let second = Ledger::open(folder.path(), &options()).expect_err("in use");
    assert!(
        matches!(second, FolderError::InUse(_)) && second.to_string().contains("in use by another process")
    );
    drop(first);
    assert!(Ledger::open(folder.path(), &options()).is_ok());
}

#[test]
fn attempts_without_an_end_are_orphaned_once_even_if_they_began_segments_ago() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    ledger.opened(&opening(0));
    for number in 2..200 {
        ledger.opened(&opening(number));
        ledger.settled(&record(number));
        ledger.flush();
    }
    ledger.opened(&opening(1));
    drop(ledger);
    assert!(segment::numbers(folder.path()).expect("segments").len() > 10);
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    assert_eq!(ledger.replayed().orphaned, [id(0), id(1)]);
    drop(ledger);
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    assert!(ledger.replayed().orphaned.is_empty());
    let (_, settled) = entries(folder.path());
    assert_eq!((settled[&id(0)].as_str(), settled[&id(2)].as_str()), ("orphaned", "complete"));
}

#[test]
fn a_newest_segment_that_lost_its_beginning_is_made_up_for_by_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    ledger.opened(&opening(0));
    for number in 2..40 {
        ledger.settled(&record(number));
        ledger.flush();
    }
    drop(ledger);
    let last = *segment::numbers(folder.path()).expect("segments").last().expect("one");
    assert!(last > 1);
    fs::write(segment::path(folder.path(), last), b"").expect("emptied");
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    assert_eq!(ledger.replayed().orphaned, [id(0)]);
}

#[test]
fn the_table_is_filled_once_whatever_is_said_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { index: Some(crate::IndexPlace::Sqlite), ..options() };
    for round in 0..3 {
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        for number in 0..100 {
            ledger.opened(&opening(number));
            ledger.settled(&record(number));
        }
        // Once more, by a bug.
        ledger.settled(&record(7));
        ledger.opened(&opening(1000 + round));
        ledger.close(Duration::from_secs(10));
    }
    let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
    ledger.close(Duration::from_secs(10));
    let report = usage(folder.path(), &[Dimension::Team, Dimension::Outcome]);
    let total = &report.total;
    assert_eq!((total.attempts, total.requests, total.orphaned), (103, 52, 3));
    assert_eq!((total.input_tokens, total.output_tokens, total.total_tokens), (4950, 100, 5050));
    assert_eq!((total.cost_nanodollars, total.unpriced), (Some(500), 50));
    let keys: Vec<_> = report.rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys[0], [Some("team-0".to_owned()), Some("complete".to_owned())]);
    assert_eq!(report.rows.iter().map(|row| row.totals.attempts).sum::<u64>(), 103);
    let models = usage(folder.path(), &[Dimension::Model]);
    let attempts: Vec<_> = models.rows.iter().map(|row| (row.key[0].clone(), row.totals.attempts)).collect();
    assert_eq!(attempts, [(Some("sent".to_owned()), 83), (Some("served".to_owned()), 20)]);
}

/// The database may be at any entry when the process dies, and what is said of an attempt stands in two of them.
#[test]
fn what_is_read_from_any_entry_on_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { segment_bytes: 1024, ..options() };
    let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
    for number in 0..60 {
        ledger.opened(&opening(number));
        if let Some(before) = number.checked_sub(5) {
            ledger.settled(&record(before));
        }
        ledger.flush();
    }
    // Two that nobody has opened.
    (60..62).for_each(|number| ledger.settled(&record(number)));
    drop(ledger);
    let limit = Position { segment: u64::MAX, offset: 0 };
    let numbers = segment::numbers(folder.path()).expect("segments");
    assert!(numbers.len() > 5);
    let mut starts = 0;
    for &segment in &numbers {
        let bytes = fs::read(segment::path(folder.path(), segment)).expect("a segment");
        let mut frames = Frames::of(&bytes[segment::MAGIC.len()..]);
        while frames.next().is_some() {
            let mut at = Position { segment, offset: (bytes.len() - frames.rest.len()) as u64 };
            let mut follower = Follower::new(folder.path().to_owned());
            starts += 1;
            loop {
                let batch = follower.batch(at, limit).expect("a batch");
                for settled in &batch.settled {
                    let said = (settled.route.as_str(), settled.requested_model.as_str(), &settled.team);
                    assert!(matches!(said, ("default/ai", "asked", Some(_))), "{settled:?}");
                    assert_eq!(who(settled), expected_who(settled));
                }
                if batch.to == at {
                    break;
                }
                at = batch.to;
            }
        }
    }
    assert!(starts > 120, "{starts}");
}

#[test]
fn old_segments_go_once_they_are_in_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Some(crate::IndexPlace::Sqlite);
    let options = Options { index, retention: Duration::ZERO, ..options() };
    let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
    for number in 0..100 {
        ledger.settled(&record(number));
        ledger.flush();
    }
    ledger.close(Duration::from_secs(10));
    assert_eq!(segment::numbers(folder.path()).expect("segments").len(), 1);
    assert_eq!(usage(folder.path(), &[]).total.attempts, 100);
}

#[test]
fn segments_that_are_not_in_the_table_stay_however_old_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens there.
    let index = Some(crate::IndexPlace::Postgres("postgres://nobody@127.0.0.1:1/none".to_owned()));
    let options = Options { index, retention: Duration::ZERO, ..options() };
    let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
    for number in 0..100 {
        ledger.settled(&record(number));
        ledger.flush();
    }
    ledger.close(Duration::from_secs(1));
    assert_eq!(segment::numbers(folder.path()).expect("segments").first(), Some(&1));
    drop(ledger);
    let options = Options { index: Some(crate::IndexPlace::Sqlite), ..options };
    Ledger::open(folder.path(), &options).expect("a ledger").close(Duration::from_secs(10));
    assert_eq!(segment::numbers(folder.path()).expect("segments").len(), 1);
    assert_eq!(usage(folder.path(), &[]).total.attempts, 100);
}

/// What an attempt used that began so many days ago.
fn old(number: u32, days: u64) -> Record {
    let mut record = record(number);
    let now = crate::clock::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    let then = now.as_millis() as u64 - days * 24 * 3_600_000;
    Arc::make_mut(&mut record.facts).started_at_ms = then;
    record
}

#[test]
fn rows_that_are_too_old_are_removed_from_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let keeping = |usage_retention| {
        let index = Some(crate::IndexPlace::Sqlite);
        let options = Options { index, usage_retention, ..options() };
        Ledger::open(folder.path(), &options).expect("a ledger")
    };
    let ledger = keeping(None);
    (0..2500).for_each(|number| ledger.settled(&old(number, 401)));
    (2500..2510).for_each(|number| ledger.settled(&old(number, 399)));
    ledger.close(Duration::from_secs(20));
    let ledger = keeping(None);
    (2510..2520).for_each(|number| ledger.settled(&old(number, 0)));
    ledger.close(Duration::from_secs(20));
    // For ever is what it says.
    assert_eq!(usage(folder.path(), &[]).total.attempts, 2520);
    let ledger = keeping(Options::default().usage_retention);
    let waits = || usage(folder.path(), &[]).total.attempts > 20;
    (0..400).take_while(|_| waits()).for_each(|_| std::thread::sleep(Duration::from_millis(50)));
    assert_eq!(ledger.metrics().0.removed.get(), 2500);
    ledger.close(Duration::from_secs(20));
    assert_eq!(usage(folder.path(), &[]).total.attempts, 20);
    // And they do not come back.
    keeping(None).close(Duration::from_secs(20));
    assert_eq!(usage(folder.path(), &[]).total.attempts, 20);
}

/// The table may have been told of entries that the disk never kept.
#[test]
fn entries_behind_the_place_that_the_table_remembers_are_not_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { index: Some(crate::IndexPlace::Sqlite), ..options() };
    let fill = |numbers: std::ops::Range<u32>| {
        let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
        numbers.for_each(|number| ledger.settled(&record(number)));
        ledger.close(Duration::from_secs(10));
    };
    fill(0..4);
    cut(folder.path(), 1500);
    fill(4..8);
    assert_eq!(usage(folder.path(), &[]).total.attempts, 8);
}

#[test]
fn a_ledger_that_nobody_has_is_caught_up_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    (0..100).for_each(|number| ledger.settled(&record(number)));
    crate::catch_up(folder.path()).expect("nothing to do");
    assert!(!folder.path().join("attempts.sqlite").exists());
    drop(ledger);
    for _ in 0..2 {
        crate::catch_up(folder.path()).expect("caught up");
        assert_eq!(usage(folder.path(), &[]).total.attempts, 100);
    }
}

#[test]
fn several_threads_write_at_one_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (0..500).map(|number| thread * 1000 + number) {
                    ledger.opened(&opening(number));
                    ledger.settled(&record(number));
                }
            });
        }
    });
    drop(ledger);
    let (opened, settled) = entries(folder.path());
    assert_eq!((opened.len(), settled.len()), (2000, 2000));
    assert!(Ledger::open(folder.path(), &options()).expect("a ledger").replayed().orphaned.is_empty());
}

/// What is done to a ledger.
#[derive(Debug, Clone)]
enum Deed {
    Open(u32),
    Settle(u32),
    /// The process ends, and of the last bytes so many are lost.
    Cut(usize),
    Reopen,
    /// The process is killed.
    Kill,
    Flush,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (0..40_u32).prop_map(Deed::Open),
        8 => (0..40_u32).prop_map(Deed::Settle),
        1 => (0..2000_usize).prop_map(Deed::Cut),
        1 => Just(Deed::Reopen),
        1 => Just(Deed::Kill),
        2 => Just(Deed::Flush),
    ]
}

/// What a ledger must know.
#[derive(Default)]
struct Model {
    opened: BTreeSet<AttemptId>,
    settled: BTreeMap<AttemptId, String>,
}

impl Model {
    /// The ledger is opened: what ran is orphaned.
    fn reopen(&mut self) -> BTreeSet<AttemptId> {
        let ran = |id: &&AttemptId| !self.settled.contains_key(*id);
        let orphans: BTreeSet<_> = self.opened.iter().filter(ran).cloned().collect();
        self.settled.extend(orphans.iter().map(|id| (id.clone(), "orphaned".to_owned())));
        orphans
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is done, and wherever the last segment is cut: what is whole is there, and what ran is orphaned.
    #[test]
    fn the_ledger_is_what_its_model_is(
        deeds in proptest::collection::vec(deed(), 0..120),
        is_kept in proptest::bool::ANY,
    ) {
        let mut folder = tempfile::tempdir().expect("a folder");
        let open = |folder: &Path| {
            let front = |folder: &Path, at| if is_kept { Front::open(folder, at) } else { Front::Lost(Vec::new()) };
            // It is written when this test says so.
            let options = Options { sync_every: Duration::from_secs(3600), ..options() };
            Ledger::open_with(folder, &options, front).expect("a ledger")
        };
        let mut ledger = open(folder.path());
        let mut model = Model::default();
        for deed in deeds {
            match deed {
                // An attempt is opened once, before it is settled.
                Deed::Open(number) if model.settled.contains_key(&id(number)) || model.opened.contains(&id(number)) => {}
                Deed::Open(number) => {
                    ledger.opened(&opening(number));
                    model.opened.insert(id(number));
                }
                Deed::Settle(number) => {
                    ledger.settled(&record(number));
                    model.settled.entry(id(number)).or_insert("complete".to_owned());
                }
                Deed::Cut(bytes) => {
                    drop(ledger);
                    cut(folder.path(), bytes);
                    // The model forgets what is not whole any more.
                    let (opened, settled) = entries(folder.path());
                    prop_assert!(opened.is_subset(&model.opened));
                    model = Model { opened, settled };
                    ledger = open(folder.path());
                    let found: BTreeSet<_> = ledger.replayed().orphaned.iter().cloned().collect();
                    prop_assert_eq!(found, model.reopen());
                }
                Deed::Flush => ledger.flush(),
                Deed::Kill | Deed::Reopen => {
                    // What there is without an orderly end.
                    let left = copy(folder.path());
                    drop(ledger);
                    if let Deed::Kill = deed {
                        folder = left;
                    }
                    ledger = open(folder.path());
                    let found: BTreeSet<_> = ledger.replayed().orphaned.iter().cloned().collect();
                    prop_assert_eq!(found, model.reopen());
                    prop_assert_eq!(ledger.replayed().torn_bytes, 0);
                }
            }
        }
        drop(ledger);
        let (opened, settled) = entries(folder.path());
        prop_assert_eq!(opened, model.opened);
        prop_assert_eq!(settled, model.settled);
    }
}

/// All files of a folder, in another.
fn copy(folder: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for file in fs::read_dir(folder).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.path().join(file.file_name())).expect("a copy");
    }
    to
}

/// Cuts bytes off the last segment, but not the beginning that it was made with.
fn cut(folder: &Path, bytes: usize) {
    let last = *segment::numbers(folder).expect("segments").last().expect("one");
    let path = segment::path(folder, last);
    let whole = fs::read(&path).expect("a segment");
    fs::write(&path, &whole[..whole.len().saturating_sub(bytes)]).expect("cut");
    if !Contents::load(folder, last).expect("a segment").is_well_begun() {
        fs::write(&path, &whole).expect("as it was");
    }
}
