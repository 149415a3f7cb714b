//! The same with a real PostgreSQL server: started for the test, killed, and started again.
//!
//! Needs the feature `postgres-tests`, and a server that is installed: `initdb` and `postgres`.

#![cfg(feature = "postgres-tests")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures"
)]

mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;
use server::Server;
use tollgate_exchange::{Facts, Journal, Outcome, Record};
use tollgate_ledger::usage::{Dimension, Format, Query, Source};
use tollgate_ledger::{IndexPlace, Ledger, Options};
use tollgate_terms::{
    BackendName, Delivery, Dialect, ModelName, Operation, Principal, RouteName, Usage, UsageSource,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(index: IndexPlace) -> Options {
    // The tests know what was used on some days, which get older.
    Options { index: Some(index), segment_bytes: 16 << 10, usage_retention: None, ..Options::default() }
}

/// A record that differs from others in all that reports tell apart.
fn record(gateway: u32, number: u32) -> Record {
    let name = |text: &str| ModelName::parse(text).expect("a name");
    let some =
        |kind: &str, of: u32| (!number.is_multiple_of(5)).then(|| format!("{kind}-{}", number % of).into());
    // What one database orders otherwise than the other, or cannot hold.
    let user = ["Äpfel", "apfel", "Apfel", "a\0b", "z'; DROP TABLE tollgate_attempts; --", "\\x"];
    let principal = Principal {
        user: user.get(number as usize % 7).map(|user| (*user).into()),
        team: some("team", 3),
        application: some("application", 2),
        key_id: some("key", 4),
    };
    let outcomes = [Outcome::Complete, Outcome::ClientGone, Outcome::Error, Outcome::Timeout];
    let outcome = outcomes.get(number as usize % 9).copied().unwrap_or(Outcome::Complete);
    let source = if outcome == Outcome::Error { UsageSource::None } else { UsageSource::ProviderFinal };
    let facts = Facts {
        request_id: format!("{gateway}-{}", number / 2).into(),
        attempt: number % 2 + 1,
        started_at_ms: 1_795_600_000_000 + u64::from(number) * 3_600_000,
        principal: Arc::new(principal),
        route: RouteName::new("default/ai"),
        backend: BackendName::new(format!("default/b{}", number % 2)),
        provider: if number.is_multiple_of(2) { "a" } else { "b" },
        operation: Operation::Chat,
        client_dialect: Dialect::OpenAiChat,
        backend_dialect: Dialect::OpenAiChat,
        delivery: Delivery::Stream,
        requested_model: name("asked"),
        upstream_model: name("sent"),
    };
    Record {
        facts: Arc::new(facts),
        served_model: (!number.is_multiple_of(3)).then(|| name("served")),
        outcome,
        fault: (outcome != Outcome::Complete).then_some("status"),
        upstream_status: (!number.is_multiple_of(4)).then_some(200),
        usage: Usage {
            input_tokens: u64::from(number),
            cached_input_tokens: 1,
            cache_creation_input_tokens: 2,
            output_tokens: 3,
            reasoning_tokens: 1,
            // A provider that lies.
            provider_total_tokens: (number == 8).then_some(u64::MAX),
        },
        usage_source: source,
        charges: Vec::new(),
        cost_nanodollars: number.is_multiple_of(2).then_some(u64::from(number) * 1000),
        cost_errors: Vec::new(),
        losses: Vec::new(),
        duration: Duration::from_millis(5),
        time_to_first_token: None,
        time_per_output_token: None,
        delivered: true,
    }
}

/// What both databases are asked.
fn queries() -> Vec<Query> {
    let since = "2026-11-27".parse().ok();
    let until = "2026-12-01T12:00:00Z".parse().ok();
    let alone = Dimension::ALL.map(|dimension| Query { by: vec![dimension], ..Query::default() });
    let all = Query { by: Dimension::ALL.to_vec(), ..Query::default() };
    let bounded = Query { by: vec![Dimension::Team, Dimension::Day], since, until };
    let nothing = Query { since: "2030-01-01".parse().ok(), ..Query::default() };
    alone.into_iter().chain([all, bounded, nothing, Query::default()]).collect()
}

/// Waits until the table holds so many attempts.
fn wait_for(source: &Source, attempts: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = source.report(&Query::default());
        if report.as_ref().is_ok_and(|report| report.total.attempts == attempts) {
            return;
        }
        assert!(Instant::now() < until, "not {attempts} attempts: {report:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the ledger tells whether the database fails it.
fn wait_until_failing(ledger: &Ledger, failing: u32) {
    let line = format!("tollgate_ledger_failing{{what=\"index\"}} {failing}");
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ledger.metrics()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a page of metrics");
        if text.lines().any(|found| found == line) {
            return;
        }
        assert!(Instant::now() < until, "not {line}\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn fill(folder: &Path, place: IndexPlace, gateway: u32, numbers: std::ops::Range<u32>) {
    let ledger = Ledger::open(folder, &options(place)).expect("a ledger");
    numbers.for_each(|number| ledger.settled(&record(gateway, number)));
    ledger.close(PATIENCE);
}

#[test]
fn both_databases_tell_the_same() {
    let server = Server::start();
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let [sqlite, postgres] = &folders;
    fill(sqlite.path(), IndexPlace::Sqlite, 1, 0..300);
    fill(postgres.path(), IndexPlace::Postgres(server.url()), 1, 0..300);
    let sources = [Source::folder(sqlite.path()), Source::postgres(server.url())];
    for query in queries() {
        let [one, other] = sources.each_ref().map(|source| source.report(&query).expect("a report"));
        assert_eq!(one, other, "{query:?}");
        assert_eq!(one.write(Format::Csv), other.write(Format::Csv));
    }
    let total = sources[1].report(&Query::default()).expect("a report").total;
    assert_eq!((total.requests, total.attempts), (150, 300));
    // All that has used something and has no price; what used nothing needs none.
    assert!(total.unpriced > 0 && total.cost_nanodollars.is_some());
}

#[test]
fn several_gateways_fill_one_database() {
    let server = Server::start();
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a folder")).collect();
    for round in 0..3 {
        std::thread::scope(|scope| {
            for (gateway, folder) in (0..).zip(&folders) {
                let place = IndexPlace::Postgres(server.url());
                // What was there before comes again, and counts once.
                scope.spawn(move || fill(folder.path(), place, gateway, 0..100 + round * 50));
            }
        });
    }
    let report = Source::postgres(server.url()).report(&Query::default()).expect("a report");
    assert_eq!(report.total.attempts, 600);
}

#[test]
fn a_database_that_is_away_is_caught_up_with() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let place = IndexPlace::Postgres(server.url());
    let ledger = Ledger::open(folder.path(), &options(place.clone())).expect("a ledger");
    let source = Source::postgres(server.url());
    let mut number = 0;
    let mut add = |count: u32| {
        let began = Instant::now();
        (number..number + count).for_each(|number| ledger.settled(&record(1, number)));
        number += count;
        // Whatever the database does.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    };
    add(100);
    wait_for(&source, 100);
    for attempts in [200, 300, 400] {
        server.kill();
        add(50);
        server.restart();
        add(50);
        wait_for(&source, attempts);
    }
    // The process ends while it is away: the next one catches up.
    server.kill();
    add(100);
    let began = Instant::now();
    ledger.close(Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(ledger);
    server.restart();
    let ledger = Ledger::open(folder.path(), &options(place)).expect("a ledger");
    wait_for(&source, 500);
    ledger.close(PATIENCE);
}

#[test]
fn a_database_that_is_stopped_is_caught_up_with_when_it_goes_on() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let place = IndexPlace::Postgres(server.url());
    let ledger = Ledger::open(folder.path(), &options(place.clone())).expect("a ledger");
    let source = Source::postgres(server.url());
    let add = |numbers: std::ops::Range<u32>| numbers.for_each(|number| ledger.settled(&record(1, number)));
    add(0..100);
    wait_for(&source, 100);
    // For a moment, wherever it is: what was asked before is answered then.
    for moment in 0..10 {
        add(100 + moment * 10..110 + moment * 10);
        std::thread::sleep(Duration::from_millis(u64::from(moment) * 13));
        server.stop();
        std::thread::sleep(Duration::from_millis(100));
        server.go_on();
    }
    wait_for(&source, 200);
    // For longer than anybody waits.
    add(200..250);
    server.stop();
    add(250..300);
    let began = Instant::now();
    source.report(&Query::default()).expect_err("no report");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    wait_until_failing(&ledger, 1);
    server.go_on();
    wait_for(&source, 300);
    wait_until_failing(&ledger, 0);
    // The process ends meanwhile.
    add(300..350);
    server.stop();
    let began = Instant::now();
    ledger.close(Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(ledger);
    server.go_on();
    fill(folder.path(), place, 1, 350..400);
    wait_for(&source, 400);
}

#[test]
fn rows_that_are_too_old_are_removed_by_whoever_fills() {
    let server = Server::start();
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let old = |gateway: u32, number: u32, days: u64| {
        let mut record = record(gateway, number);
        Arc::make_mut(&mut record.facts).started_at_ms = now.as_millis() as u64 - days * 24 * 3_600_000;
        record
    };
    let open = |folder: &Path, usage_retention| {
        let options = Options { usage_retention, ..options(IndexPlace::Postgres(server.url())) };
        Ledger::open(folder, &options).expect("a ledger")
    };
    for (gateway, folder) in (0..).zip(&folders) {
        let ledger = open(folder.path(), None);
        (0..2500).for_each(|number| ledger.settled(&old(gateway, number, 401)));
        (2500..2510).for_each(|number| ledger.settled(&old(gateway, number, 399)));
        ledger.close(PATIENCE);
    }
    let source = Source::postgres(server.url());
    wait_for(&source, 5020);
    let ledgers: Vec<_> =
        folders.iter().map(|folder| open(folder.path(), Options::default().usage_retention)).collect();
    wait_for(&source, 20);
    ledgers.iter().for_each(|ledger| ledger.close(PATIENCE));
    wait_for(&source, 20);
}
