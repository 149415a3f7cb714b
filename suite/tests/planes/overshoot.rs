//! ACC-09: how far a limit is passed by requests that come at the same time.

use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tollgate_config::bundle::{
    CostKind, Enforcement, Limit, LimitStore, Measure, OnExceeded, OnStoreFailure, Rule, Unpriced, Window,
};
use tollgate_suite::{Act, ScriptedBackend, Tested, completion, openai, rule, sized, status};

/// How long a backend thinks.
const THINKS: Duration = Duration::from_millis(100);

/// Tokens that may be used: about twenty answers.
const AMOUNT: u64 = 1200;

/// Tokens of an answer that the client allows.
const ANSWER_MAX: u64 = 90;

const ASKED: &str = r#"{"model":"m","max_tokens":90,"messages":[{"role":"user","content":"hi"}]}"#;

fn limit(name: &str, amount: u64, window: Window, enforcement: Enforcement) -> Limit {
    let counts_tokens = !matches!(window, Window::InFlight);
    Limit {
        name: name.to_owned(),
        select: Vec::new(),
        amount,
        window,
        request: u64::from(!counts_tokens),
        measure: counts_tokens.then_some(Measure::Tokens(CostKind::TotalToken)),
        enforcement,
        answer_tokens_max: ANSWER_MAX,
        shadow: false,
        group: None,
        store: LimitStore::Shared,
        on_store_failure: OnStoreFailure::Closed,
        on_exceeded: OnExceeded::Reject,
        warn_at_percent: Vec::new(),
        unpriced: Unpriced::Allow,
    }
}

/// Answers that cost differently: some next to nothing, some as much as is allowed.
fn costs() -> Vec<Vec<Act>> {
    let answer = |at: u64| {
        let tokens = 1 + at * 37 % ANSWER_MAX;
        let usage = format!(r#""completion_tokens":{tokens},"total_tokens":{}"#, tokens + 11);
        let body = completion().replace(r#""completion_tokens":7,"total_tokens":18"#, &usage);
        vec![Act::Pause(THINKS), Act::Write(sized(200, "application/json", "", &body))]
    };
    (0..600).map(answer).collect()
}

/// So many clients ask until the tokens are used up. What was used, as a share of the limit.
fn share(limits: Vec<Limit>, clients: usize) -> f64 {
    let backend = ScriptedBackend::start(costs());
    let rule = Rule { limits, ..rule(&["b"]) };
    let tested = Arc::new(Tested::start(rule, vec![openai("b", backend.address)]));
    let asking: Vec<_> = (0..clients)
        .map(|_| {
            let tested = Arc::clone(&tested);
            thread::spawn(move || {
                let mut asked = 0;
                loop {
                    asked += 1;
                    let answer = tested.chat(ASKED);
                    match status(&answer) {
                        200 => {}
                        // There is something left, only not at once.
                        429 if answer.contains("at once") => thread::sleep(THINKS),
                        429 => return asked,
                        _ => panic!("{answer}"),
                    }
                }
            })
        })
        .collect();
    let asked: usize = asking.into_iter().map(|client| client.join().expect("a client")).sum();
    let lines = tested.log_lines(asked);
    let used: u64 = lines.iter().filter_map(|line| line["gen_ai.usage.total_tokens"].as_u64()).sum();
    // Not more than 2^32 of either.
    f64::from(u32::try_from(used).expect("few")) / f64::from(u32::try_from(AMOUNT).expect("few"))
}

#[test]
fn acc_09_a_reserved_limit_is_never_passed_whatever_comes_at_once() {
    let day = || Window::Fixed { seconds: 1 << 31 };
    let settle = || limit("tokens", AMOUNT, day(), Enforcement::Settle);
    let reserve = || limit("tokens", AMOUNT, day(), Enforcement::Reserve);
    let five = || limit("at once", 5, Window::InFlight, Enforcement::Settle);
    let mut table = String::from(
        "| clients at once | `Settle` | `Settle`, 5 in flight | `Reserve` |\n|---:|---:|---:|---:|\n",
    );
    for clients in [1, 5, 50, 500] {
        let settled = share(vec![settle()], clients);
        let bounded = share(vec![five(), settle()], clients);
        let reserved = share(vec![reserve()], clients);
        writeln!(table, "| {clients} | {settled:.2} | {bounded:.2} | {reserved:.2} |").expect("text");
        assert!(reserved <= 1.0, "{table}");
        // One call is let in as long as anything is left: at most so many more than fit.
        let call = 11.0 + 90.0;
        let limit = f64::from(u32::try_from(AMOUNT).expect("few"));
        assert!(bounded <= 1.0 + 5.0 * call / limit, "{table}");
        assert!(settled <= 1.0 + f64::from(u32::try_from(clients).expect("few")) * call / limit, "{table}");
    }
    println!("{table}");
}
