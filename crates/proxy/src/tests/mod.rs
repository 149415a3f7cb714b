//! What only shows from inside: bugs while a request is served, and clients that keep one stream of many waiting.

mod http2;
mod panics;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Endpoint, Limits, Listener, Mutation, OnLoss, Retry, Route, Rule, Schema, Target,
    Timeouts,
};
use tollgate_effects::Secrets;
use tollgate_telemetry::{AccessLog, Telemetry};
use tollgate_terms::{BackendName, RouteName};

use crate::{Gateway, Options};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a backend says where the gateway is to have a bug.
const BUG: &str = "here is a bug";

/// Panics when a backend has said so.
pub(crate) fn trip_over<E>(polled: &Poll<Option<Result<Frame<Bytes>, E>>>) {
    if let Poll::Ready(Some(Ok(frame))) = polled
        && let Some(data) = frame.data_ref()
    {
        assert!(!data.windows(BUG.len()).any(|window| window == BUG.as_bytes()), "a bug");
    }
}

fn head(content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")
        .into_bytes()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// An event of a chat with this text.
fn delta(text: &str) -> String {
    let event = serde_json::json!({"model": "m-1", "choices": [{"index": 0, "delta": {"content": text}}]});
    format!("data: {event}\n\n")
}

/// The end of a streamed chat, in a chunk, and of the chunks.
fn end() -> Vec<u8> {
    let finish = r#"data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    [chunk(&format!("{finish}\n\ndata: [DONE]\n\n")), b"0\r\n\r\n".to_vec()].concat()
}

/// What a backend does for a request; the model in it says what is wanted.
type Script = fn(&str, &mut TcpStream) -> std::io::Result<()>;

/// Starts a backend. The receiver hears when it sees that a connection has ended while it wrote.
fn backend(script: Script) -> (SocketAddr, Receiver<Instant>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, left) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || answer(stream, script, &sender));
        }
    });
    (address, left)
}

#[expect(clippy::disallowed_methods, reason = "a test measures time")]
fn answer(mut stream: TcpStream, script: Script, left: &Sender<Instant>) {
    while let Some(request) = read_request(&mut stream) {
        let body = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap();
        if script(body["model"].as_str().unwrap(), &mut stream).is_err() {
            let _ = left.send(Instant::now());
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| length.parse() == Ok(body.len())) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A gateway under test.
struct Tested {
    address: SocketAddr,
    telemetry: Arc<Telemetry>,
    log: tempfile::TempDir,
    _gateway: Gateway,
}

impl Tested {
    /// A gateway in front of one backend, whose clients may take nothing for so long.
    fn start(backend: SocketAddr, stream_idle: Option<Duration>) -> Self {
        let log = tempfile::tempdir().unwrap();
        let mut options = tollgate_telemetry::Options::new("test");
        options.access_log = AccessLog::File(log.path().join("access.log"));
        let telemetry = Arc::new(Telemetry::new(options).unwrap());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (snapshot, diagnostics) = Snapshot::compile(bundle(port, backend, stream_idle));
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let shared = (Arc::new(snapshot), Secrets::default(), Arc::clone(&telemetry));
        let gateway =
            Gateway::start(&Options::new(1), shared.0, shared.1, shared.2, &Default::default()).unwrap();
        Self { address: gateway.addresses()[0], telemetry, log, _gateway: gateway }
    }

    /// A connection of HTTP/2 with this window for each stream.
    async fn connect(&self, window_bytes: u32) -> SendRequest<Full<Bytes>> {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window_bytes)
            .initial_connection_window_size(1 << 24)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// The lines of the access log by the model that was asked for, once there are `count`.
    #[expect(clippy::disallowed_methods, reason = "a test measures time")]
    async fn log(&self, count: usize) -> BTreeMap<String, Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.telemetry.flush(Duration::from_secs(1));
            let text = std::fs::read_to_string(self.log.path().join("access.log")).unwrap_or_default();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() >= count || Instant::now() > until {
                assert_eq!(lines.len(), count, "{text}");
                let model = |line: &Value| line["gen_ai.request.model"].as_str().unwrap_or("").to_owned();
                return lines.into_iter().map(|line| (model(&line), line)).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn bundle(port: u16, backend: SocketAddr, stream_idle: Option<Duration>) -> Bundle {
    let name = BackendName::new("b");
    let target = Target {
        backend: name.clone(),
        priority: 0,
        weight: 1,
        model_override: None,
        mutation: Mutation::default(),
    };
    let rule = Rule {
        name: None,
        matches: Vec::new(),
        targets: vec![target],
        timeouts: Timeouts { stream_idle, ..Timeouts::default() },
        retry: Retry::default(),
        limits: Vec::new(),
        models_owned_by: String::new(),
        models_created_at: 0,
        access: None,
        broken: None,
    };
    let route = Route {
        name: RouteName::new("r"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![rule],
        costs: Vec::new(),
        on_loss: OnLoss::default(),
    };
    let listener = Listener {
        name: "l".to_owned(),
        address: Ipv4Addr::LOCALHOST.into(),
        port,
        hostname: None,
        tls: None,
        request_body_bytes_max: 4096,
    };
    let backend = Backend {
        name: name.clone(),
        schema: Schema::OpenAi { prefix: "v1".to_owned() },
        endpoints: vec![Endpoint::Ip { address: backend.ip(), port: backend.port() }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 99, requests_max: 99, retries_max: 3 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    };
    Bundle {
        listeners: vec![listener],
        routes: vec![route],
        backends: [(name, backend)].into(),
        ..Bundle::default()
    }
}

/// A chat, over HTTP/2; the path tells the dialect.
fn chat(path: &str, model: &str, streams: bool) -> Request<Full<Bytes>> {
    let body = serde_json::json!({
        "model": model, "stream": streams, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}],
    });
    let request = Request::builder().method(Method::POST).uri(format!("http://gateway{path}"));
    let request = request.header("content-type", "application/json");
    request.body(Full::new(body.to_string().into())).unwrap()
}

/// Runs a test, which has to come to its end in time.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.expect("the end of the test") });
}

fn write_all(stream: &mut TcpStream, pieces: &[Vec<u8>]) -> std::io::Result<()> {
    pieces.iter().try_for_each(|piece| stream.write_all(piece))
}
