//! Who is let in: keys and tokens, what backends are told of callers, and what they never see.

use std::io::{Read, Write};
use std::time::Instant;

use tollgate_config::bundle::{
    Access, AccessRule, ApiClient, ApiKeys, Authorization, Bundle, Forward, HeaderEdit, HeaderMatch, Match,
    Network, Permission, Place, PlainAction, PlainRoute, PlainRule, PlainTarget, Redirect, Rule, Schema,
    SecretRef, TextMatch,
};
use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, CHAT, ScriptedBackend, Tested, body, bundle, chat_request, completion, free_port, header, json,
    openai, rule, sized, status,
};
use tollgate_terms::{BackendName, Principal, RouteName, Secret};

const JSON: &str = "application/json";

pub(crate) fn good() -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![Act::Write(sized(200, JSON, "", completion()))]])
}

pub(crate) fn reference(key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "callers".to_owned(), key: key.to_owned() }
}

pub(crate) fn secrets(values: &[(&str, &str)]) -> Secrets {
    values.iter().map(|(key, value)| (reference(key), Secret::new((*value).to_owned()))).collect()
}

fn header_place(name: &str) -> Place {
    Place::Header { name: name.to_owned(), prefix: String::new() }
}

fn client(id: &str) -> ApiClient {
    let principal = Principal {
        user: Some(id.into()),
        team: Some("research".into()),
        application: None,
        key_id: Some(id.into()),
    };
    ApiClient { key: reference(id), principal }
}

pub(crate) fn api_keys(ids: &[&str]) -> Access {
    let api_keys = ApiKeys {
        clients: ids.iter().map(|id| client(id)).collect(),
        places: vec![
            header_place("authorization"),
            header_place("x-api-key"),
            Place::Query("key".to_owned()),
            Place::Cookie("key".to_owned()),
        ],
        client_id_header: Some("x-client-id".to_owned()),
    };
    Access { api_keys: Some(api_keys), ..Access::default() }
}

/// One rule under `access`.
pub(crate) fn guarded(backend: &ScriptedBackend, access: Access) -> Bundle {
    let rule = Rule { access: Some("default/p".to_owned()), ..rule(&["b"]) };
    let mut bundle = bundle(free_port(), rule, vec![openai("b", backend.address)]);
    bundle.access.insert("default/p".to_owned(), access);
    bundle
}

/// A chat with these lines in its head.
pub(crate) fn chat_with(lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    chat_request(CHAT).replace("host: gateway\r\n", &format!("host: gateway\r\n{lines}"))
}

fn get(path: &str, lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{lines}\r\n")
}

#[test]
fn a_key_lets_its_client_in_and_ends_at_the_gateway() {
    let backend = good();
    let hashed = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let keys = secrets(&[("alice", "sk-alice\n"), ("bob", hashed)]);
    let tested = Tested::start_bundle(guarded(&backend, api_keys(&["alice", "bob"])), keys);
    for (lines, client) in [
        (vec![("authorization", "Bearer sk-alice")], "alice"),
        (vec![("x-api-key", "secret")], "bob"),
        (vec![("cookie", "a=b; key=sk-alice")], "alice"),
        (
            vec![("authorization", "Bearer sk-alice"), ("x-api-key", "other"), ("x-client-id", "forged")],
            "alice",
        ),
    ] {
        let response = tested.send(&chat_with(&lines));
        assert_eq!(status(&response), 200, "{response}");
        let asked = backend.request();
        assert_eq!(header(&asked, "x-client-id"), Some(client), "{asked}");
        for name in ["authorization", "x-api-key", "cookie"] {
            assert_eq!(header(&asked, name), None, "{asked}");
        }
        assert!(!asked.contains("sk-alice") && !asked.contains("forged"), "{asked}");
    }
    let response = tested.send(&chat_with(&[]).replace("/completions", "/completions?key=secret"));
    assert_eq!(status(&response), 200, "{response}");
    assert!(!backend.request().contains("secret"));
    let lines = tested.log_lines(5);
    let of = |at: usize, member: &str| lines[at][member].as_str().map(str::to_owned);
    assert_eq!(of(0, "tollgate.user").as_deref(), Some("alice"));
    assert_eq!(of(0, "tollgate.team").as_deref(), Some("research"));
    assert_eq!(of(0, "tollgate.key_id").as_deref(), Some("alice"));
    assert_eq!(of(0, "tollgate.application"), None);
    assert_eq!(of(1, "tollgate.user").as_deref(), Some("bob"));
    assert!(!lines.iter().any(|line| line.to_string().contains("sk-alice")));
}

#[test]
fn strangers_are_refused_in_the_words_of_their_api_and_no_body_is_waited_for() {
    let backend = good();
    let tested =
        Tested::start_bundle(guarded(&backend, api_keys(&["alice"])), secrets(&[("alice", "sk-alice")]));
    let long = "x".repeat(20_000);
    for lines in [
        vec![],
        vec![("authorization", "Bearer sk-alic")],
        vec![("authorization", "Bearer sk-alice2")],
        vec![("authorization", "Basic sk-alice")],
        vec![("authorization", "Bearer ' OR 1=1 --")],
        vec![("authorization", "Bearer *3\\r\\n$3\\r\\nGET")],
        vec![("authorization", long.as_str())],
        vec![("authorization", "Bearer sk-alice"), ("authorization", "Bearer sk-alice")],
        vec![("x-client-id", "alice")],
        vec![("x-api-key", "sk-bob")],
        vec![("cookie", "key=sk-alice; key=sk-alice")],
    ] {
        let response = tested.send(&chat_with(&lines));
        assert_eq!(status(&response), 401, "{lines:?} {response}");
        assert_eq!(header(&response, "www-authenticate"), Some("Bearer"), "{response}");
        assert_eq!(json(&response)["error"]["code"], "invalid_api_key", "{response}");
        assert!(!response.contains("sk-alic"), "{response}");
    }
    // The body is announced and never comes.
    let waiting = "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: wrong\r\nanthropic-version: 2023-06-01\r\ncontent-length: 100\r\n\r\n";
    let began = Instant::now();
    let mut stream = tested.connect();
    stream.write_all(waiting.as_bytes()).expect("a head sent");
    let mut first = vec![0; 4096];
    let length = stream.read(&mut first).expect("a reply");
    assert!(began.elapsed().as_millis() < 400, "{:?}", began.elapsed());
    let response = String::from_utf8_lossy(&first[..length]);
    assert_eq!(status(&response), 401, "{response}");
    assert!(response.contains("authentication_error"), "{response}");
    assert!(backend.requests.try_recv().is_err());
}

/// A rule for one model under a policy.
pub(crate) fn for_model(model: &str, access: Option<&str>) -> Rule {
    let name = "x-ai-eg-model".to_owned();
    let headers = vec![HeaderMatch { name, value: TextMatch::Exact(model.to_owned()) }];
    Rule { matches: vec![Match { headers }], access: access.map(str::to_owned), ..rule(&["b"]) }
}

#[test]
fn each_rule_lets_in_its_own_callers_and_the_model_list_shows_what_they_may_use() {
    let backend = good();
    let rules =
        vec![for_model("m", Some("default/a")), for_model("n", Some("default/b")), for_model("o", None)];
    let mut bundle = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    bundle.routes[0].rules = rules;
    bundle.access.insert("default/a".to_owned(), api_keys(&["alice"]));
    bundle.access.insert("default/b".to_owned(), api_keys(&["bob"]));
    let keys = || secrets(&[("alice", "sk-alice"), ("bob", "sk-bob")]);
    let tested = Tested::start_bundle(bundle.clone(), keys());
    let models = |tested: &Tested, lines: &[(&str, &str)]| {
        let response = tested.send(&get("/v1/models", lines));
        let list =
            if status(&response) == 200 { json(&response)["data"].clone() } else { Default::default() };
        let ids: Vec<String> = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|model| model["id"].as_str().expect("an id").to_owned())
            .collect();
        (status(&response), ids.join(" "))
    };
    let (alice, bob) = ([("authorization", "Bearer sk-alice")], [("authorization", "Bearer sk-bob")]);
    assert_eq!(models(&tested, &alice), (200, "m o".to_owned()));
    assert_eq!(models(&tested, &bob), (200, "n o".to_owned()));
    assert_eq!(models(&tested, &[]), (200, "o".to_owned()));
    let chat = |tested: &Tested, lines: &[(&str, &str)], model: &str| {
        let request = chat_with(lines).replace(r#""model":"m""#, &format!(r#""model":"{model}""#));
        status(&tested.send(&request))
    };
    assert_eq!(chat(&tested, &alice, "m"), 200);
    let asked = backend.request();
    assert_eq!(header(&asked, "x-client-id"), Some("alice"), "{asked}");
    assert_eq!(header(&asked, "authorization"), None, "{asked}");
    assert_eq!((chat(&tested, &alice, "n"), chat(&tested, &bob, "m")), (401, 401));
    assert_eq!((chat(&tested, &[], "m"), chat(&tested, &[], "o")), (401, 200));
    let unknown = tested.send(&chat_with(&[]).replace(r#""model":"m""#, r#""model":"p""#));
    assert_eq!(status(&unknown), 404);
    assert!(!body(&unknown).contains("m,") && body(&unknown).contains("models: o."), "{unknown}");

    bundle.routes[0].rules.pop();
    tested.reload(bundle, keys());
    let until = Instant::now() + tollgate_suite::PATIENCE;
    while models(&tested, &[]).0 == 200 && Instant::now() < until {}
    assert_eq!(models(&tested, &[]).0, 401);
    assert_eq!(models(&tested, &bob), (200, "n".to_owned()));
}

pub(crate) fn allowing(rules: Vec<AccessRule>) -> Option<Authorization> {
    Some(Authorization { rules, otherwise: Permission::Deny })
}

pub(crate) fn bare(permission: Permission) -> AccessRule {
    AccessRule {
        name: "r".to_owned(),
        permission,
        networks: Vec::new(),
        token: None,
        headers: Vec::new(),
        methods: Vec::new(),
        cel: None,
    }
}

#[test]
fn rules_decide_in_their_order_and_one_that_fails_lets_nobody_in() {
    let allow = || bare(Permission::Allow);
    let cel = |text: &str| AccessRule { cel: Some(text.to_owned()), ..allow() };
    let network =
        |address: &str, prefix_bits| Network { address: address.parse().expect("an address"), prefix_bits };
    let headers = vec![("x-tenant".to_owned(), vec!["a".to_owned(), "b".to_owned()])];
    for (rules, expected) in [
        (vec![], 403),
        (vec![allow()], 200),
        (vec![bare(Permission::Deny), allow()], 403),
        (vec![AccessRule { networks: vec![network("127.0.0.0", 8)], ..allow() }], 200),
        (vec![AccessRule { networks: vec![network("10.0.0.0", 8)], ..allow() }], 403),
        (vec![AccessRule { methods: vec!["GET".to_owned()], ..allow() }], 403),
        (vec![AccessRule { headers: headers.clone(), methods: vec!["POST".to_owned()], ..allow() }], 200),
        (vec![cel("principal.user == 'alice' && principal.team == 'research'")], 200),
        (vec![cel("request.path.startsWith('/v1/chat') && request.method == 'POST'")], 200),
        (vec![cel("request.headers['x-tenant'] == 'a' && source.address == '127.0.0.1'")], 200),
        (vec![cel("principal.user == 'bob'")], 403),
        // There is no such header, and the next rule is not asked.
        (vec![cel("request.headers['x-missing'] == 'a'"), allow()], 403),
        (vec![cel("'neither'"), allow()], 403),
    ] {
        let backend = good();
        let access = Access { authorization: allowing(rules.clone()), ..api_keys(&["alice"]) };
        let tested = Tested::start_bundle(guarded(&backend, access), secrets(&[("alice", "sk-alice")]));
        let response = tested.send(&chat_with(&[("authorization", "Bearer sk-alice"), ("x-tenant", "a")]));
        assert_eq!(status(&response), expected, "{rules:?} {response}");
        let twice = [("authorization", "Bearer sk-alice"), ("x-tenant", "a"), ("x-tenant", "c")];
        if rules.iter().any(|rule| !rule.headers.is_empty()) {
            assert_eq!(status(&tested.send(&chat_with(&twice))), 403);
        }
    }
}

#[test]
fn a_policy_that_is_not_there_lets_nobody_in() {
    let backend = good();
    let mut bundle = guarded(&backend, Access::default());
    bundle.access.clear();
    let tested = Tested::start_bundle(bundle, Secrets::default());
    let response = tested.send(&chat_with(&[("authorization", "Bearer sk-alice")]));
    assert_eq!(status(&response), 500, "{response}");
    assert!(backend.requests.try_recv().is_err());
}

fn plain(backend: &str) -> PlainRule {
    PlainRule {
        name: None,
        matches: Vec::new(),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
        action: PlainAction::Forward(Forward {
            targets: vec![PlainTarget { backend: BackendName::new(backend), weight: 1 }],
            ..Forward::default()
        }),
        timeouts: Default::default(),
        access: Some("default/p".to_owned()),
        limits: Vec::new(),
        broken: None,
    }
}

/// The same backend, for plain rules.
fn guarded_plain(backend: &ScriptedBackend) -> Bundle {
    let mut bundle = guarded(backend, api_keys(&["alice"]));
    let site = tollgate_suite::backend("site", Schema::Plain, backend.address);
    bundle.backends.insert(site.name.clone(), site);
    bundle.plain_routes = vec![PlainRoute {
        name: RouteName::new("default/site"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![plain("site")],
    }];
    bundle
}

#[test]
fn plain_rules_let_in_whom_their_policy_does_and_never_everybody() {
    let backend = good();
    let tested = Tested::start_bundle(guarded_plain(&backend), secrets(&[("alice", "sk-alice")]));
    assert_eq!(status(&tested.send(&get("/page?a=b", &[("x-client-id", "alice")]))), 401);
    assert_eq!(status(&tested.send(&get("/page", &[("authorization", "Bearer sk-bob")]))), 401);
    assert!(backend.requests.try_recv().is_err());
    let lines = [("cookie", "a=b; key=x"), ("authorization", "Bearer sk-alice"), ("x-client-id", "forged")];
    assert_eq!(status(&tested.send(&get("/page?key=y&a=b", &lines))), 200);
    let asked = backend.request();
    assert!(asked.starts_with("GET /page?a=b HTTP/1.1"), "{asked}");
    assert_eq!(header(&asked, "x-client-id"), Some("alice"), "{asked}");
    assert_eq!(header(&asked, "cookie"), Some("a=b"), "{asked}");
    assert_eq!(header(&asked, "authorization"), None, "{asked}");
    let post =
        get("/page", &lines).replace("GET", "POST").replace("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(status(&tested.send(&post)), 200);
    assert!(backend.request().ends_with("hello"));
    let logged = tested.log_lines(4);
    assert_eq!(logged[2]["tollgate.user"], "alice");
    assert_eq!(logged[2]["tollgate.outcome"], "complete");
}

#[test]
fn a_redirect_is_for_whom_its_policy_lets_in() {
    let backend = good();
    let mut bundle = guarded_plain(&backend);
    let redirect = Redirect {
        scheme: None,
        hostname: Some("elsewhere".to_owned()),
        port: None,
        path: None,
        status: 302,
    };
    bundle.plain_routes[0].rules =
        vec![PlainRule { action: PlainAction::Redirect(redirect), ..plain("site") }];
    let tested = Tested::start_bundle(bundle, secrets(&[("alice", "sk-alice")]));
    assert_eq!(status(&tested.send(&get("/page", &[]))), 401);
    let response = tested.send(&get("/page", &[("authorization", "Bearer sk-alice")]));
    assert_eq!(status(&response), 302, "{response}");
    assert!(
        header(&response, "location").is_some_and(|location| location.contains("elsewhere")),
        "{response}"
    );
}

#[test]
fn the_body_of_a_stranger_is_never_taken_for_a_request() {
    let backend = good();
    let tested =
        Tested::start_bundle(guarded(&backend, api_keys(&["alice"])), secrets(&[("alice", "sk-alice")]));
    let within = get("/v1/models", &[("authorization", "Bearer sk-alice")]);
    let outer = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nx-api-key: wrong\r\ncontent-length: {}\r\n\r\n{within}",
        within.len()
    );
    let responses = tested.send(&format!("{outer}{}", get("/v1/models", &[])));
    assert!(responses.starts_with("HTTP/1.1 401"), "{responses}");
    assert!(!responses.contains("HTTP/1.1 200"), "{responses}");
}
