//! What only shows from inside: a bug in the middle of an answer.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::unfold;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Endpoint, Limits, Listener, Mutation, OnLoss, Retry, Route, Rule, Schema, Target,
    Timeouts,
};
use tollgate_effects::quota::Quotas;
use tollgate_effects::{Credentials, Secrets};
use tollgate_envoy::processing::external_processor_client::ExternalProcessorClient;
use tollgate_envoy::processing::processing_request::Request as Message;
use tollgate_envoy::processing::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use tollgate_envoy::value::Kind;
use tollgate_exchange::{Journal, Opening, Outcome, Record};
use tollgate_telemetry::{Options, Telemetry};
use tollgate_terms::{BackendName, RouteName};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::{Code, Request, Status, Streaming};

use crate::{Processor, Serving, names, serve};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a backend says where the processor is to have a bug.
const BUG: &[u8] = b"here is a bug";

/// Panics when a backend has said so.
pub(crate) fn trip_over(body: &[u8]) {
    assert!(!body.windows(BUG.len()).any(|window| window == BUG), "a bug");
}

/// Those records that were made.
#[derive(Debug, Default)]
struct Records(Mutex<Vec<Record>>);

impl Journal for Records {
    fn opened(&self, _opening: &Opening) {}

    fn settled(&self, record: &Record) {
        self.0.lock().unwrap().push(record.clone());
    }
}

/// The connection of an Envoy.
#[derive(Clone)]
struct Envoy(http2::SendRequest<Body>);

impl Envoy {
    async fn connect(socket: &Path) -> Self {
        let connection = TokioIo::new(UnixStream::connect(socket).await.unwrap());
        let (sender, driver) = http2::handshake(TokioExecutor::new(), connection).await.unwrap();
        tokio::spawn(driver);
        Self(sender)
    }
}

impl Service<http::Request<Body>> for Envoy {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Self::Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A stream of Envoy's.
struct Stream {
    sent: UnboundedSender<ProcessingRequest>,
    answers: Streaming<ProcessingResponse>,
}

impl Stream {
    /// Opened by a listener if a `snapshot` is named, else for an attempt.
    async fn open(envoy: &Envoy, snapshot: Option<&str>) -> Self {
        let (sent, messages) = unbounded_channel();
        let next = |mut messages: UnboundedReceiver<_>| async { Some((messages.recv().await?, messages)) };
        let mut request = Request::new(unfold(messages, next));
        if let Some(snapshot) = snapshot {
            request.metadata_mut().insert(names::SNAPSHOT, snapshot.parse().unwrap());
            request.metadata_mut().insert(names::LISTENER, "l".parse().unwrap());
        }
        let origin = http::Uri::from_static("http://processor");
        let mut client = ExternalProcessorClient::with_origin(envoy.clone(), origin);
        let answers = client.process(request).await.unwrap().into_inner();
        Self { sent, answers }
    }

    fn say(&self, message: Message) {
        self.sent.send(ProcessingRequest { request: Some(message), ..Default::default() }).unwrap();
    }

    async fn answer(&mut self) -> Result<ProcessingResponse, Status> {
        tokio::time::timeout(PATIENCE, self.answers.message()).await.unwrap().map(Option::unwrap)
    }

    async fn ask(&mut self, message: Message) -> Result<ProcessingResponse, Status> {
        self.say(message);
        self.answer().await
    }
}

fn head(lines: &[(&str, &str)]) -> HttpHeaders {
    let header = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
        ..Default::default()
    };
    let headers = Some(HeaderMap { headers: lines.iter().map(header).collect() });
    HttpHeaders { headers, ..Default::default() }
}

fn body(bytes: impl Into<Bytes>, end_of_stream: bool) -> HttpBody {
    HttpBody { body: bytes.into(), end_of_stream, ..Default::default() }
}

fn delta(text: &str) -> String {
    format!(
        "data: {{\"model\":\"m-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    )
}

/// An exchange whose answer has begun: the streams of its listener and of its attempt.
async fn begun(envoy: &Envoy) -> (Stream, Stream) {
    let mut listener = Stream::open(envoy, Some("s")).await;
    let lines = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "gateway"),
        ("content-type", "application/json"),
    ];
    let said = listener.ask(Message::RequestHeaders(head(&lines))).await.unwrap();
    let asked = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    listener.ask(Message::RequestBody(body(asked, true))).await.unwrap();
    let metadata = &said.dynamic_metadata.unwrap().fields[names::METADATA];
    let Some(Kind::StructValue(members)) = &metadata.kind else { panic!("{metadata:?}") };
    let Some(Kind::StringValue(exchange)) = &members.fields[names::EXCHANGE].kind else {
        panic!("{members:?}")
    };

    let mut attempt = Stream::open(envoy, None).await;
    let tried = format!("{exchange} backend:80 r/rule/0/target/0");
    let lines = [&lines[..], &[(names::TRY, &tried)]].concat();
    attempt.ask(Message::RequestHeaders(head(&lines))).await.unwrap();
    let answered = [(":status", "200"), ("content-type", "text/event-stream")];
    // Envoy hears of the head when there is an event.
    attempt.say(Message::ResponseHeaders(head(&answered)));
    attempt.ask(Message::ResponseBody(body(delta("hi"), false))).await.unwrap();
    attempt.answer().await.unwrap();
    listener.ask(Message::ResponseHeaders(head(&answered))).await.unwrap();
    (listener, attempt)
}

#[tokio::test]
async fn f23_a_bug_in_the_middle_of_a_stream_ends_that_stream_and_no_other() {
    let records = Arc::new(Records::default());
    let journal = Arc::clone(&records);
    let telemetry = Arc::new(Telemetry::new(Options::new("test")).unwrap().with_journal(journal));
    let (snapshot, diagnostics) = Snapshot::compile(bundle());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let credentials = Credentials::new(snapshot.bundle(), &Secrets::default(), None);
    let serving = Serving { id: "s".to_owned(), snapshot: Arc::new(snapshot), credentials };
    let processor = Processor::new(serving, Arc::clone(&telemetry), Quotas::default());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("processor");
    let _server = serve(&processor, &socket, 1).unwrap();
    let envoy = Envoy::connect(&socket).await;
    let (listener, mut attempt) = begun(&envoy).await;
    let (beside, mut other) = begun(&envoy).await;

    let text = std::str::from_utf8(BUG).unwrap();
    let failed = attempt.ask(Message::ResponseBody(body(delta(text), false))).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Internal, "internal error of the gateway"));
    drop((listener, attempt));
    let end = format!("{}data: [DONE]\n\n", delta("on"));
    other.ask(Message::ResponseBody(body(end, true))).await.unwrap();
    drop((beside, other));

    let over = async {
        while processor.running() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    let records = records.0.lock().unwrap();
    let ends: Vec<_> = records.iter().map(|record| (record.outcome, record.fault)).collect();
    assert_eq!(ends, [(Outcome::Error, Some("internal")), (Outcome::Complete, None)]);
    let metrics = telemetry.encode_metrics();
    assert!(metrics.contains("tollgate_panics_total 1\n"), "{metrics}");
}

fn bundle() -> Bundle {
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
        timeouts: Timeouts::default(),
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
        port: 80,
        hostname: None,
        tls: None,
        request_body_bytes_max: 4096,
    };
    let backend = Backend {
        name: name.clone(),
        schema: Schema::OpenAi { prefix: "v1".to_owned() },
        endpoints: vec![Endpoint::Ip { address: Ipv4Addr::LOCALHOST.into(), port: 80 }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
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
