//! ACC-01, ACC-02 and ACC-06: what backends say they have served is what the ledger, the metrics, the access log and the counters of
//! limits say, to the token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_config::bundle::{
    Backend, CostKind, Enforcement, HeaderMatch, Limit, LimitStore, Match, Measure, OnExceeded,
    OnStoreFailure, Rule, Schema, TextMatch, Unpriced, Window,
};
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_ledger::usage::{Query, Report, Source};
use tollgate_ledger::{IndexPlace, Ledger, Options};
use tollgate_suite::{
    Tested, backend, bundle, free_port, header, keyed, openai, retrying, rule, secret_ref, status,
};
use tollgate_terms::{ModelName, Secret};
use tollgate_testkit::mock::Mock;

/// Backends, each a mock of its own; the last one is not there.
const BACKENDS: [&str; 5] = ["chat", "messages", "responses", "converse", "gemini"];
const DEAD: &str = "dead";

/// What is counted by one limit for all, which refuses nobody.
const AMOUNT: u64 = 1 << 40;

/// What a client may ask for, and who is tried for it: backends, each with what the mock behind it does first.
const MODELS: [(&str, &[(&str, &str)]); 13] = [
    ("to-chat", &[("chat", "")]),
    ("to-messages", &[("messages", "")]),
    ("to-responses", &[("responses", "")]),
    ("to-converse", &[("converse", "")]),
    ("to-gemini", &[("gemini", "")]),
    ("after-429", &[("chat", "--429"), ("messages", "")]),
    ("after-500", &[("messages", "--500"), ("chat", "")]),
    ("after-two", &[("responses", "--503"), ("chat", "--429"), ("converse", "")]),
    ("after-no-connection", &[(DEAD, ""), ("chat", "")]),
    ("after-a-page", &[("chat", "--html"), ("gemini", "")]),
    ("flaky", &[("chat", "--flaky2"), ("messages", "")]),
    ("cut", &[("chat", "--cut")]),
    ("broken", &[("messages", "--error")]),
];

/// Those that are answered in the end whatever comes before; the others break off.
fn is_answered(model: &str) -> bool {
    !["cut", "broken"].contains(&model)
}

const CLIENTS: [&str; 3] = ["/v1/chat/completions", "/anthropic/v1/messages", "/v1/responses"];

fn model(name: &str) -> ModelName {
    ModelName::parse(name).expect("a name")
}

fn counting() -> Limit {
    Limit {
        name: "all".to_owned(),
        select: Vec::new(),
        amount: AMOUNT,
        window: Window::Fixed { seconds: 1 << 31 },
        request: 0,
        measure: Some(Measure::Tokens(CostKind::TotalToken)),
        enforcement: Enforcement::Settle,
        answer_tokens_max: 64,
        shadow: false,
        group: None,
        store: LimitStore::Shared,
        on_store_failure: OnStoreFailure::Closed,
        on_exceeded: OnExceeded::Reject,
        warn_at_percent: Vec::new(),
        unpriced: Unpriced::Allow,
    }
}

fn rule_for(name: &str, targets: &[(&str, &str)]) -> Rule {
    let names: Vec<&str> = targets.iter().map(|(backend, _)| *backend).collect();
    let mut made = retrying(rule(&names));
    for (target, (_, does)) in made.targets.iter_mut().zip(targets) {
        target.model_override = Some(model(&format!("{name}{does}")));
    }
    let value = TextMatch::Exact(name.to_owned());
    made.matches = vec![Match { headers: vec![HeaderMatch { name: "x-ai-eg-model".to_owned(), value }] }];
    made.limits = vec![counting()];
    made
}

/// Mocks at work, on a thread of their own, until the process ends.
struct Mocks(BTreeMap<&'static str, Mock>);

impl Mocks {
    fn start() -> Self {
        let (sender, started) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                for name in BACKENDS {
                    sender.send((name, Mock::start().await.expect("a mock"))).expect("a test");
                }
                drop(sender);
                std::future::pending::<()>().await;
            });
        });
        Self(started.into_iter().collect())
    }

    fn backends(&self) -> Vec<Backend> {
        let prefix = |prefix: &str| prefix.to_owned();
        let made = |(name, mock): (&&str, &Mock)| {
            let schema = match *name {
                "chat" => Schema::OpenAi { prefix: prefix("v1") },
                "messages" => Schema::Anthropic { prefix: prefix("v1") },
                "responses" => Schema::OpenAiResponses { prefix: prefix("v1") },
                "converse" => Schema::AwsBedrock,
                _ => Schema::Gemini { prefix: prefix("v1beta") },
            };
            keyed(backend(name, schema, mock.address()))
        };
        let dead = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, free_port()));
        self.0.iter().map(made).chain([openai(DEAD, dead)]).collect()
    }

    /// Requests that came to each, and the tokens of those that were answered whole.
    fn served(&self) -> BTreeMap<String, Sums> {
        let sums = |mock: &Mock| {
            let mut sums = Sums { attempts: 0, complete: 0, input: 0, output: 0 };
            for seen in mock.requests() {
                sums.attempts += 1;
                if let Some(served) = seen.served {
                    assert!(!seen.left_early, "{seen:?}");
                    sums.complete += 1;
                    sums.input += served.input_tokens;
                    sums.output += served.output_tokens;
                }
            }
            sums
        };
        self.0.iter().map(|(name, mock)| ((*name).to_owned(), sums(mock))).collect()
    }
}

/// Attempts at one backend, and the tokens of those that are complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    attempts: u64,
    complete: u64,
    input: u64,
    output: u64,
}

/// A gateway with a ledger in front of all mocks.
struct Books {
    mocks: Mocks,
    tested: Tested,
    ledger: Arc<Ledger>,
    folder: tempfile::TempDir,
}

impl Books {
    fn open() -> Self {
        let mocks = Mocks::start();
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { index: Some(IndexPlace::Sqlite), ..Options::default() };
        let ledger = Arc::new(Ledger::open(folder.path(), &options).expect("a ledger"));
        let mut rules = MODELS.map(|(name, targets)| rule_for(name, targets)).into_iter();
        let first = rules.next().expect("a rule");
        let mut configuration = bundle(free_port(), first, mocks.backends());
        configuration.routes[0].rules.extend(rules);
        let secrets: Secrets =
            [(secret_ref(), Secret::new("key-of-a-test".to_owned()))].into_iter().collect();
        let journal = Arc::clone(&ledger);
        let tested = Tested::start_recorded(configuration, secrets, journal, &Quotas::default());
        Self { mocks, tested, ledger, folder }
    }

    fn report(&self, query: &str) -> Report {
        let source = Source::of(IndexPlace::Sqlite, self.folder.path());
        source.report(&Query::parse(query).expect("a question")).expect("a report")
    }

    /// The counter of the limit, as a client is told that asks once more.
    fn counter(&self) -> u64 {
        let answer = self.tested.send(&request(CLIENTS[0], "to-chat", "once more", false));
        let left = header(&answer, "x-ratelimit-remaining").unwrap_or_else(|| panic!("{answer}"));
        AMOUNT - left.parse::<u64>().expect("a number")
    }

    /// Compares everything that has something to say, once `count` requests are over. Returns what it comes to.
    fn balance(&self, count: usize, what: &str) -> String {
        let lines = self.tested.log_lines(count);
        let metrics = self.tested.metrics();
        let served = self.mocks.served();
        let counter = self.counter();
        // That one as well, which the figures above leave out.
        let last = &self.tested.log_lines(count + 1)[count];
        self.ledger.close(Duration::from_secs(10));

        let mut recorded: BTreeMap<String, Sums> = BTreeMap::new();
        for row in self.report("by=backend,outcome").rows {
            let [Some(backend), Some(outcome)] = row.key.as_slice() else { panic!("{row:?}") };
            let sums = recorded.entry(backend.clone()).or_default();
            sums.attempts += row.totals.attempts;
            if outcome == "complete" {
                sums.complete += row.totals.attempts;
                sums.input += row.totals.input_tokens;
                sums.output += row.totals.output_tokens;
            }
        }
        recorded.remove(DEAD);
        let chat = recorded.get_mut("chat").expect("attempts at it");
        chat.attempts -= 1;
        chat.complete -= 1;
        chat.input -= number(last, "gen_ai.usage.input_tokens");
        chat.output -= number(last, "gen_ai.usage.output_tokens");
        recorded.retain(|_, sums| sums.attempts > 0);
        let mut served = served;
        served.retain(|_, sums| sums.attempts > 0);
        assert_eq!(recorded, served, "{what}: ledger and backends");

        // Estimates of what was cut are no less told everywhere.
        let total = self.report("").total;
        let all = (
            total.input_tokens - number(last, "gen_ai.usage.input_tokens"),
            total.output_tokens - number(last, "gen_ai.usage.output_tokens"),
        );
        assert_eq!(measured(&metrics), all, "{what}: metrics and ledger");
        assert_eq!(logged(&lines), all, "{what}: access log and ledger");
        assert_eq!(counter, all.0 + all.1, "{what}: counter and ledger");
        assert_eq!(total.requests, count as u64 + 1, "{what}: requests");
        assert_eq!(total.orphaned, 0, "{what}");
        format!("{what}: {count} requests, {} attempts, {} + {} tokens", total.attempts - 1, all.0, all.1)
    }
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or(0)
}

/// Tokens of the prompts and answers of all attempts in the access log.
fn logged(lines: &[Value]) -> (u64, u64) {
    let mut sums = (0, 0);
    for line in lines {
        match line["tollgate.tried"].as_array() {
            Some(tried) => tried.iter().for_each(|one| {
                sums.0 += number(one, "input_tokens");
                sums.1 += number(one, "output_tokens");
            }),
            None => {
                sums.0 += number(line, "gen_ai.usage.input_tokens");
                sums.1 += number(line, "gen_ai.usage.output_tokens");
            }
        }
    }
    sums
}

/// The same in the metrics.
fn measured(metrics: &str) -> (u64, u64) {
    let sum = |kind: &str| {
        let label = format!("gen_ai_token_type=\"{kind}\"");
        let lines = metrics.lines().filter(|line| line.starts_with("gen_ai_client_token_usage_token_sum{"));
        let lines = lines.filter(|line| line.contains(&label));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let sum: f64 = lines.map(|line| value(line).unwrap_or_else(|| panic!("{line}"))).sum();
        format!("{sum:.0}").parse().expect("a number")
    };
    (sum("input"), sum("output"))
}

fn request(path: &str, model: &str, text: &str, streams: impl Into<Value>) -> String {
    let body = match path {
        "/v1/responses" => json!({"model": model, "input": text, "stream": streams.into(), "store": false}),
        _ => {
            let messages = json!([{"role": "user", "content": text}]);
            json!({"model": model, "max_tokens": 500, "messages": messages, "stream": streams.into()})
        }
    };
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Numbers by chance, the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("a small number")
    }
}

/// ACC-01 and ACC-02: any mix of clients, backends, streams, failures and tries. `TOLLGATE_SEED` makes another.
#[test]
fn acc_01_02_what_is_served_is_what_every_account_says() {
    const REQUESTS: usize = 150;
    let seed = std::env::var("TOLLGATE_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut chance = Chance(seed);
    let books = Arc::new(Books::open());
    let (sender, receiver) = channel::<(String, &str)>();
    let receiver = Arc::new(std::sync::Mutex::new(receiver));
    for _ in 0..REQUESTS {
        let (name, _) = MODELS[chance.below(MODELS.len())];
        let text = vec!["word"; 1 + chance.below(30)].join(" ");
        let path = CLIENTS[chance.below(CLIENTS.len())];
        sender.send((request(path, name, &text, chance.below(2) == 1), name)).expect("a queue");
    }
    drop(sender);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (books, receiver) = (Arc::clone(&books), Arc::clone(&receiver));
            std::thread::spawn(move || {
                loop {
                    let next = receiver.lock().expect("the queue").recv();
                    let Ok((request, name)) = next else { return };
                    let answer = books.tested.send(&request);
                    assert!(!is_answered(name) || status(&answer) == 200, "{request}\n{answer}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    println!("{}", books.balance(REQUESTS, &format!("seed {seed}")));
}

/// ACC-06: what was tried before is in the sums, and the client gets one answer.
#[test]
fn acc_06_attempts_that_failed_add_up_with_the_one_that_did_not() {
    let books = Books::open();
    let mut count = 0;
    for (name, _) in MODELS.iter().filter(|(name, targets)| targets.len() > 1 && is_answered(name)) {
        for path in CLIENTS {
            for streams in [false, true] {
                let answer = books.tested.send(&request(path, name, "hello to you", streams));
                assert_eq!(status(&answer), 200, "{name}, {path}: {answer}");
                assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}, {path}: {answer}");
                count += 1;
            }
        }
    }
    println!("{}", books.balance(count, "retries"));
}
