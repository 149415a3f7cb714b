//! What clients may use together: limits before, charges after, and refusals in the client's own words.

use std::sync::Arc;
use std::time::Duration;

use tollgate_config::bundle::{
    Backend, CostExpression, CostKind, Enforcement, HeaderMatch, Limit, LimitStore, Match, Measure,
    MethodMatch, OnExceeded, OnStoreFailure, PathMatch, QueryMatch, Rule, Schema, Selector, TextMatch,
    Unpriced, Window,
};
use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, CHAT, STREAM, ScriptedBackend, Tested, backend, body, bundle, chat_request, completion, free_port,
    header, is_envoy, json, openai, retrying, rule, sized, status,
};
use tollgate_terms::ModelName;

const JSON: &str = "application/json";

pub(crate) fn good() -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![Act::Write(sized(200, JSON, "", completion()))]])
}

/// So many of something in a day.
pub(crate) fn limit(name: &str, amount: u64, measure: Option<Measure>) -> Limit {
    Limit {
        name: name.to_owned(),
        select: Vec::new(),
        amount,
        window: Window::Fixed { seconds: 86_400 },
        request: u64::from(measure.is_none()),
        measure,
        enforcement: Enforcement::Settle,
        answer_tokens_max: 64,
        shadow: false,
        group: None,
        store: LimitStore::Shared,
        on_store_failure: OnStoreFailure::Open,
        on_exceeded: OnExceeded::Reject,
        warn_at_percent: Vec::new(),
        unpriced: Unpriced::Allow,
    }
}

pub(crate) fn total() -> Option<Measure> {
    Some(Measure::Tokens(CostKind::TotalToken))
}

pub(crate) fn limited(limits: Vec<Limit>) -> Rule {
    Rule { limits, ..rule(&["b"]) }
}

fn chat_with(lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    chat_request(CHAT).replace("host: gateway\r\n", &format!("host: gateway\r\n{lines}"))
}

#[test]
fn a_limit_on_requests_lets_so_many_in_and_says_when_more_may_come() {
    let backend = good();
    let tested = Tested::start(limited(vec![limit("two", 2, None)]), vec![openai("b", backend.address)]);
    let first = tested.chat(CHAT);
    assert_eq!((status(&first), header(&first, "x-ratelimit-remaining")), (200, Some("1")), "{first}");
    assert_eq!(header(&first, "x-ratelimit-limit"), Some("2"));
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let refused = tested.chat(CHAT);
    assert_eq!(status(&refused), 429, "{refused}");
    assert_eq!(header(&refused, "x-ratelimit-remaining"), Some("0"));
    let reset: u64 = header(&refused, "x-ratelimit-reset").expect("a reset").parse().expect("seconds");
    let wait: u64 = header(&refused, "retry-after").expect("a wait").parse().expect("seconds");
    assert!((1..=86_400).contains(&reset) && wait == reset, "{refused}");
    let error = json(&refused);
    assert_eq!(error["error"]["code"], "rate_limit_exceeded", "{error}");
    assert!(error["error"]["message"].as_str().expect("a message").contains("two"), "{error}");
    let lines = tested.log_lines(3);
    assert_eq!(lines[2]["tollgate.outcome"], "refused", "{}", lines[2]);
    assert_eq!(lines[2]["tollgate.fault"], "limit_exceeded", "{}", lines[2]);
}

#[test]
fn a_limit_is_for_a_method_a_path_and_each_value_of_a_parameter() {
    let backend = good();
    let mut one = limit("one", 1, None);
    one.select = vec![
        Selector::Method { any: vec![MethodMatch { method: "POST".to_owned(), invert: false }] },
        Selector::Path { path: PathMatch::Prefix("/v1".to_owned()), invert: false },
        Selector::DistinctQuery { name: "tenant".to_owned() },
    ];
    let mut none = limit("none", 0, None);
    let parameter = QueryMatch { name: "tier".to_owned(), value: TextMatch::Exact("free".to_owned()) };
    none.select = vec![Selector::Query { parameter, invert: false }];
    let mut elsewhere = limit("elsewhere", 0, None);
    elsewhere.select =
        vec![Selector::Path { path: PathMatch::Exact("/v1/embeddings".to_owned()), invert: false }];
    let rule = limited(vec![one, none, elsewhere]);
    let tested = Tested::start(rule, vec![openai("b", backend.address)]);
    let asked = |query: &str| {
        let request =
            chat_request(CHAT).replace("/v1/chat/completions ", &format!("/v1/chat/completions{query} "));
        status(&tested.send(&request))
    };
    for (query, expected) in [
        ("?tenant=a", 200),
        ("?tenant=a&x=y", 429),
        ("?x=y&tenant=b", 200),
        ("", 200),
        ("", 200),
        ("?tier=free", 429),
        ("?tier=gold", 200),
    ] {
        assert_eq!(asked(query), expected, "{query}");
    }
}

#[test]
fn refusals_have_the_words_of_the_client() {
    let backend = good();
    let tested = Tested::start(limited(vec![limit("none", 0, None)]), vec![openai("b", backend.address)]);
    let text = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = format!(
        "POST /anthropic/v1/messages HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{text}",
        text.len()
    );
    let refused = tested.send(&request);
    assert_eq!(status(&refused), 429, "{refused}");
    assert_eq!(json(&refused)["error"]["type"], "rate_limit_error", "{refused}");
}

/// The acceptance of Envoy AI Gateway's token limits: the request that passes the limit is answered, the next one is not.
#[test]
fn a_limit_on_tokens_is_charged_what_the_answer_used() {
    let kinds = [
        (CostKind::InputToken, 11),
        (CostKind::OutputToken, 7),
        (CostKind::TotalToken, 18),
        (CostKind::Cel(CostExpression::compile("input_tokens * 100u").expect("CEL")), 1100),
    ];
    for (kind, used) in kinds {
        let backend = good();
        let bound = limit("tokens", used - 1, Some(Measure::Tokens(kind.clone())));
        let tested = Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]);
        assert_eq!(status(&tested.chat(CHAT)), 200, "{kind:?}");
        tested.log_lines(1);
        let refused = tested.chat(CHAT);
        assert_eq!(status(&refused), 429, "{kind:?}: {refused}");
        assert_eq!(tested.log_lines(2)[1]["tollgate.fault"], "limit_exceeded");
    }
}

#[test]
fn each_value_of_a_distinct_header_has_a_limit_of_its_own() {
    let backend = good();
    let selects = vec![
        Selector::DistinctHeader { name: "x-tenant-id".to_owned() },
        Selector::Header {
            name: "x-ai-eg-model".to_owned(),
            value: TextMatch::RegularExpression("m.*".to_owned()),
            invert: false,
        },
    ];
    let bound = Limit { select: selects, ..limit("per tenant", 1, None) };
    let tested = Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]);
    for (tenant, expected) in [("red", 200), ("blue", 200), ("red", 429), ("blue", 429)] {
        assert_eq!(status(&tested.send(&chat_with(&[("x-tenant-id", tenant)]))), expected, "{tenant}");
    }
    // A request without the header is not for it.
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_eq!(status(&tested.chat(CHAT)), 200);
}

#[test]
fn a_shadow_counts_and_refuses_nobody() {
    let backend = good();
    let bound = Limit { shadow: true, ..limit("shadow", 1, None) };
    let tested = Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]);
    for _ in 0..3 {
        let answer = tested.chat(CHAT);
        assert_eq!((status(&answer), header(&answer, "x-ratelimit-limit")), (200, None), "{answer}");
    }
}

#[test]
fn a_warning_is_given_at_a_share() {
    let backend = good();
    let bound = Limit { warn_at_percent: vec![50, 90], ..limit("warned", 4, None) };
    let tested = Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]);
    let warnings = [None, Some("\"warned\";used=50"), Some("\"warned\";used=50"), Some("\"warned\";used=90")];
    for expected in warnings {
        let answer = tested.chat(CHAT);
        assert_eq!(header(&answer, "x-tollgate-limit-warning"), expected, "{answer}");
    }
}

/// Requests at the same time: `Reserve` lets in no more than fit, whatever they use in the end.
#[test]
fn a_reservation_is_never_passed_by_requests_at_the_same_time() {
    let slow = vec![Act::Pause(Duration::from_millis(300)), Act::Write(sized(200, JSON, "", completion()))];
    let backend = ScriptedBackend::start(vec![slow]);
    let text = r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
    let most = text.len() as u64 + 100;
    let bound = Limit { enforcement: Enforcement::Reserve, ..limit("reserved", 3 * most, total()) };
    let tested = Arc::new(Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]));
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let tested = Arc::clone(&tested);
            std::thread::spawn(move || status(&tested.chat(text)))
        })
        .collect();
    let statuses: Vec<u16> = asking.into_iter().map(|one| one.join().expect("a status")).collect();
    let let_in = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((let_in, statuses.iter().filter(|status| **status == 429).count()), (3, 7), "{statuses:?}");
    // What they did not use was given back.
    tested.log_lines(10);
    let answer = tested.chat(text);
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn an_answer_without_a_bound_gets_one_where_it_is_reserved_for() {
    let schemas = [
        (Schema::OpenAi { prefix: "v1".to_owned() }, "max_completion_tokens"),
        (Schema::Anthropic { prefix: "v1".to_owned() }, "max_tokens"),
    ];
    for (schema, member) in schemas {
        let one = good();
        let bound = Limit { enforcement: Enforcement::Reserve, ..limit("reserved", 10_000, total()) };
        let tested = Tested::start(limited(vec![bound]), vec![backend("b", schema, one.address)]);
        tested.chat(CHAT);
        let asked: serde_json::Value = serde_json::from_str(&body(&one.request())).expect("JSON");
        assert_eq!(asked[member], 64, "{asked}");
    }
}

#[test]
fn a_limit_on_what_is_in_flight_is_free_again_when_it_is_over() {
    let slow = vec![Act::Pause(Duration::from_millis(300)), Act::Write(sized(200, JSON, "", completion()))];
    let backend = ScriptedBackend::start(vec![slow]);
    let bound = Limit { window: Window::InFlight, ..limit("at once", 1, None) };
    let tested = Arc::new(Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]));
    let first = {
        let tested = Arc::clone(&tested);
        std::thread::spawn(move || status(&tested.chat(CHAT)))
    };
    std::thread::sleep(Duration::from_millis(100));
    let refused = tested.chat(CHAT);
    assert_eq!((status(&refused), header(&refused, "retry-after")), (429, Some("1")), "{refused}");
    assert_eq!(first.join().expect("a status"), 200);
    tested.log_lines(2);
    assert_eq!(status(&tested.chat(CHAT)), 200);
}

fn with_quota(mut backend: Backend, quotas: Vec<Limit>) -> Backend {
    backend.quotas = quotas;
    backend
}

/// Whose quota is used up is left for the next. Envoy does not try again what a filter of a cluster answers.
#[test]
fn a_backend_whose_quota_is_used_up_is_left_for_the_next() {
    let (first, second) = (good(), good());
    let bounded = with_quota(openai("a", first.address), vec![limit("quota", 1, None)]);
    let tested = Tested::start(rule(&["a", "b"]), vec![bounded, openai("b", second.address)]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    first.request();
    let answer = tested.chat(CHAT);
    if is_envoy() {
        assert_eq!(status(&answer), 429, "{answer}");
    } else {
        assert_eq!(status(&answer), 200, "{answer}");
        second.request();
    }
}

#[test]
fn buckets_of_one_quota_allow_together_what_any_of_them_allows() {
    let backend = good();
    let grouped =
        |name, amount, select| Limit { group: Some("quota".to_owned()), select, ..limit(name, amount, None) };
    let red = Selector::Header {
        name: "x-team".to_owned(),
        value: TextMatch::Exact("red".to_owned()),
        invert: false,
    };
    let model = Selector::UpstreamModel { models: vec![ModelName::parse("m").expect("a name")] };
    let buckets = vec![grouped("default", 1, vec![model.clone()]), grouped("red", 3, vec![red, model])];
    let bounded = with_quota(openai("b", backend.address), buckets);
    let tested = Tested::start(rule(&["b"]), vec![bounded]);
    for (team, expected) in [("red", 200), ("blue", 429), ("red", 200), ("red", 200), ("red", 429)] {
        assert_eq!(status(&tested.send(&chat_with(&[("x-team", team)]))), expected, "{team}");
    }
}

/// Streams are charged when they end, and a client that leaves pays for what it got.
#[test]
fn a_stream_that_its_client_leaves_is_charged() {
    use std::io::{Read, Write};
    use tollgate_suite::{chunk, delta, stream_head};
    let words = "word ".repeat(40);
    let script = vec![
        Act::Write(stream_head()),
        Act::Write(chunk(&delta(&words))),
        Act::Pause(Duration::from_secs(5)),
    ];
    let backend = ScriptedBackend::start(vec![script]);
    let tested =
        Tested::start(limited(vec![limit("tokens", 5, total())]), vec![openai("b", backend.address)]);
    let mut stream = tested.connect();
    stream.write_all(chat_request(STREAM).as_bytes()).expect("a request sent");
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("word") {
        let count = stream.read(&mut buffer).expect("some bytes");
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    drop(stream);
    let line = &tested.log_lines(1)[0];
    assert!(line["gen_ai.usage.output_tokens"].as_u64().expect("tokens") >= 40, "{line}");
    assert_eq!(status(&tested.chat(CHAT)), 429);
}

/// A budget that is used up leads to a cheaper model, which is said to the client.
#[test]
fn a_budget_that_is_used_up_may_lead_to_another_model() {
    let (large, small) = (good(), good());
    let model = |name: &str| ModelName::parse(name).expect("a name");
    let for_model = |name: &str, backend: &str, limits: Vec<Limit>| Rule {
        matches: vec![Match {
            headers: vec![HeaderMatch {
                name: "x-ai-eg-model".to_owned(),
                value: TextMatch::Exact(name.to_owned()),
            }],
        }],
        limits,
        ..rule(&[backend])
    };
    let leads = Limit { on_exceeded: OnExceeded::Reroute(model("small")), ..limit("budget", 17, total()) };
    let mut configuration = bundle(
        free_port(),
        for_model("m", "a", vec![leads.clone()]),
        vec![openai("a", large.address), openai("b", small.address)],
    );
    configuration.routes[0].rules.push(for_model("small", "b", vec![leads]));
    let tested = Tested::start_bundle(configuration, Secrets::default());
    let first = tested.chat(CHAT);
    assert_eq!((status(&first), header(&first, "x-tollgate-rerouted-to")), (200, None), "{first}");
    large.request();
    tested.log_lines(1);
    for _ in 0..2 {
        let led = tested.chat(CHAT);
        assert_eq!((status(&led), header(&led, "x-tollgate-rerouted-to")), (200, Some("small")), "{led}");
        let asked: serde_json::Value = serde_json::from_str(&body(&small.request())).expect("JSON");
        assert_eq!(asked["model"], "small", "{asked}");
    }
    let line = &tested.log_lines(3)[2];
    assert_eq!(line["gen_ai.original.model"], "m", "{line}");
    assert_eq!(line["gen_ai.request.model"], "small", "{line}");
}

/// What may use more than there ever is would come again in vain.
#[test]
fn a_request_that_never_fits_is_not_asked_to_come_again() {
    let backend = good();
    let bound = Limit { enforcement: Enforcement::Reserve, ..limit("small", 50, total()) };
    let tested = Tested::start(limited(vec![bound]), vec![openai("b", backend.address)]);
    let refused = tested.chat(CHAT);
    assert_eq!(status(&refused), 429, "{refused}");
    assert_eq!((header(&refused, "x-should-retry"), header(&refused, "retry-after")), (Some("false"), None));
}

/// A backend that is tried second has its own quota asked, although the request was let in before.
#[test]
fn the_quota_of_a_backend_is_asked_whichever_attempt_it_is() {
    let failing = ScriptedBackend::start(vec![vec![Act::Write(sized(500, JSON, "", "{}"))]]);
    let other = good();
    let used_up = with_quota(openai("b", other.address), vec![limit("none", 0, total())]);
    let over = Limit { request: 1, ..limit("over", 0, None) };
    let closed = with_quota(openai("c", other.address), vec![over]);
    for backend in [used_up, closed] {
        let name = backend.name.as_ref().to_owned();
        let mut rule = retrying(rule(&["a", &name]));
        rule.limits = vec![limit("requests", 100, None)];
        let expected = if name == "b" { 200 } else { 429 };
        let tested = Tested::start(rule, vec![openai("a", failing.address), backend]);
        let answer = tested.chat(CHAT);
        assert_eq!(status(&answer), expected, "{name}: {answer}");
    }
}
