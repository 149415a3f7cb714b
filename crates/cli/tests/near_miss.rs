//! Keys that are almost right, over a real socket: how long a refusal takes does not tell how much of a key was right.
//!
//! What this shows: of keys that are wrong at the first, the middle or the last byte, too short or too long, which come in random order over one
//! connection, the medians of the times to a refusal differ by less than a quarter. It does not show differences of nanoseconds, which nobody sees over a
//! socket; against those keys are looked up by keyed hashes and never compared byte by byte (`policy::authorize`).

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "sk-4f9a1c77e2b05d3886aa90cc41d7e36f";

/// Requests of each kind in one measure.
const EACH: usize = 600;

/// How far medians may be apart, and how often it is measured until they are not: the machine has other work.
const RATIO_MAX: f64 = 1.25;
const MEASURES: usize = 5;

struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &std::path::Path) -> Gateway {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = address.expect("a port");
    let file = folder.join("gateway.yaml");
    let port = address.port();
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: {port}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: ai}}
spec:
  parentRefs: [{{name: ai, kind: Gateway, group: gateway.networking.k8s.io}}]
  rules: [{{backendRefs: [{{name: model}}]}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: model}}
spec:
  schema: {{name: OpenAI}}
  backendRef: {{name: model, kind: Backend, group: gateway.envoyproxy.io}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: model}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: 9}}}}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {{name: keys}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: ai}}]
  apiKeyAuth:
    credentialRefs: [{{name: clients}}]
    extractFrom: [{{headers: [x-api-key]}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: clients}}
stringData: {{alice: {KEY}}}
"
    );
    std::fs::write(&file, text).expect("a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--workers", "1", "--access-log", "off", "--log-level", "off"])
        .args(["--admin-address", "127.0.0.1:0"])
        .arg(&file)
        .env_remove("TOLLGATE_DATA_PLANE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("standard error")).read_line(&mut line).expect("a line");
    assert!(line.contains("admin http://"), "no ready line: {line}");
    Gateway { child, address }
}

/// A connection that is kept, and made anew where the gateway has closed it.
struct Client {
    address: SocketAddr,
    connection: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self { address, connection: BufReader::new(stream) }
    }

    /// The status of the answer to this key, and how long it took to come.
    fn ask(&mut self, key: &str) -> (u16, Duration) {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: test\r\nx-api-key: {key}\r\n\r\n");
        let began = Instant::now();
        self.connection.get_mut().write_all(request.as_bytes()).expect("written");
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("an answer");
        let took = began.elapsed();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let (mut length, mut ends) = (0, false);
        while line != "\r\n" {
            line.clear();
            self.connection.read_line(&mut line).expect("a header");
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "connection" => ends = value.trim() == "close",
                _ => {}
            }
        }
        self.connection.read_exact(&mut vec![0; length]).expect("a body");
        if ends {
            *self = Self::new(self.address);
        }
        (status, took)
    }
}

/// The right key with another byte at one place.
fn wrong_at(place: usize) -> String {
    let mut bytes = KEY.as_bytes().to_vec();
    bytes[place] = if bytes[place] == b'z' { b'y' } else { b'z' };
    String::from_utf8(bytes).expect("ASCII")
}

fn near_misses() -> [(&'static str, String); 6] {
    let last = KEY.len() - 1;
    [
        ("first byte", wrong_at(0)),
        ("middle byte", wrong_at(KEY.len() / 2)),
        ("last byte", wrong_at(last)),
        ("one byte short", KEY[..last].to_owned()),
        ("one byte long", format!("{KEY}0")),
        ("nothing right", "z".repeat(KEY.len())),
    ]
}

/// The median for each of the keys, which are asked with in random order.
fn medians(client: &mut Client, keys: &[(&'static str, String)]) -> Vec<Duration> {
    let mut order: Vec<usize> = (0..keys.len() * EACH).map(|at| at % keys.len()).collect();
    fastrand::shuffle(&mut order);
    let mut times = vec![Vec::with_capacity(EACH); keys.len()];
    for at in order {
        let (status, took) = client.ask(&keys[at].1);
        assert_eq!(status, 401, "{}", keys[at].0);
        times[at].push(took);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}

#[test]
fn how_long_a_refusal_takes_does_not_tell_how_much_of_a_key_was_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start(folder.path());
    let mut client = Client::new(gateway.address);
    assert_eq!(client.ask(KEY).0, 200);
    let keys = near_misses();
    medians(&mut client, &keys);
    for measure in 1..=MEASURES {
        let medians = medians(&mut client, &keys);
        for ((name, _), median) in keys.iter().zip(&medians) {
            println!("measure {measure}, {name}: median {median:?}");
        }
        let (least, most) = (medians.iter().min().expect("some"), medians.iter().max().expect("some"));
        let ratio = most.as_secs_f64() / least.as_secs_f64();
        println!("measure {measure}: apart {ratio:.3}x");
        if ratio < RATIO_MAX {
            return;
        }
    }
    panic!("the medians differ");
}
