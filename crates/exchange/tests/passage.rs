//! What becomes of a request that a plain rule takes.

#![expect(clippy::disallowed_methods, reason = "a test needs some instant")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Endpoint, Forward, HeaderEdit, Limits, Listener, ListenerTls, PathRewrite, PlainAction,
    PlainMatch, PlainRoute, PlainRule, PlainTarget, Redirect, Schema, Timeouts,
};
use tollgate_exchange::{
    Arrival, BodyFraming, BodyPlan, End, Exchange, LocalReply, Outcome, Passage, RequestHead,
};
use tollgate_terms::{BackendName, RouteName};

fn backend(name: &str) -> (BackendName, Backend) {
    let backend = Backend {
        name: BackendName::new(name),
        schema: Schema::Plain,
        endpoints: vec![Endpoint::Ip { address: Ipv4Addr::LOCALHOST.into(), port: 1 }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    };
    (backend.name.clone(), backend)
}

fn rule(action: PlainAction) -> PlainRule {
    PlainRule {
        name: None,
        matches: vec![PlainMatch::default()],
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
        action,
        timeouts: Timeouts::default(),
        access: None,
        limits: Vec::new(),
        broken: None,
    }
}

fn to(weights: &[(&str, u32)], unresolved_weight: u32) -> PlainAction {
    let target = |&(name, weight): &(&str, u32)| PlainTarget { backend: BackendName::new(name), weight };
    let targets = weights.iter().map(target).collect();
    PlainAction::Forward(Forward { targets, unresolved_weight, ..Forward::default() })
}

/// One rule behind one listener.
fn snapshot(rule: PlainRule, port: u16, tls: Option<ListenerTls>) -> Arc<Snapshot> {
    let name = "l".to_owned();
    let address = Ipv4Addr::LOCALHOST.into();
    let listener = Listener { name, address, port, hostname: None, tls, request_body_bytes_max: 1 };
    let route = PlainRoute {
        name: RouteName::new("n/r"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![rule],
    };
    let (snapshot, diagnostics) = Snapshot::compile(Bundle {
        listeners: vec![listener],
        plain_routes: vec![route],
        backends: BTreeMap::from(["a", "b", "c"].map(backend)),
        ..Bundle::default()
    });
    assert_eq!(diagnostics, []);
    Arc::new(snapshot)
}

fn begin(
    snapshot: &Arc<Snapshot>,
    host: &str,
    headers: &[(&'static str, &'static str)],
) -> (Exchange, Result<BodyPlan, LocalReply>) {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let head = RequestHead {
        method: Method::GET,
        path: "/a/b".to_owned(),
        query: Some("q=1".to_owned()),
        host: Some(host.to_owned()),
        headers: headers.iter().map(pair).collect(),
        listener: "l".into(),
        client_address: "192.0.2.1".to_owned(),
        body: BodyFraming::Absent,
    };
    let arrival = Arrival {
        request_id: "r".into(),
        at: Instant::now(),
        at_unix_ms: 0,
        keyring: Arc::default(),
        vouched: Vec::new(),
    };
    Exchange::new(snapshot, head, arrival)
}

fn passage(snapshot: &Arc<Snapshot>, headers: &[(&'static str, &'static str)]) -> Box<Passage> {
    match begin(snapshot, "h", headers).1 {
        Ok(BodyPlan::Pass(passage)) => passage,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn every_backend_gets_its_share_and_no_more() {
    let snapshot = snapshot(rule(to(&[("a", 2), ("b", 0), ("c", 3)], 1)), 80, None);
    let passage = passage(&snapshot, &[]);
    let chosen = |random| passage.choose(random).map(|backend| backend.name.to_string());
    let chosen: Vec<_> = (0..12).map(chosen).collect();
    let all = [Some("a"), Some("a"), Some("c"), Some("c"), Some("c"), None];
    let expected: Vec<_> = all.iter().chain(&all).map(|name| name.map(str::to_owned)).collect();
    assert_eq!(chosen, expected);
}

#[test]
fn without_any_weight_nobody_is_chosen() {
    for action in [to(&[], 0), to(&[("a", 0)], 0), to(&[], 7)] {
        let passage = passage(&snapshot(rule(action), 80, None), &[]);
        assert!((0..16).all(|random| passage.choose(random).is_none()));
        assert_eq!(passage.nowhere().label(), "misconfigured");
    }
}

#[test]
fn the_backend_is_told_who_asks_and_nothing_of_the_connection() {
    let tls = Some(ListenerTls { certificates: Vec::new() });
    let mut edited = rule(to(&[("a", 1)], 0));
    edited.request_headers.set = vec![("x-forwarded-proto".to_owned(), "mine".to_owned())];
    for (rule, proto) in [(rule(to(&[("a", 1)], 0)), "https"), (edited, "mine")] {
        let passage = passage(
            &snapshot(rule, 443, tls.clone()),
            &[
                ("host", "h"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("content-length", "0"),
                ("x-envoy-retry-on", "5xx"),
                ("x-tollgate-request-id", "forged"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("x-forwarded-proto", "ftp"),
                ("accept", "*/*"),
            ],
        );
        let request = passage.request();
        assert_eq!((request.path.as_str(), request.host.as_bytes()), ("/a/b?q=1", &b"h"[..]));
        let left: BTreeSet<_> = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("a text")))
            .collect();
        let proto = format!("x-forwarded-proto: {proto}");
        let expected = ["accept: */*", "cookie: a=1; b=2", "x-forwarded-for: 192.0.2.1", proto.as_str()];
        assert_eq!(left, BTreeSet::from(expected.map(str::to_owned)));
    }
}

#[test]
fn a_response_keeps_what_it_has_but_for_the_connection() {
    let mut rule = rule(to(&[("a", 1)], 0));
    rule.response_headers.add = vec![("vary".to_owned(), "x".to_owned())];
    let passage = passage(&snapshot(rule, 80, None), &[]);
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("connection", "close"), ("transfer-encoding", "chunked"), ("vary", "a"), ("location", "/else")]
    {
        headers.append(name, HeaderValue::from_static(value));
    }
    let head = passage.on_response_head(StatusCode::FOUND, headers);
    assert_eq!(head.status, StatusCode::FOUND);
    assert_eq!(head.headers.get_all("vary").iter().collect::<Vec<_>>(), ["a", "x"]);
    assert_eq!(
        head.headers.keys().map(HeaderName::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["location", "vary"])
    );
}

#[test]
fn a_redirect_takes_what_is_absent_from_the_request_and_the_listener() {
    let tls = || Some(ListenerTls { certificates: Vec::new() });
    let none = || Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
    let scheme = |scheme: &str| Redirect { scheme: Some(scheme.to_owned()), ..none() };
    let prefix = |path: &str| Some(PathRewrite::Prefix(path.to_owned()));
    for (redirect, port, tls, location) in [
        (none(), 80, None, "http://www.example/a/b?q=1"),
        (none(), 8080, None, "http://www.example:8080/a/b?q=1"),
        (none(), 443, tls(), "https://www.example/a/b?q=1"),
        (none(), 80, tls(), "https://www.example:80/a/b?q=1"),
        (scheme("https"), 8080, None, "https://www.example/a/b?q=1"),
        (scheme("http"), 8443, tls(), "http://www.example/a/b?q=1"),
        (Redirect { port: Some(8443), ..scheme("https") }, 80, None, "https://www.example:8443/a/b?q=1"),
        (Redirect { port: Some(443), ..scheme("https") }, 80, None, "https://www.example/a/b?q=1"),
        (Redirect { port: Some(443), ..none() }, 80, None, "http://www.example:443/a/b?q=1"),
        (Redirect { path: prefix("/x"), ..none() }, 80, None, "http://www.example/x/a/b?q=1"),
    ] {
        let snapshot = snapshot(rule(PlainAction::Redirect(redirect)), port, tls);
        let (exchange, plan) = begin(&snapshot, "www.example:1234", &[]);
        let reply = plan.expect_err("a redirect");
        assert_eq!((reply.status, reply.reason), (StatusCode::FOUND, None));
        assert_eq!(reply.headers.get("location").expect("a location"), location);
        let summary = exchange.finish(end());
        assert_eq!(
            (summary.route, summary.passed_to, summary.attempts_made),
            (Some(RouteName::new("n/r")), None, 0)
        );
    }
}

#[test]
fn a_broken_rule_says_why_and_is_in_the_summary() {
    let mut broken = rule(to(&[("a", 1)], 0));
    broken.broken = Some("a filter is not served".to_owned());
    let (exchange, plan) = begin(&snapshot(broken, 80, None), "h", &[]);
    let reply = plan.expect_err("a refusal");
    assert_eq!((reply.status, reply.reason), (StatusCode::INTERNAL_SERVER_ERROR, Some("misconfigured")));
    assert!(String::from_utf8_lossy(&reply.body).contains("a filter is not served"));
    assert_eq!(exchange.finish(end()).route, Some(RouteName::new("n/r")));
}

#[test]
fn the_summary_tells_who_was_asked() {
    let (mut exchange, _) = begin(&snapshot(rule(to(&[("a", 1)], 0)), 80, None), "h", &[]);
    exchange.pass_to(&BackendName::new("a"));
    exchange.add_request_bytes(7);
    let summary = exchange.finish(end());
    assert_eq!((summary.passed_to, summary.attempts_made), (Some(BackendName::new("a")), 1));
    assert_eq!((summary.request_body_bytes, summary.operation), (7, None));
}

fn end() -> End {
    End {
        status: 200,
        outcome: Outcome::Complete,
        fault: None,
        attempts_made: 0,
        attempts: Vec::new(),
        response_body_bytes: 0,
        at: Instant::now(),
    }
}
