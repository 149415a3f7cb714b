//! Which rule serves a request: host names, precedence, conditions, and what is broken.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_config::bundle::{
    Backend, Bundle, HeaderMatch, Limits, Listener, Match, Mutation, OnLoss, Retry, Route, Rule, Schema,
    Target, TextMatch, Timeouts,
};
use tollgate_config::{Diagnostic, Snapshot};
use tollgate_terms::{BackendName, ModelName, RouteName};

const MODEL: &str = "x-ai-eg-model";

fn exact(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch { name: name.to_owned(), value: TextMatch::Exact(value.to_owned()) }
}

fn pattern(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch { name: name.to_owned(), value: TextMatch::RegularExpression(value.to_owned()) }
}

fn rule(name: &str, matches: &[&[HeaderMatch]]) -> Rule {
    Rule {
        name: Some(name.to_owned()),
        matches: matches.iter().map(|headers| Match { headers: headers.to_vec() }).collect(),
        targets: Vec::new(),
        timeouts: Timeouts::default(),
        retry: Retry::default(),
        limits: Vec::new(),
        models_owned_by: name.to_owned(),
        models_created_at: 7,
        access: None,
        broken: None,
    }
}

fn route(name: &str, hostnames: &[&str], created_at: i64, rules: Vec<Rule>) -> Route {
    Route {
        name: RouteName::new(name),
        listeners: vec!["http".to_owned()],
        hostnames: hostnames.iter().map(|&name| name.to_owned()).collect(),
        created_at,
        rules,
        on_loss: OnLoss::default(),
        costs: Vec::new(),
    }
}

fn compile_with(hostname: Option<&str>, routes: Vec<Route>) -> (Snapshot, Vec<Diagnostic>) {
    let listener = Listener {
        name: "http".to_owned(),
        address: [127, 0, 0, 1].into(),
        port: 80,
        hostname: hostname.map(str::to_owned),
        tls: None,
        request_body_bytes_max: 1,
    };
    Snapshot::compile(Bundle { listeners: vec![listener], routes, ..Bundle::default() })
}

fn compile(routes: Vec<Route>) -> Snapshot {
    let (snapshot, diagnostics) = compile_with(None, routes);
    assert_eq!(diagnostics, []);
    snapshot
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).expect("a model name")
}

/// The name of the rule that serves a request.
fn served(snapshot: &Snapshot, host: &str, headers: &[(&'static str, &'static str)], name: &str) -> String {
    let headers: HeaderMap = headers
        .iter()
        .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    match snapshot.route("http", host, &headers, &model(name)) {
        None => "none".to_owned(),
        Some(rule) if rule.broken.is_some() => format!("broken {}", rule.name.as_deref().unwrap_or_default()),
        Some(rule) => rule.name.clone().unwrap_or_default(),
    }
}

fn listed(snapshot: &Snapshot, host: &str) -> Vec<String> {
    snapshot.models("http", host).iter().map(|model| format!("{} {}", model.id, model.owned_by)).collect()
}

#[test]
fn prefers_more_conditions_then_age_then_name_then_order() {
    let snapshot = compile(vec![
        route("a/younger", &[], 9, vec![rule("younger", &[&[exact(MODEL, "m")]])]),
        route("b/second-name", &[], 5, vec![rule("second-name", &[&[exact(MODEL, "m")]])]),
        route(
            "b/first-name",
            &[],
            5,
            vec![
                rule("everything", &[]),
                rule("first", &[&[pattern(MODEL, "m|n")]]),
                rule("second", &[&[exact(MODEL, "m")]]),
                rule("special", &[&[exact(MODEL, "m"), exact("x-team", "blue")]]),
            ],
        ),
    ]);
    assert_eq!(served(&snapshot, "h", &[], "m"), "first");
    assert_eq!(served(&snapshot, "h", &[("x-team", "blue")], "m"), "special");
    assert_eq!(served(&snapshot, "h", &[("x-team", "red")], "m"), "first");
    assert_eq!(served(&snapshot, "h", &[], "other"), "everything");
}

#[test]
fn prefers_the_most_specific_host_and_looks_nowhere_else() {
    let snapshot = compile(vec![
        route("n/exact", &["a.example.com"], 9, vec![rule("exact", &[&[exact(MODEL, "m")]])]),
        route("n/long", &["*.b.example.com"], 1, vec![rule("long", &[])]),
        route("n/short", &["*.example.com"], 1, vec![rule("short", &[])]),
        route("n/any", &[], 1, vec![rule("any", &[&[exact(MODEL, "m"), exact("x-a", "1")], &[]])]),
    ]);
    assert_eq!(served(&snapshot, "A.Example.com:8080", &[("x-a", "1")], "m"), "exact");
    assert_eq!(served(&snapshot, "a.example.com", &[], "other"), "none");
    assert_eq!(served(&snapshot, "x.b.example.com", &[], "m"), "long");
    assert_eq!(served(&snapshot, "b.example.com", &[], "m"), "short");
    assert_eq!(served(&snapshot, "x.y.example.com.", &[], "m"), "short");
    assert_eq!(served(&snapshot, "example.com", &[], "m"), "any");
    assert_eq!(served(&snapshot, "", &[], "m"), "any");
}

#[test]
fn serves_only_the_hosts_of_the_listener() {
    let routes = vec![
        route("n/wild", &["*.example.com", "other.org"], 1, vec![rule("wild", &[])]),
        route("n/none", &["other.org"], 1, vec![rule("none of these", &[])]),
        route("n/all", &[], 2, vec![rule("all", &[])]),
    ];
    let (snapshot, _) = compile_with(Some("API.example.com"), routes);
    assert_eq!(served(&snapshot, "api.example.com", &[], "m"), "wild");
    assert_eq!(served(&snapshot, "other.org", &[], "m"), "none");
}

#[test]
fn believes_the_body_and_not_the_client_about_the_model() {
    let snapshot = compile(vec![route(
        "n/r",
        &[],
        0,
        vec![
            rule("cheap", &[&[exact(MODEL, "cheap")]]),
            rule("dear", &[&[exact(MODEL, "dear")]]),
            rule("forged", &[&[exact("x-ai-eg-original-path", "/v1/models")]]),
        ],
    )]);
    assert_eq!(served(&snapshot, "h", &[(MODEL, "dear")], "cheap"), "cheap");
    assert_eq!(served(&snapshot, "h", &[(MODEL, "dear")], "other"), "none");
    assert_eq!(served(&snapshot, "h", &[("x-ai-eg-original-path", "/v1/models")], "other"), "none");
}

#[test]
fn matches_regular_expressions_whole_and_as_re2() {
    let snapshot = compile(vec![route(
        "n/r",
        &[],
        0,
        vec![
            rule("gpt", &[&[pattern(MODEL, r"gpt-\d|o\d(-mini)?")]]),
            rule("tenant", &[&[pattern("x-tenant", "a|b")]]),
        ],
    )]);
    assert_eq!(served(&snapshot, "h", &[], "gpt-4"), "gpt");
    assert_eq!(served(&snapshot, "h", &[], "gpt-4o"), "none");
    assert_eq!(served(&snapshot, "h", &[], "x-o1"), "none");
    assert_eq!(served(&snapshot, "h", &[], "o1-mini"), "gpt");
    assert_eq!(served(&snapshot, "h", &[("x-tenant", "a")], "m"), "tenant");
    assert_eq!(served(&snapshot, "h", &[("x-tenant", "ab")], "m"), "none");
}

#[test]
fn joins_repeated_headers_and_counts_the_first_condition_on_a_header() {
    let snapshot = compile(vec![route(
        "n/r",
        &[],
        0,
        vec![
            rule("both", &[&[exact("x-a", "1,2")]]),
            rule("first", &[&[exact("x-b", "1"), exact("x-b", "2")]]),
        ],
    )]);
    assert_eq!(served(&snapshot, "h", &[("x-a", "1"), ("x-a", "2")], "m"), "both");
    assert_eq!(served(&snapshot, "h", &[("x-a", "1")], "m"), "none");
    assert_eq!(served(&snapshot, "h", &[("x-b", "1")], "m"), "first");
}

#[test]
fn fails_closed_on_an_unreadable_expression_without_taking_its_neighbours_down() {
    for bad in ["(", "a)(b", "(?=x)", "(((x{50}){50}){50}){50}"] {
        let (snapshot, diagnostics) = compile_with(
            None,
            vec![
                route("n/old", &[], 0, vec![rule("bad", &[&[pattern(MODEL, bad)]])]),
                route(
                    "n/young",
                    &[],
                    9,
                    vec![rule("neighbour", &[&[exact(MODEL, "m")]]), rule("everything", &[])],
                ),
            ],
        );
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        assert_eq!(diagnostics[0].object, "AIGatewayRoute n/old");
        assert_eq!(diagnostics[0].path, "spec.rules[0].matches[0].headers[0].value");
        assert_eq!(served(&snapshot, "h", &[], "m"), "neighbour");
        assert_eq!(served(&snapshot, "h", &[], "other"), "broken bad");
    }
}

#[test]
fn breaks_the_rule_whose_mutation_cannot_be_sent() {
    let backend = Backend {
        name: BackendName::new("n/b"),
        schema: Schema::OpenAi { prefix: "v1".to_owned() },
        endpoints: Vec::new(),
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::ZERO,
        http2_cleartext: false,
        quotas: Vec::new(),
    };
    let target = |priority, value: &str| Target {
        backend: backend.name.clone(),
        priority,
        weight: 1,
        model_override: None,
        mutation: Mutation { headers_set: vec![("x-a".to_owned(), value.to_owned())], ..Mutation::default() },
    };
    let mut good = rule("good", &[&[exact(MODEL, "good")]]);
    good.targets = vec![target(1, "later"), target(0, "first"), target(0, "second")];
    let mut bad = rule("bad", &[&[exact(MODEL, "bad")]]);
    bad.targets = vec![target(0, "line\nbreak")];
    let mut missing = rule("missing", &[&[exact(MODEL, "missing")]]);
    missing.targets = vec![Target { backend: BackendName::new("n/absent"), ..target(0, "x") }];
    let bundle = Bundle {
        backends: BTreeMap::from([(backend.name.clone(), backend.clone())]),
        ..compile_with(None, vec![route("n/r", &[], 0, vec![good, bad, missing])]).0.bundle().clone()
    };
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
    assert_eq!(served(&snapshot, "h", &[], "bad"), "broken bad");
    assert_eq!(served(&snapshot, "h", &[], "missing"), "broken missing");
    let headers = HeaderMap::new();
    let rule = snapshot.route("http", "h", &headers, &model("good")).expect("a rule");
    let order: Vec<_> = rule.targets.iter().map(|target| target.mutation.headers_set[0].1.clone()).collect();
    assert_eq!(order, ["first", "second", "later"]);
    assert_eq!(snapshot.targets_count(), 3);
}

#[test]
fn lists_each_model_of_a_host_once() {
    let models = |name: &str, models: &[&str]| {
        let matches: Vec<Vec<HeaderMatch>> = models.iter().map(|&model| vec![exact(MODEL, model)]).collect();
        rule(name, &matches.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    let snapshot = compile(vec![
        route("n/exact", &["a.example.com"], 1, vec![models("exact", &["e"])]),
        route("n/wild", &["*.example.com"], 1, vec![models("wild", &["w"])]),
        route("n/late", &[], 2, vec![models("late", &["x", "z"])]),
        route(
            "n/early",
            &[],
            1,
            vec![models("early", &["y", "x"]), rule("regex", &[&[pattern(MODEL, "r.*")]])],
        ),
    ]);
    assert_eq!(listed(&snapshot, "a.example.com"), ["e exact"]);
    assert_eq!(listed(&snapshot, "b.example.com"), ["w wild"]);
    assert_eq!(listed(&snapshot, "localhost:1975"), ["y early", "x early", "z late"]);
    assert_eq!(snapshot.models("https", "h"), []);
    assert_eq!(snapshot.models("http", "h").first().map(|model| model.created_s), Some(7));
}

#[test]
fn finds_one_of_two_thousand_routes() {
    let routes = (0..2000)
        .map(|number| {
            let name = format!("model-{number}");
            route(&format!("n/{number}"), &[], number, vec![rule(&name, &[&[exact(MODEL, &name)]])])
        })
        .collect();
    let snapshot = compile(routes);
    assert_eq!(served(&snapshot, "h", &[], "model-1999"), "model-1999");
    assert_eq!(served(&snapshot, "h", &[], "model-2000"), "none");
}

#[test]
fn shows_each_host_name_with_its_alternatives_in_order_of_precedence() {
    let conditions = [exact(MODEL, "gpt-5"), pattern("x-team", "blue|red"), pattern("x-bad", "(")];
    let named = rule("named", &[&conditions[..1], &conditions]);
    let routes =
        vec![route("any", &[], 2, vec![rule("all", &[])]), route("named", &["*.b", "a.b"], 1, vec![named])];
    let (snapshot, _) = compile_with(None, routes);
    let shown: Vec<String> = snapshot
        .virtual_hosts("http")
        .iter()
        .flat_map(|host| {
            let name = host.hostname.clone().unwrap_or_default();
            host.alternatives.iter().map(move |alternative| {
                let conditions: Vec<_> =
                    alternative.conditions().iter().map(|one| (one.header(), one.expected())).collect();
                format!("{name} {} {conditions:?}", alternative.rule().route)
            })
        })
        .collect();
    let three = "[(\"x-ai-eg-model\", Exact(\"gpt-5\")), (\"x-team\", RegularExpression(\"blue|red\")), (\"x-bad\", Any)]";
    let one = "[(\"x-ai-eg-model\", Exact(\"gpt-5\"))]";
    let expected = [
        format!("*.b named {three}"),
        format!("*.b named {one}"),
        format!("a.b named {three}"),
        format!("a.b named {one}"),
        " any []".to_owned(),
    ];
    assert_eq!(shown, expected);
    assert!(snapshot.virtual_hosts("other").is_empty());
}
