//! What the failure tests share: backends that follow a script to the byte, a gateway built from plain data, and a
//! client that sees the raw response.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Credential, CredentialKind, Endpoint, Limits, Listener, Mutation, Retry, Route, Rule,
    Schema, SecretRef, Target, Timeouts,
};
use tollgate_effects::Secrets;
use tollgate_proxy::{Gateway, Options};
use tollgate_telemetry::{AccessLog, Telemetry};
use tollgate_terms::{BackendName, RouteName};

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One step of a scripted backend, after it has read the request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Do nothing for a while.
    Pause(Duration),
    /// Close in order (FIN).
    Close,
    /// Close in disorder (RST).
    Reset,
    /// Hold the connection until the other side closes it, and tell.
    AwaitClose,
}

/// A backend that answers its n-th request by its n-th script, and further ones by the last.
pub(crate) struct ScriptedBackend {
    pub(crate) address: SocketAddr,
    /// Raw requests, in the order of their arrival.
    pub(crate) requests: Receiver<String>,
    /// One message whenever an `AwaitClose` saw the other side close.
    pub(crate) closed: Receiver<Instant>,
}

impl ScriptedBackend {
    pub(crate) fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (request_sender, requests) = channel();
        let (closed_sender, closed) = channel();
        let scripts = Arc::new(Mutex::new((0_usize, scripts)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (scripts, requests, closed) =
                    (Arc::clone(&scripts), request_sender.clone(), closed_sender.clone());
                std::thread::spawn(move || follow(stream, &scripts, &requests, &closed));
            }
        });
        Self { address, requests, closed }
    }

    /// The next request that arrived.
    pub(crate) fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request at the backend")
    }
}

fn follow(
    mut stream: TcpStream,
    scripts: &Mutex<(usize, Vec<Vec<Act>>)>,
    requests: &Sender<String>,
    closed: &Sender<Instant>,
) {
    stream.set_nodelay(true).expect("nodelay");
    while let Some(request) = read_message(&mut stream) {
        let script = {
            let mut state = scripts.lock().expect("the scripts");
            let number = state.0.min(state.1.len() - 1);
            state.0 += 1;
            state.1[number].clone()
        };
        let _ = requests.send(request);
        for act in script {
            match act {
                Act::Write(bytes) => {
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Act::Pause(length) => std::thread::sleep(length),
                Act::Close => {
                    let _ = stream.shutdown(Shutdown::Write);
                    return;
                }
                Act::Reset => {
                    let socket = socket2::Socket::from(stream);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return;
                }
                Act::AwaitClose => {
                    let mut byte = [0];
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    if !matches!(stream.read(&mut byte), Err(ref error) if error.kind() == std::io::ErrorKind::WouldBlock)
                    {
                        let _ = closed.send(Instant::now());
                    }
                    return;
                }
            }
        }
    }
}

/// One whole request with a content-length, or `None` at the end of the connection.
fn read_message(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let length = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The value of a header in a raw message.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A response with a content-length.
pub(crate) fn sized(status: u16, content_type: &str, extra: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{extra}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of a chunked stream of events.
pub(crate) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()
}

/// One chunk.
pub(crate) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// The end of a chunked body.
pub(crate) fn last_chunk() -> Vec<u8> {
    b"0\r\n\r\n".to_vec()
}

/// An event of a chat completion stream with this text.
pub(crate) fn delta(text: &str) -> String {
    format!(
        r#"data: {{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
    ) + "\n\n"
}

/// The events that end a chat completion stream: finish, usage, done.
pub(crate) fn stream_end() -> String {
    concat!(
        r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#,
        "\n\n",
        "data: [DONE]\n\n"
    )
    .to_owned()
}

/// A whole chat completion.
pub(crate) fn completion() -> &'static str {
    r#"{"id":"c1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#
}

/// A bare rule, retrying nothing.
pub(crate) fn rule(backends: &[&str]) -> Rule {
    Rule {
        name: None,
        matches: Vec::new(),
        targets: backends
            .iter()
            .zip(0..)
            .map(|(name, priority)| Target {
                backend: BackendName::new(*name),
                priority,
                weight: 1,
                model_override: None,
                mutation: Mutation::default(),
            })
            .collect(),
        timeouts: Timeouts { request: Some(PATIENCE), ..Timeouts::default() },
        retry: Retry {
            backoff_base: Duration::from_millis(10),
            backoff_max: Duration::from_millis(50),
            ..Retry::default()
        },
        models_owned_by: "tests".to_owned(),
        models_created_at: 0,
        broken: None,
    }
}

/// The same rule, retrying everything that can be retried.
pub(crate) fn retrying(mut rule: Rule) -> Rule {
    rule.retry.retries_max = 3;
    rule.retry.on_connect_failure = true;
    rule.retry.on_reset = true;
    rule.retry.on_timeout = true;
    rule.retry.on_statuses = vec![429, 500, 502, 503, 504, 529];
    rule
}

/// A backend without TLS and credential.
pub(crate) fn backend(name: &str, schema: Schema, address: SocketAddr) -> Backend {
    Backend {
        name: BackendName::new(name),
        schema,
        endpoints: vec![Endpoint::Ip { address: address.ip(), port: address.port() }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1024, requests_max: 1024, retries_max: 3 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
    }
}

pub(crate) fn openai(name: &str, address: SocketAddr) -> Backend {
    backend(name, Schema::OpenAi { prefix: "v1".to_owned() }, address)
}

/// The same backend with an API key.
pub(crate) fn keyed(mut backend: Backend) -> Backend {
    backend.credential = Some(Credential {
        kind: CredentialKind::ApiKey,
        configured: Some(secret_ref()),
        override_header: None,
        fallback_to_configured: true,
    });
    backend
}

pub(crate) fn secret_ref() -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "key".to_owned(), key: "apiKey".to_owned() }
}

/// A gateway under test.
pub(crate) struct Tested {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) telemetry: Arc<Telemetry>,
    log: tempfile::TempDir,
}

/// The configuration of one rule.
pub(crate) fn bundle(port: u16, rule: Rule, backends: Vec<Backend>) -> Bundle {
    let by_name: BTreeMap<BackendName, Backend> =
        backends.into_iter().map(|backend| (backend.name.clone(), backend)).collect();
    Bundle {
        listeners: vec![Listener {
            name: "l".to_owned(),
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            hostname: None,
            tls: None,
            request_body_bytes_max: 4096,
        }],
        routes: vec![Route {
            name: RouteName::new("default/r"),
            listeners: vec!["l".to_owned()],
            hostnames: Vec::new(),
            created_at: 0,
            rules: vec![rule],
            costs: Vec::new(),
        }],
        backends: by_name,
    }
}

pub(crate) fn compiled(bundle: Bundle) -> Arc<Snapshot> {
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Arc::new(snapshot)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Tested {
    pub(crate) fn start(rule: Rule, backends: Vec<Backend>) -> Self {
        Self::start_with(rule, backends, Secrets::default())
    }

    pub(crate) fn start_with(rule: Rule, backends: Vec<Backend>, secrets: Secrets) -> Self {
        Self::start_bundle(bundle(free_port(), rule, backends), secrets)
    }

    pub(crate) fn start_bundle(bundle: Bundle, secrets: Secrets) -> Self {
        let log = tempfile::tempdir().expect("a folder");
        let mut options = tollgate_telemetry::Options::new("test");
        options.access_log = AccessLog::File(log.path().join("access.log"));
        let telemetry = Arc::new(Telemetry::new(options).expect("telemetry"));
        let snapshot = compiled(bundle);
        let soon = Duration::from_millis(500);
        let options = Options { request_head_timeout: soon, request_body_timeout: soon, ..Options::new(1) };
        let gateway = Gateway::start(&options, snapshot, secrets, Arc::clone(&telemetry)).expect("a gateway");
        let address = gateway.addresses()[0];
        Self { address, gateway, telemetry, log }
    }

    /// Sends a chat and reads the raw response to its end.
    pub(crate) fn chat(&self, body: &str) -> String {
        self.send(&chat_request(body))
    }

    /// Sends raw bytes and reads the raw response to its end.
    pub(crate) fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("a request sent");
        read_to_end(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The lines of the access log, once there are `count`.
    pub(crate) fn log_lines(&self, count: usize) -> Vec<serde_json::Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.telemetry.flush(Duration::from_secs(1));
            let text = std::fs::read_to_string(self.log.path().join("access.log")).unwrap_or_default();
            let lines: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
            if lines.len() >= count || Instant::now() > until {
                assert_eq!(lines.len(), count, "{text}");
                return lines;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A chat request whose connection ends with it.
pub(crate) fn chat_request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

pub(crate) const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
pub(crate) const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}; so far: {}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status of a raw response.
pub(crate) fn status(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

/// The body of a raw response, taken out of its chunks.
pub(crate) fn body(response: &str) -> String {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { panic!("{response:?}") };
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
    out
}

/// The body as JSON.
pub(crate) fn json(response: &str) -> serde_json::Value {
    serde_json::from_str(&body(response)).unwrap_or_else(|error| panic!("{error}: {response}"))
}
