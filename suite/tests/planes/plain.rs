//! Plain routes: requests that are for no model, passed through as they are.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use tollgate_config::bundle::{
    Backend, Bundle, Forward, HeaderEdit, PathMatch, PathRewrite, PlainAction, PlainMatch, PlainRoute,
    PlainRule, PlainTarget, Redirect, Schema, Timeouts, Unpriced,
};
use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, CHAT, PATIENCE, ScriptedBackend, Tested, backend, body, bundle, chat_request, chunk, completion,
    free_port, header, is_envoy, json, last_chunk, openai, rule, sized, status,
};
use tollgate_terms::{BackendName, RouteName};

/// A rule that sends everything to the backends called so, with equal weights.
fn to(backends: &[&str]) -> PlainRule {
    let targets =
        backends.iter().map(|name| PlainTarget { backend: BackendName::new(*name), weight: 1 }).collect();
    PlainRule {
        name: None,
        matches: Vec::new(),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
        action: PlainAction::Forward(Forward { targets, ..Forward::default() }),
        timeouts: Timeouts { request: Some(PATIENCE), ..Timeouts::default() },
        access: None,
        limits: Vec::new(),
        broken: None,
    }
}

fn under(prefix: &str, mut rule: PlainRule) -> PlainRule {
    rule.matches = vec![PlainMatch { path: PathMatch::Prefix(prefix.to_owned()), ..PlainMatch::default() }];
    rule
}

fn forward(rule: &mut PlainRule) -> &mut Forward {
    match &mut rule.action {
        PlainAction::Forward(forward) => forward,
        PlainAction::Redirect(_) => panic!("a redirect"),
    }
}

fn redirecting(redirect: Redirect) -> PlainRule {
    PlainRule { action: PlainAction::Redirect(redirect), ..to(&[]) }
}

/// A route of these rules, and none for models.
fn plain(rules: Vec<PlainRule>, backends: Vec<Backend>) -> Bundle {
    let route = PlainRoute {
        name: RouteName::new("default/plain"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules,
    };
    let mut bundle = bundle(free_port(), rule(&[]), backends);
    (bundle.routes, bundle.plain_routes) = (Vec::new(), vec![route]);
    bundle
}

fn start(rules: Vec<PlainRule>, backends: &[(&str, &ScriptedBackend)]) -> Tested {
    let backends = backends.iter().map(|(name, scripted)| site(name, scripted.address)).collect();
    Tested::start_bundle(plain(rules, backends), Secrets::default())
}

fn site(name: &str, address: std::net::SocketAddr) -> Backend {
    backend(name, Schema::Plain, address)
}

fn answering(text: &str) -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![Act::Write(sized(200, "text/plain", "", text))]])
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: site.test\r\nconnection: close\r\n\r\n")
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Reads from `stream` until what has come contains `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        match stream.read(&mut buffer).expect("more") {
            0 => panic!("the end came first: {text:?}"),
            count => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
    text
}

#[test]
fn passes_requests_and_answers_through() {
    let answer =
        sized(201, "text/html", "set-cookie: a=1\r\nlocation: /x\r\nx-tollgate-secret: 1\r\n", "<p>");
    let backend = ScriptedBackend::start(vec![vec![Act::Write(answer)]]);
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    let response = tested.send(
        "PUT /site//page?q=%20&q=2 HTTP/1.1\r\nhost: site.test:81\r\nconnection: close, x-mine\r\nx-mine: 1\r\n\
         cookie: c=1\r\nauthorization: Basic eA==\r\nx-ai-eg-model: forged\r\nx-envoy-retry-on: 5xx\r\n\
         x-forwarded-for: 10.1.1.1\r\ncontent-length: 2\r\n\r\nhi",
    );
    let request = backend.request();
    assert!(request.starts_with("PUT /site//page?q=%20&q=2 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nhi"), "{request}");
    for (name, value) in [
        ("host", Some("site.test:81")),
        ("cookie", Some("c=1")),
        ("authorization", Some("Basic eA==")),
        ("content-length", Some("2")),
        ("x-forwarded-proto", Some("http")),
        ("x-mine", None),
        ("x-ai-eg-model", None),
    ] {
        assert_eq!(header(&request, name), value, "{name}: {request}");
    }
    let forwarded = header(&request, "x-forwarded-for").expect("x-forwarded-for").replace(' ', "");
    // Envoy names an address of the machine where a client comes from the machine itself.
    let own = forwarded.strip_prefix("10.1.1.1,").unwrap_or_else(|| panic!("{forwarded}"));
    assert!(own.parse::<std::net::IpAddr>().is_ok() && (is_envoy() || own == "127.0.0.1"), "{forwarded}");
    assert!(!request.contains("x-envoy-"), "{request}");
    assert_eq!(status(&response), 201, "{response}");
    assert_eq!(body(&response), "<p>");
    for (name, value) in [
        ("content-type", Some("text/html")),
        ("content-length", Some("3")),
        ("set-cookie", Some("a=1")),
        ("location", Some("/x")),
    ] {
        assert_eq!(header(&response, name), value, "{name}: {response}");
    }
    assert_eq!(header(&response, "x-tollgate-secret"), None, "{response}");
    if !is_envoy() {
        let log = tested.log_lines(1);
        assert_eq!(log[0]["response_code"], 201, "{log:?}");
        assert_eq!(log[0]["tollgate.route"], "default/plain", "{log:?}");
        assert_eq!(log[0]["tollgate.outcome"], "complete", "{log:?}");
        assert_eq!((&log[0]["bytes_received"], &log[0]["bytes_sent"]), (&2.into(), &3.into()), "{log:?}");
    }
}

#[test]
fn edits_headers_and_rewrites_host_and_path() {
    let answer = sized(200, "text/plain", "server: s\r\nx-kept: 1\r\n", "ok");
    let backend = ScriptedBackend::start(vec![vec![Act::Write(answer)]]);
    let mut edited = under("/old", to(&["b"]));
    edited.request_headers = HeaderEdit {
        set: vec![pair("x-set", "100%"), pair("x-there", "new")],
        add: vec![pair("x-added", "2")],
        remove: vec!["x-gone".to_owned()],
    };
    edited.response_headers = HeaderEdit {
        add: vec![pair("x-more", "1")],
        remove: vec!["server".to_owned()],
        ..HeaderEdit::default()
    };
    forward(&mut edited).hostname = Some("inner.test".to_owned());
    forward(&mut edited).path = Some(PathRewrite::Prefix("/new".to_owned()));
    let mut whole = under("/whole", to(&["b"]));
    forward(&mut whole).path = Some(PathRewrite::Full("/fixed".to_owned()));
    let mut off = under("/off.all", to(&["b"]));
    forward(&mut off).path = Some(PathRewrite::Prefix("/".to_owned()));
    let tested = start(vec![edited, whole, off], &[("b", &backend)]);
    let response = tested.send(
        "GET /old/page?q=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-there: old\r\nx-gone: 1\r\nx-added: 1\r\n\r\n",
    );
    let request = backend.request();
    assert!(request.starts_with("GET /new/page?q=1 HTTP/1.1\r\n"), "{request}");
    for (name, value) in
        [("host", Some("inner.test")), ("x-set", Some("100%")), ("x-there", Some("new")), ("x-gone", None)]
    {
        assert_eq!(header(&request, name), value, "{name}: {request}");
    }
    let added: Vec<&str> = request.lines().filter(|line| line.starts_with("x-added: ")).collect();
    assert_eq!(added, ["x-added: 1", "x-added: 2"], "{request}");
    assert_eq!(header(&response, "server"), None, "{response}");
    assert_eq!(header(&response, "x-kept"), Some("1"), "{response}");
    assert_eq!(header(&response, "x-more"), Some("1"), "{response}");
    for (target, asked) in [
        ("/whole/of/it?q=1", "/fixed?q=1"),
        ("/off.all/page", "/page"),
        ("/off.all/", "/"),
        ("/off.all?q=1", "/?q=1"),
        ("/off.all//x", "//x"),
    ] {
        tested.send(&get(target));
        let request = backend.request();
        assert!(request.starts_with(&format!("GET {asked} HTTP/1.1\r\n")), "{target}: {request}");
    }
}

#[test]
fn redirects_without_asking_a_backend() {
    let to = |scheme: Option<&str>, hostname: Option<&str>, port, path, status| Redirect {
        scheme: scheme.map(str::to_owned),
        hostname: hostname.map(str::to_owned),
        port,
        path,
        status,
    };
    let full = || Some(PathRewrite::Full("/new".to_owned()));
    let prefix = || Some(PathRewrite::Prefix("/b".to_owned()));
    let mut secure = under("/secure", redirecting(to(Some("https"), None, None, None, 301)));
    secure.response_headers.set.push(pair("x-why", "tls"));
    let tested = start(
        vec![
            secure,
            under("/full", redirecting(to(None, Some("new.test"), Some(80), full(), 302))),
            under("/a", redirecting(to(None, Some("new.test"), Some(8443), prefix(), 308))),
            under("/port", redirecting(to(None, Some("new.test"), None, None, 307))),
        ],
        &[],
    );
    let port = tested.address.port();
    for (target, code, location) in [
        ("/secure/x?q=1", 301, "https://site.test/secure/x?q=1".to_owned()),
        ("/full/x?q=1", 302, "http://new.test/new?q=1".to_owned()),
        ("/a/x", 308, "http://new.test:8443/b/x".to_owned()),
        ("/port", 307, format!("http://new.test:{port}/port")),
    ] {
        let response = tested.send(&get(target));
        assert_eq!(status(&response), code, "{response}");
        assert_eq!(header(&response, "location"), Some(location.as_str()), "{response}");
        assert_eq!(body(&response), "", "{response}");
        assert_eq!(header(&response, "x-why"), (code == 301).then_some("tls"), "{response}");
    }
}

#[test]
fn leaves_the_apis_of_models_to_their_routes() {
    let (models, web) = (
        ScriptedBackend::start(vec![vec![Act::Write(sized(200, "application/json", "", completion()))]]),
        answering("web"),
    );
    let mut both = plain(vec![to(&["w"])], vec![openai("m", models.address), site("w", web.address)]);
    both.routes = bundle(1, rule(&["m"]), Vec::new()).routes;
    let tested = Tested::start_bundle(both, Secrets::default());
    assert_eq!(json(&tested.chat(CHAT))["choices"][0]["message"]["content"], "hello");
    models.request();
    assert_eq!(json(&tested.send(&get("/v1/models")))["object"], "list");
    for target in ["/", "/v1/chat/other", "/v1/models/", "/v1"] {
        assert_eq!(body(&tested.send(&get(target))), "web", "{target}");
        web.request();
    }
    assert_eq!(status(&tested.send(&get("/v1/chat/completions"))), 405);
    assert!(web.requests.try_recv().is_err());
}

#[test]
fn takes_the_apis_of_models_where_none_are_served() {
    let backend = answering("web");
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    assert_eq!(body(&tested.chat(CHAT)), "web");
    assert!(backend.request().ends_with(CHAT));
}

#[test]
fn says_in_words_that_nothing_is_there() {
    let backend = answering("web");
    let tested = start(vec![under("/web", to(&["b"]))], &[("b", &backend)]);
    let response = tested.send(&get("/other"));
    assert_eq!(status(&response), 404, "{response}");
    assert_eq!(json(&response)["error"]["type"], "NotFound", "{response}");
}

#[test]
fn answers_500_where_a_rule_cannot_be_served() {
    let backend = answering("web");
    let broken = PlainRule { broken: Some("ExtensionRef is not served".to_owned()), ..to(&["b"]) };
    let mut lost = to(&[]);
    forward(&mut lost).unresolved_weight = 1;
    let rules = vec![under("/broken", broken), under("/lost", lost), under("/none", to(&[])), to(&["b"])];
    let tested = start(rules, &[("b", &backend)]);
    for target in ["/broken", "/lost", "/none"] {
        let response = tested.send(&get(target));
        assert_eq!(status(&response), 500, "{target}: {response}");
        assert!(body(&response).contains("misconfigured"), "{target}: {response}");
    }
    assert!(backend.requests.try_recv().is_err());
}

#[test]
fn shares_requests_by_weight_with_500_for_what_leads_nowhere() {
    let (a, b, never) = (answering("a"), answering("b"), answering("never"));
    let mut shared = to(&["a", "b", "never"]);
    forward(&mut shared).targets[2].weight = 0;
    forward(&mut shared).unresolved_weight = 1;
    let tested = start(vec![shared], &[("a", &a), ("b", &b), ("never", &never)]);
    let mut seen = [0; 3];
    for _ in 0..90 {
        let response = tested.send(&get("/"));
        let which = match (status(&response), body(&response).as_str()) {
            (200, "a") => 0,
            (200, "b") => 1,
            (500, _) => 2,
            _ => panic!("{response}"),
        };
        seen[which] += 1;
    }
    // Each has a third. Less than nine in ninety comes once in ten million times.
    assert!(seen.iter().all(|&count| count > 8), "{seen:?}");
}

#[test]
fn streams_an_answer_piece_by_piece() {
    let backend = ScriptedBackend::start(vec![vec![
        Act::Write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
        Act::Write(chunk("first")),
        Act::Pause(Duration::from_millis(300)),
        Act::Write(chunk("second")),
        Act::Write(last_chunk()),
    ]]);
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    let mut client = tested.connect();
    client.write_all(get("/").as_bytes()).expect("a request");
    let first = read_until(&mut client, "first");
    assert!(!first.contains("second"), "{first}");
    read_until(&mut client, "second");
}

#[test]
fn streams_a_request_piece_by_piece() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let tested = Tested::start_bundle(plain(vec![to(&["b"])], vec![site("b", address)]), Secrets::default());
    let mut client = tested.connect();
    client
        .write_all(b"POST /up HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .expect("a part");
    let (mut upstream, _) = listener.accept().expect("a connection");
    let seen = read_until(&mut upstream, "first");
    assert_eq!(header(&seen, "transfer-encoding"), Some("chunked"), "{seen}");
    client.write_all(b"6\r\nsecond\r\n0\r\n\r\n").expect("the rest");
    read_until(&mut upstream, "second\r\n0\r\n\r\n");
    upstream.write_all(&sized(200, "text/plain", "", "ok")).expect("an answer");
    assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));
}

/// The answer to a request whose body never ends is no answer: the backend hears of the break.
#[test]
fn breaks_off_a_request_whose_client_has_left() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let tested = Tested::start_bundle(plain(vec![to(&["b"])], vec![site("b", address)]), Secrets::default());
    let mut client = tested.connect();
    client.write_all(b"POST /up HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nfirst").expect("a part");
    let (mut upstream, _) = listener.accept().expect("a connection");
    let seen = read_until(&mut upstream, "first");
    assert_eq!(header(&seen, "content-length"), Some("10"), "{seen}");
    drop(client);
    let mut rest = Vec::new();
    // Closed in order or not.
    let _ = upstream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn passes_bodies_beyond_every_limit_of_a_buffer() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    const BYTES: usize = 8 << 20;
    let server = std::thread::spawn(move || {
        let (mut upstream, _) = listener.accept().expect("a connection");
        let head = read_until(&mut upstream, "\r\n\r\n");
        let mut left = BYTES - head.split_once("\r\n\r\n").expect("a head").1.len();
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            left -= upstream.read(&mut buffer).expect("more");
        }
        upstream
            .write_all(format!("HTTP/1.1 200 X\r\ncontent-length: {BYTES}\r\n\r\n").as_bytes())
            .expect("a head");
        upstream.write_all(&vec![b'y'; BYTES]).expect("a body");
        upstream
    });
    let tested = Tested::start_bundle(plain(vec![to(&["b"])], vec![site("b", address)]), Secrets::default());
    let head = format!("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {BYTES}\r\n\r\n");
    let response = tested.send(&(head + &"x".repeat(BYTES)));
    assert_eq!(header(&response, "content-length"), Some(BYTES.to_string().as_str()));
    assert_eq!(body(&response).len(), BYTES);
    drop(server.join());
}

#[test]
fn passes_answers_that_have_no_body() {
    let head = b"HTTP/1.1 200 X\r\ncontent-length: 7\r\nx-a: 1\r\n\r\n".to_vec();
    let none = b"HTTP/1.1 204 X\r\n\r\n".to_vec();
    let same = b"HTTP/1.1 304 X\r\netag: \"e\"\r\n\r\n".to_vec();
    let backend = ScriptedBackend::start([head, none, same].map(|bytes| vec![Act::Write(bytes)]).to_vec());
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    let response = tested.send(&get("/").replace("GET", "HEAD"));
    assert!(backend.request().starts_with("HEAD / "));
    assert_eq!((status(&response), header(&response, "content-length")), (200, Some("7")), "{response}");
    assert_eq!(body(&response), "", "{response}");
    for code in [204, 304] {
        let response = tested.send(&get("/"));
        assert_eq!((status(&response), body(&response).as_str()), (code, ""), "{response}");
    }
}

#[test]
fn tells_of_backends_that_fail() {
    let unreachable = format!("127.0.0.1:{}", free_port()).parse().expect("an address");
    let reset = ScriptedBackend::start(vec![vec![Act::Reset]]);
    let silent = ScriptedBackend::start(vec![vec![Act::AwaitClose]]);
    let mut slow = under("/silent", to(&["silent"]));
    slow.timeouts = Timeouts { per_try: Some(Duration::from_millis(200)), ..Timeouts::default() };
    let mut late = under("/late", to(&["silent"]));
    late.timeouts = Timeouts { first_byte: Some(Duration::from_millis(200)), ..Timeouts::default() };
    let rules = vec![under("/gone", to(&["gone"])), under("/reset", to(&["reset"])), slow, late];
    let backends =
        vec![site("gone", unreachable), site("reset", reset.address), site("silent", silent.address)];
    let tested = Tested::start_bundle(plain(rules, backends), Secrets::default());
    for (target, code) in [("/gone", 503), ("/reset", 502), ("/silent", 504), ("/late", 504)] {
        let response = tested.send(&get(target));
        assert_eq!(status(&response), code, "{target}: {response}");
        assert_eq!(json(&response)["error"]["type"], "BackendError", "{target}: {response}");
        assert_eq!(header(&response, "x-tollgate-fault"), None, "{target}: {response}");
    }
    silent.closed.recv_timeout(PATIENCE).expect("the end of the connection");
}

#[test]
fn breaks_off_an_answer_that_is_cut() {
    let part = b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\npart".to_vec();
    let backend = ScriptedBackend::start(vec![vec![Act::Write(part), Act::Close]]);
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    let response = tested.send(&get("/"));
    assert_eq!(header(&response, "content-length"), Some("10"), "{response}");
    assert_eq!(body(&response), "part");
    if !is_envoy() {
        assert_eq!(tested.log_lines(1)[0]["tollgate.fault"], "cut");
    }
}

#[test]
fn refuses_upgrades() {
    let backend = answering("web");
    let tested = start(vec![to(&["b"])], &[("b", &backend)]);
    let response = tested.send(
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n",
    );
    assert_eq!(status(&response), 501, "{response}");
    assert!(backend.requests.try_recv().is_err());
}

/// One gateway in front of another, so that each is the other's client and server over HTTP/2.
#[test]
fn passes_requests_over_http2() {
    let web = answering("web");
    let inner = start(vec![to(&["b"])], &[("b", &web)]);
    let mut between = site("inner", inner.address);
    between.http2_cleartext = true;
    let outer = Tested::start_bundle(plain(vec![to(&["inner"])], vec![between]), Secrets::default());
    let chunked = "POST /up?q=1 HTTP/1.1\r\nhost: site.test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n";
    for request in [chunked.to_owned(), chat_request(CHAT), get("/page")] {
        let response = outer.send(&request);
        assert_eq!((status(&response), body(&response).as_str()), (200, "web"), "{request}: {response}");
    }
    let seen = web.request();
    assert!(seen.starts_with("POST /up?q=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(header(&seen, "host"), Some("site.test"), "{seen}");
    assert!(web.request().ends_with(CHAT));
    assert!(web.request().starts_with("GET /page "));
}

/// A limit on requests is one on those of a plain rule too, and what is in flight is free again when it is over.
#[test]
fn limits_hold_for_plain_rules() {
    use tollgate_config::bundle::{
        Enforcement, Limit, LimitStore, OnExceeded, OnStoreFailure, Selector, Window,
    };
    let limit = |name: &str, amount, window, select| Limit {
        name: name.to_owned(),
        select,
        amount,
        window,
        request: 1,
        measure: None,
        enforcement: Enforcement::Settle,
        answer_tokens_max: 1,
        shadow: false,
        group: None,
        store: LimitStore::Shared,
        on_store_failure: OnStoreFailure::Open,
        on_exceeded: OnExceeded::Reject,
        warn_at_percent: Vec::new(),
        unpriced: Unpriced::Allow,
    };
    let site = answering("here");
    let per_tenant = vec![Selector::DistinctHeader { name: "x-tenant".to_owned() }];
    let limits = vec![
        limit("two a day", 2, Window::Fixed { seconds: 86_400 }, per_tenant),
        limit("one at once", 1, Window::InFlight, Vec::new()),
    ];
    let tested = start(vec![PlainRule { limits, ..to(&["b"]) }], &[("b", &site)]);
    let asking = |tenant: &str| {
        get("/").replace("connection: close\r\n", &format!("connection: close\r\nx-tenant: {tenant}\r\n"))
    };
    for (tenant, expected) in [("red", 200), ("red", 200), ("red", 429), ("blue", 200)] {
        let answer = tested.send(&asking(tenant));
        assert_eq!(status(&answer), expected, "{tenant}: {answer}");
        if expected == 429 {
            assert_eq!(header(&answer, "x-ratelimit-remaining"), Some("0"), "{answer}");
            assert!(header(&answer, "retry-after").is_some(), "{answer}");
        }
    }
    // A request without a tenant is for the second limit alone.
    assert_eq!(status(&tested.send(&get("/"))), 200);
    let lines = tested.log_lines(5);
    assert_eq!(lines[2]["tollgate.fault"], "limit_exceeded", "{}", lines[2]);
}
