//! Which plain rule serves a request, and what becomes of its path.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Bundle, Forward, HeaderEdit, HeaderMatch, Listener, PathMatch, PathRewrite, PlainAction, PlainMatch,
    PlainRoute, PlainRule, QueryMatch, Redirect, TextMatch, Timeouts,
};
use tollgate_config::plain::PlainRequest;
use tollgate_terms::RouteName;

fn exact(path: &str) -> PlainMatch {
    PlainMatch { path: PathMatch::Exact(path.to_owned()), ..PlainMatch::default() }
}

fn prefix(path: &str) -> PlainMatch {
    PlainMatch { path: PathMatch::Prefix(path.to_owned()), ..PlainMatch::default() }
}

fn pattern(path: &str) -> PlainMatch {
    PlainMatch { path: PathMatch::RegularExpression(path.to_owned()), ..PlainMatch::default() }
}

fn with_method(mut written: PlainMatch) -> PlainMatch {
    written.method = Some("GET".to_owned());
    written
}

fn with_header(mut written: PlainMatch, name: &str) -> PlainMatch {
    written.headers.push(HeaderMatch { name: name.to_owned(), value: TextMatch::Exact("1".to_owned()) });
    written
}

fn with_query(mut written: PlainMatch, name: &str) -> PlainMatch {
    written.query.push(QueryMatch { name: name.to_owned(), value: TextMatch::Exact("1".to_owned()) });
    written
}

fn rule(matches: &[PlainMatch]) -> PlainRule {
    PlainRule {
        name: None,
        matches: matches.to_vec(),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
        action: PlainAction::Forward(Forward::default()),
        timeouts: Timeouts::default(),
        access: None,
        limits: Vec::new(),
        broken: None,
    }
}

fn route(name: &str, created_at: i64, hostnames: &[&str], rules: Vec<PlainRule>) -> PlainRoute {
    PlainRoute {
        name: RouteName::new(name),
        listeners: vec!["l".to_owned()],
        hostnames: hostnames.iter().map(|&name| name.to_owned()).collect(),
        created_at,
        rules,
    }
}

fn listener() -> Listener {
    Listener {
        name: "l".to_owned(),
        address: [127, 0, 0, 1].into(),
        port: 8080,
        hostname: None,
        tls: None,
        request_body_bytes_max: 1,
    }
}

fn compile(plain_routes: Vec<PlainRoute>) -> Snapshot {
    let bundle = Bundle { listeners: vec![listener()], plain_routes, ..Bundle::default() };
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    assert_eq!(diagnostics, []);
    snapshot
}

/// Route and rule that serve `GET target` with the headers `a` and `b` at 1, or `-`.
fn served(snapshot: &Snapshot, host: &str, target: &str) -> String {
    let names = ["a", "b"].map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
    let headers = HeaderMap::from_iter(names);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let request = PlainRequest { method: &Method::GET, path, query, headers: &headers };
    snapshot.plain("l", host, request).map_or("-".to_owned(), |found| {
        let rule = found.rule();
        format!("{} {}", rule.route, rule.index)
    })
}

#[test]
fn compares_paths_as_gateway_api_says() {
    for (written, path, holds) in [
        (exact("/foo"), "/foo", true),
        (exact("/foo"), "/foo/", false),
        (exact("/foo"), "/Foo", false),
        (prefix("/foo"), "/foo", true),
        (prefix("/foo"), "/foo/bar", true),
        (prefix("/foo"), "/foobar", false),
        (prefix("/"), "", false),
        (prefix("/"), "*", false),
        (prefix("/foo/"), "/foo", true),
        (prefix("/"), "/anything", true),
        (pattern("/v[0-9]+"), "/v12", true),
        (pattern("/v[0-9]+"), "/v12/x", false),
    ] {
        let snapshot = compile(vec![route("r", 0, &[], vec![rule(std::slice::from_ref(&written))])]);
        assert_eq!(served(&snapshot, "h", path) != "-", holds, "{written:?} {path}");
    }
}

#[test]
fn reads_the_first_value_of_a_query_parameter() {
    let snapshot = compile(vec![route("r", 0, &[], vec![rule(&[with_query(prefix("/"), "q")])])]);
    for (target, holds) in
        [("/?q=1", true), ("/?x=2&q=1&q=2", true), ("/?q=2&q=1", false), ("/", false), ("/?q", false)]
    {
        assert_eq!(served(&snapshot, "h", target) != "-", holds, "{target}");
    }
}

/// Every two of a list in order of precedence, all of which hold: the earlier one serves, in whichever order they are written.
#[test]
fn keeps_the_order_of_precedence_between_any_two() {
    let ranked = [
        with_method(exact("/foo/bar")),
        with_header(with_header(exact("/foo/bar"), "a"), "b"),
        with_query(with_header(exact("/foo/bar"), "a"), "q"),
        with_header(exact("/foo/bar"), "a"),
        with_query(exact("/foo/bar"), "q"),
        exact("/foo/bar"),
        pattern("/foo/ba[r]"),
        pattern("/.*"),
        with_method(prefix("/foo/bar")),
        with_header(prefix("/foo/bar"), "a"),
        prefix("/foo/bar"),
        with_method(prefix("/foo")),
        prefix("/foo"),
        with_query(with_query(prefix("/"), "q"), "r"),
        with_query(prefix("/"), "q"),
        prefix("/"),
    ];
    for (earlier, first) in ranked.iter().enumerate() {
        for second in &ranked[earlier + 1..] {
            let (first, second) = (rule(std::slice::from_ref(first)), rule(std::slice::from_ref(second)));
            let one = compile(vec![route("r", 0, &[], vec![first.clone(), second.clone()])]);
            let other = compile(vec![route("r", 0, &[], vec![second, first])]);
            assert_eq!(served(&one, "h", "/foo/bar?q=1&r=1"), "r 0", "{:?}", one.bundle().plain_routes);
            assert_eq!(served(&other, "h", "/foo/bar?q=1&r=1"), "r 1", "{:?}", other.bundle().plain_routes);
        }
    }
}

#[test]
fn breaks_ties_by_age_then_name_then_order_of_rules() {
    let routes = || {
        vec![
            route("younger", 9, &[], vec![rule(&[])]),
            route("b", 5, &[], vec![rule(&[])]),
            route("a", 5, &[], vec![rule(&[prefix("/x"), prefix("/")]), rule(&[prefix("/")])]),
        ]
    };
    let mut turned = routes();
    turned.reverse();
    for routes in [routes(), turned] {
        assert_eq!(served(&compile(routes), "h", "/"), "a 0");
    }
}

#[test]
fn looks_only_under_the_most_specific_host_name() {
    let snapshot = compile(vec![
        route("any", 0, &[], vec![rule(&[])]),
        route("wide", 0, &["*.example.com"], vec![rule(&[])]),
        route("one", 0, &["a.example.com"], vec![rule(&[exact("/only")])]),
    ]);
    assert_eq!(served(&snapshot, "a.example.com", "/only"), "one 0");
    assert_eq!(served(&snapshot, "a.example.com", "/other"), "-");
    assert_eq!(served(&snapshot, "b.example.com:80", "/other"), "wide 0");
    assert_eq!(served(&snapshot, "elsewhere", "/other"), "any 0");
    assert!(!snapshot.has_models("l", "elsewhere"));
}

#[test]
fn names_what_cannot_be_compiled_and_lets_it_take_nothing() {
    let routes = vec![route("r", 0, &[], vec![rule(&[pattern("("), prefix("/served")])])];
    let bundle = Bundle { listeners: vec![listener()], plain_routes: routes, ..Bundle::default() };
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    let found: Vec<_> =
        diagnostics.iter().map(|found| (found.object.as_str(), found.path.as_str())).collect();
    assert_eq!(found, [("HTTPRoute r", "spec.rules[0].matches[0].path.value")]);
    assert_eq!(served(&snapshot, "h", "/served"), "r 0");
    assert_eq!(served(&snapshot, "h", "/other"), "-");
}

#[test]
fn rewrites_paths_as_gateway_api_says() {
    for (path, prefix, replacement, rewritten) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/", "/xyz", "/xyz/foo"),
    ] {
        let rewrite = PathRewrite::Prefix(replacement.to_owned());
        assert_eq!(rewrite.apply(path, Some(prefix)), rewritten, "{path} {prefix} {replacement}");
    }
    assert_eq!(PathRewrite::Full("/new".to_owned()).apply("/foo/bar", None), "/new");
}

#[test]
fn redirects_to_the_port_that_gateway_api_says() {
    for (scheme, port, named) in [
        (None, None, Some(8080)),
        (Some("https"), None, None),
        (Some("https"), Some(443), None),
        (Some("https"), Some(8443), Some(8443)),
        (Some("http"), Some(443), Some(443)),
        (None, Some(80), None),
    ] {
        let scheme = scheme.map(str::to_owned);
        let redirect = Redirect { scheme, hostname: None, port, path: None, status: 302 };
        assert_eq!(redirect.port(&listener()), named, "{redirect:?}");
    }
    let plain = Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
    assert_eq!(plain.scheme(&listener()), "http");
    let text = serde_json::to_string(&plain).expect("JSON");
    assert_eq!(serde_json::from_str::<Redirect>(&text).expect("the same"), plain);
}
