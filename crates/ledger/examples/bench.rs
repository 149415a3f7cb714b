//! Microseconds for an attempt: opened and settled, by one thread and by several.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may end at once, and tells its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_exchange::{Facts, Journal, Opening, Outcome, Record};
use tollgate_ledger::{IndexPlace, Ledger, Options};
use tollgate_terms::{
    BackendName, Delivery, Dialect, ModelName, Operation, Principal, RouteName, Usage, UsageSource,
};

/// Attempts of each thread.
const ATTEMPTS: u32 = 100_000;

fn main() {
    for index in [None, Some(IndexPlace::Sqlite)] {
        for threads in [1, 2, 4] {
            let folder = tempfile::tempdir().expect("a folder");
            let options = Options { index: index.clone(), ..Options::default() };
            let ledger = Ledger::open(folder.path(), &options).expect("a ledger");
            measure(&ledger, threads, &format!("{index:?}"));
            #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
            let began = Instant::now();
            ledger.close(Duration::from_secs(60));
            println!("    kept, and in the table, {:.1} s later", began.elapsed().as_secs_f64());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn measure(ledger: &Ledger, threads: u32, what: &str) {
    let began = Instant::now();
    let mut spent: Vec<Duration> = std::thread::scope(|scope| {
        let run = |thread| {
            move || {
                let attempt = |number| {
                    // As random as the ids of requests are, and in the order of time.
                    let scattered = u64::from(thread * ATTEMPTS + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let request_id: Arc<str> = format!("{scattered:016x}-4000-8000-{number:012}").into();
                    let (opening, record) = facts(&request_id, number);
                    let began = Instant::now();
                    ledger.opened(&opening);
                    ledger.settled(&record);
                    began.elapsed()
                };
                (0..ATTEMPTS).map(attempt).collect::<Vec<_>>()
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    let each = spent.iter().sum::<Duration>().as_secs_f64() / f64::from(threads * ATTEMPTS) * 1e6;
    let rate = f64::from(threads * ATTEMPTS) / began.elapsed().as_secs_f64();
    spent.sort_unstable();
    let [half, p99, worst] = [50, 99, 100].map(|percent| spent[(spent.len() - 1) * percent / 100]);
    println!(
        "{what}, {threads} threads: {each:.2} us for an attempt ({half:.1?} half, {p99:.1?} p99, {worst:.1?} worst), {rate:.0} attempts a second"
    );
}

fn facts(request_id: &Arc<str>, number: u32) -> (Opening, Record) {
    let name = |text| ModelName::parse(text).expect("a name");
    let principal = Arc::new(Principal {
        user: Some("somebody".into()),
        team: Some("research".into()),
        application: Some("notebook".into()),
        key_id: Some("key-1".into()),
    });
    let (route, backend) = (RouteName::new("default/ai"), BackendName::new("default/backend"));
    let facts = Arc::new(Facts {
        request_id: Arc::clone(request_id),
        attempt: 1,
        started_at_ms: 1_795_600_000_000 + u64::from(number / 20),
        principal,
        route,
        backend,
        provider: "a",
        operation: Operation::Chat,
        client_dialect: Dialect::OpenAiChat,
        backend_dialect: Dialect::OpenAiChat,
        delivery: Delivery::Stream,
        requested_model: name("asked-model"),
        upstream_model: name("sent-model"),
    });
    let opening = Opening { facts: Arc::clone(&facts), reserved: Default::default() };
    let record = Record {
        facts,
        served_model: Some(name("served-model")),
        outcome: Outcome::Complete,
        fault: None,
        upstream_status: Some(200),
        usage: Usage { input_tokens: 1000, output_tokens: 100, ..Usage::default() },
        usage_source: UsageSource::ProviderFinal,
        charges: Vec::new(),
        cost_nanodollars: Some(12_345),
        cost_errors: Vec::new(),
        losses: Vec::new(),
        duration: Duration::from_millis(5),
        time_to_first_token: Some(Duration::from_millis(1)),
        time_per_output_token: Some(Duration::from_micros(20)),
        delivered: true,
    };
    (opening, record)
}
