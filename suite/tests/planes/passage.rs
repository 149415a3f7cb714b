//! Plain requests at the edges: every way to rewrite a path, and bodies that come slowly, too fast, or not to their end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tollgate_config::bundle::{
    Bundle, Forward, HeaderEdit, PathMatch, PathRewrite, PlainAction, PlainMatch, PlainRoute, PlainRule,
    PlainTarget, Schema, Timeouts,
};
use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, PATIENCE, ScriptedBackend, Tested, backend, body, bundle, chunk, free_port, header, is_envoy,
    last_chunk, rule, sized, status,
};
use tollgate_terms::{BackendName, RouteName};

/// A rule for what is at `prefix` or below, which sends it to the backend `b` under another path, if one is said.
fn under(prefix: &str, path: Option<PathRewrite>) -> PlainRule {
    let targets = vec![PlainTarget { backend: BackendName::new("b"), weight: 1 }];
    let matched = PlainMatch { path: PathMatch::Prefix(prefix.to_owned()), ..PlainMatch::default() };
    PlainRule {
        name: None,
        matches: vec![matched],
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
        action: PlainAction::Forward(Forward { targets, path, ..Forward::default() }),
        timeouts: Timeouts { request: Some(PATIENCE), ..Timeouts::default() },
        access: None,
        limits: Vec::new(),
        broken: None,
    }
}

/// Plain rules in front of the backend `b`, and no models.
fn configuration(rules: Vec<PlainRule>, address: SocketAddr) -> Bundle {
    let mut bundle = bundle(free_port(), rule(&["m"]), vec![backend("b", Schema::Plain, address)]);
    bundle.routes.clear();
    bundle.plain_routes.push(PlainRoute {
        name: RouteName::new("default/site"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules,
    });
    bundle
}

/// Everything goes to one backend.
fn start(address: SocketAddr) -> Tested {
    Tested::start_bundle(configuration(vec![under("/", None)], address), Secrets::default())
}

/// The same, with another gateway between, to which HTTP/2 is spoken.
fn start_over_http2(inner: &Tested) -> Tested {
    let mut outer = configuration(vec![under("/", None)], inner.address);
    outer.backends.values_mut().for_each(|backend| backend.http2_cleartext = true);
    Tested::start_bundle(outer, Secrets::default())
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: www.example\r\nconnection: close\r\n\r\n")
}

#[test]
fn rewrites_paths_as_gateway_api_says() {
    let backend = ScriptedBackend::start(vec![vec![Act::Write(sized(200, "text/plain", "", "ok"))]]);
    let rewritten = |prefix: &str, to: PathRewrite| under(prefix, Some(to));
    let to = |text: &str| PathRewrite::Prefix(text.to_owned());
    let rules = vec![
        rewritten("/foo", to("/xyz")),
        rewritten("/slash/", to("/xyz/")),
        rewritten("/top", to("/")),
        rewritten("/empty", to("")),
        rewritten("/whole", PathRewrite::Full("/there".to_owned())),
        rewritten("/", to("/below")),
    ];
    let gateway = Tested::start_bundle(configuration(rules, backend.address), Secrets::default());
    for (target, seen) in [
        ("/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz"),
        ("/foo/", "/xyz/"),
        ("/foo?q", "/xyz?q"),
        ("/foobar", "/below/foobar"),
        ("/slash/bar", "/xyz/bar"),
        ("/slash", "/xyz"),
        ("/top/bar", "/bar"),
        ("/top/", "/"),
        ("/top", "/"),
        ("/empty/bar?q=1", "/bar?q=1"),
        ("/empty", "/"),
        ("/whole/a?q=1", "/there?q=1"),
        ("/", "/below/"),
        ("/a", "/below/a"),
    ] {
        gateway.send(&get(target));
        let request = backend.request();
        assert!(request.starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{target}: {request}");
    }
}

/// A backend that is one connection, which the test reads and writes by itself.
fn by_hand() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// Reads until `text` has come.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains(text) {
        let count = stream.read(&mut buffer).unwrap_or_else(|error| panic!("{error}; so far: {seen}"));
        assert!(count > 0, "the end; so far: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    seen
}

#[test]
fn a_body_is_not_taken_faster_than_the_backend_takes_it() {
    const ALL: usize = 64 << 20;
    let (listener, address) = by_hand();
    let gateway = start(address);
    let mut client = gateway.connect();
    let head = format!("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {ALL}\r\n\r\n");
    client.write_all(head.as_bytes()).expect("a head sent");
    let mut backend = accept(&listener);
    read_until(&mut backend, "\r\n\r\n");
    client.set_write_timeout(Some(Duration::from_millis(150))).expect("a timeout");
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < ALL {
        match client.write(&piece) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < ALL / 2, "{sent} bytes were taken, and the backend has read none");
}

#[test]
fn a_client_that_sends_too_slowly_is_told_so() {
    let (listener, address) = by_hand();
    let gateway = start(address);
    let mut client = gateway.connect();
    client.write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf").expect("a part sent");
    let mut backend = accept(&listener);
    read_until(&mut backend, "half");
    let response = read_until(&mut client, "\r\n\r\n");
    assert_eq!(status(&response), 408, "{response}");
}

#[test]
fn an_early_no_is_passed_on_without_the_rest_of_the_body() {
    let (listener, address) = by_hand();
    let gateway = start(address);
    let mut client = gateway.connect();
    client
        .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000000\r\n\r\nsome")
        .expect("a part sent");
    let mut backend = accept(&listener);
    read_until(&mut backend, "some");
    backend.write_all(&sized(413, "text/plain", "connection: close\r\n", "too large")).expect("written");
    let response = read_until(&mut client, "too large");
    assert_eq!(status(&response), 413, "{response}");
}

#[test]
fn bodies_go_over_http2_as_well() {
    let (listener, address) = by_hand();
    let inner = start(address);
    let outer = start_over_http2(&inner);
    let mut client = outer.connect();
    let head =
        "POST /a?b HTTP/1.1\r\nhost: www.example\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).expect("a head sent");
    client.write_all(&chunk("first")).expect("a piece sent");
    let mut backend = accept(&listener);
    let seen = read_until(&mut backend, "first");
    assert!(seen.starts_with("POST /a?b HTTP/1.1\r\n"), "{seen}");
    assert_eq!(header(&seen, "host"), Some("www.example"), "{seen}");
    client.write_all(&[chunk("second"), last_chunk()].concat()).expect("a piece sent");
    read_until(&mut backend, "0\r\n\r\n");
    backend.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").expect("written");
    read_until(&mut client, "one");
    backend.write_all(b"3\r\ntwo\r\n0\r\n\r\n").expect("written");
    read_until(&mut client, "0\r\n\r\n");
    // The next one has no body.
    let answered = std::thread::spawn(move || outer.send(&get("/next")));
    let seen = read_until(&mut backend, "\r\n\r\n");
    assert_eq!(header(&seen, "transfer-encoding").or(header(&seen, "content-length")), None, "{seen}");
    backend.write_all(&sized(200, "text/plain", "", "done")).expect("written");
    assert_eq!(body(&answered.join().expect("an answer")), "done");
}

#[test]
fn a_client_that_breaks_off_over_http2_does_not_seem_to_have_ended() {
    let (listener, address) = by_hand();
    let inner = start(address);
    let outer = start_over_http2(&inner);
    let mut client = outer.connect();
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .expect("a part sent");
    let mut backend = accept(&listener);
    read_until(&mut backend, "first");
    drop(client);
    let mut rest = String::new();
    // The connection ends, in whatever way, without the last chunk.
    let _ = backend.read_to_string(&mut rest);
    assert!(!rest.contains("0\r\n\r\n"), "{rest}");
}

#[test]
fn a_backend_that_says_yes_early_gets_the_rest_of_the_body() {
    // Envoy ends a request when its answer is complete.
    if is_envoy() {
        return;
    }
    let (listener, address) = by_hand();
    let gateway = start(address);
    let mut client = gateway.connect();
    client.write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 8\r\n\r\nsome").expect("a part sent");
    let mut backend = accept(&listener);
    read_until(&mut backend, "some");
    backend.write_all(&sized(200, "text/plain", "", "yes")).expect("written");
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(b"more").expect("the rest sent");
    read_until(&mut backend, "more");
    assert_eq!(status(&read_until(&mut client, "yes")), 200);
}
