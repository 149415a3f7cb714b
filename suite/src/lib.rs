//! What the end-to-end tests share: backends that follow a script to the byte, a gateway built from plain data, and a client that
//! sees the raw response.
//!
//! `tests/planes` holds on every data plane: [`Tested`] is the one that `TOLLGATE_DATA_PLANE` names, as for the `tollgate` binary.
//! What is forced to be otherwise on one of them says so where it is tested, and in `docs/differences.md`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

mod beside;
mod bundles;
mod message;
mod notes;
mod plane;
mod scripted;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tollgate_config::Snapshot;
use tollgate_config::bundle::{Backend, Bundle, Rule};
use tollgate_config::prices::Catalog;
use tollgate_effects::Secrets;
use tollgate_effects::quota::{QuotaMetrics, Quotas};
use tollgate_exchange::Journal;
use tollgate_telemetry::{AccessLog, Telemetry};

pub use beside::Beside;
pub use bundles::{backend, bundle, keyed, openai, retrying, rule, secret_ref};
pub use message::{
    CHAT, STREAM, body, chat_request, chunk, comparable, completion, delta, header, json, last_chunk, sized,
    status, stream_end, stream_head, transcript,
};
pub use notes::Notes;
use plane::Plane;
pub use plane::is_envoy;
pub use scripted::{Act, ScriptedBackend};

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway under test.
pub struct Tested {
    /// Where clients connect.
    pub address: SocketAddr,
    plane: Plane,
    telemetry: Arc<Telemetry>,
    log: tempfile::TempDir,
}

fn compiled(bundle: Bundle) -> Arc<Snapshot> {
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Arc::new(snapshot)
}

impl Tested {
    /// One rule in front of these backends.
    pub fn start(rule: Rule, backends: Vec<Backend>) -> Self {
        Self::start_with(rule, backends, Secrets::default())
    }

    /// The same with secrets.
    pub fn start_with(rule: Rule, backends: Vec<Backend>, secrets: Secrets) -> Self {
        Self::start_bundle(bundle(free_port(), rule, backends), secrets)
    }

    /// Any configuration.
    pub fn start_bundle(bundle: Bundle, secrets: Secrets) -> Self {
        Self::start_snapshot(compiled(bundle), secrets, None, &Quotas::default())
    }

    /// The same, with the counters of limits there.
    pub fn start_counting(bundle: Bundle, quotas: &Quotas) -> Self {
        Self::start_snapshot(compiled(bundle), Secrets::default(), None, quotas)
    }

    /// The same, with somebody who keeps account of every attempt.
    pub fn start_recorded(
        bundle: Bundle,
        secrets: Secrets,
        journal: Arc<dyn Journal>,
        quotas: &Quotas,
    ) -> Self {
        Self::start_snapshot(compiled(bundle), secrets, Some(journal), quotas)
    }

    /// A configuration with a catalog of prices.
    pub fn start_priced(bundle: Bundle, prices: &str) -> Self {
        let (snapshot, _) = Snapshot::compile(bundle);
        let prices = Catalog::parse(prices).expect("a catalog");
        let snapshot = Arc::new(snapshot.with_prices(Arc::new(prices)));
        Self::start_snapshot(snapshot, Secrets::default(), None, &Quotas::default())
    }

    fn start_snapshot(
        snapshot: Arc<Snapshot>,
        secrets: Secrets,
        journal: Option<Arc<dyn Journal>>,
        quotas: &Quotas,
    ) -> Self {
        let log = tempfile::tempdir().expect("a folder");
        let mut options = tollgate_telemetry::Options::new("test");
        options.access_log = AccessLog::File(log.path().join("access.log"));
        let telemetry = Telemetry::new(options).expect("telemetry");
        let mut telemetry = telemetry.with(Box::new(QuotaMetrics(quotas.clone())));
        if let Some(journal) = journal {
            telemetry = telemetry.with_journal(journal);
        }
        let telemetry = Arc::new(telemetry);
        let plane = Plane::start(snapshot, secrets, Arc::clone(&telemetry), quotas);
        let address = plane.addresses()[0];
        Self { address, plane, telemetry, log }
    }

    /// Serves another configuration from now on.
    pub fn reload(&self, bundle: Bundle, secrets: Secrets) {
        self.plane.reload(compiled(bundle), secrets);
    }

    /// Lets running requests finish, at most for `grace`; false when some were cut off.
    pub fn drain(&self, grace: Duration) -> bool {
        self.plane.drain(grace)
    }

    /// Its metrics, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        self.telemetry.encode_metrics()
    }

    /// One of its metrics, by its name with all labels; 0 where there is none yet.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Sends a chat and reads the raw response to its end.
    pub fn chat(&self, body: &str) -> String {
        self.send(&chat_request(body))
    }

    /// Sends raw bytes and reads the raw response to its end.
    pub fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("a request sent");
        read_to_end(&mut stream)
    }

    /// A connection whose reads are bounded in time.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The lines of the access log, once there are `count`.
    pub fn log_lines(&self, count: usize) -> Vec<serde_json::Value> {
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

/// Sends raw bytes on a connection that goes on, and reads one response with a content-length.
pub fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("a request sent");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).expect("a response");
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let length = header(&text, "content-length").and_then(|length| length.parse().ok());
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| Some(body.len()) == length) {
            return text.into_owned();
        }
    }
}

/// A port that is free, and that no connection gets by chance before it is used: systems give those from 32768 on.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = std::iter::repeat_with(|| {
        let number = NEXT.fetch_add(1, Ordering::SeqCst) + std::process::id() * 31;
        u16::try_from(20_000 + number % 12_000).expect("a port")
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.take(12_000).find(is_free).expect("a free port")
}

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
