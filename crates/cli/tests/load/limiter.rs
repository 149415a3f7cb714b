//! An Envoy with its own filter for rate limits in front of a server, and `tollgate ratelimit`, which the filter asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{PATIENCE, Process, eventually, free_address, signal};

/// How long the filter waits for an answer.
pub(crate) const FILTER_WAITS: Duration = Duration::from_millis(250);

/// What each answer of the server says it used, in the header from which a filter makes metadata.
pub(crate) const USED: u64 = 7;

const LIMITS: &str = "
domain: envoy
descriptors:
- key: user
  rate_limit: { unit: year, requests_per_unit: 3 }
- key: tokens
  rate_limit: { unit: year, requests_per_unit: 20 }
";

/// Whether Envoy asks the service for its health as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    No,
    Yes,
}

/// The parts at work.
pub(crate) struct Limited {
    /// Where requests pass when the service cannot be asked.
    pub(crate) open: SocketAddr,
    /// Where they are refused then.
    pub(crate) closed: SocketAddr,
    /// Where Envoy itself tells of the service.
    operators: SocketAddr,
    at: SocketAddr,
    // In the order in which they are ended.
    _envoy: Process,
    pub(crate) service: Process,
    folder: tempfile::TempDir,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Limited {
    pub(crate) fn start(checks: Checks) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("limits.yaml"), LIMITS).expect("a file");
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let backend = server.local_addr().expect("an address");
        thread::spawn(move || serve(&server));
        let (open, closed, operators, at) = (free_address(), free_address(), free_address(), free_address());
        let service = start_service(folder.path(), at);
        let bootstrap = folder.path().join("envoy.json");
        let listeners = [listener("open", open, false), listener("closed", closed, true)];
        let clusters = [cluster("backend", backend), limits_cluster(at, checks)];
        let text = json!({
            "admin": { "address": address(operators) },
            "static_resources": { "listeners": listeners, "clusters": clusters },
        });
        std::fs::write(&bootstrap, text.to_string()).expect("a file");
        let program = std::env::var_os("TOLLGATE_ENVOY").expect("TOLLGATE_ENVOY names an Envoy");
        let mut command = Command::new(program);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "--config-path"]);
        let envoy = Process::other(command.arg(&bootstrap));
        let limited = Self { open, closed, operators, at, _envoy: envoy, service, folder };
        eventually("Envoy listens", || [open, closed].iter().all(|at| TcpStream::connect(at).is_ok()));
        limited.wait_until_asked();
        limited
    }

    /// How long it takes until the service is asked: whether it lets in or refuses, it tells its limit.
    pub(crate) fn wait_until_asked(&self) -> Duration {
        eventually("the service is asked", || {
            let answer = ask(self.closed, "/requests", "nobody");
            answer.header("ratelimit-limit").is_some()
        })
    }

    pub(crate) fn service_dies(&mut self) {
        signal(self.service.id(), "-KILL");
        eventually("nobody listens", || TcpStream::connect(self.at).is_err());
    }

    pub(crate) fn service_starts_again(&mut self) {
        self.service = start_service(self.folder.path(), self.at);
    }

    /// What the service has counted of a limit: `total_hits` and the like.
    pub(crate) fn counted(&self, what: &str, key: &str) -> u64 {
        let line = format!("ratelimit_service_rate_limit_{what}{{domain=\"envoy\",key1=\"{key}\"}} ");
        let text = self.service.tells("/metrics");
        let found = text.lines().find_map(|known| known.strip_prefix(&line));
        found.and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// Whether Envoy takes the service for healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        let text = crate::gateway::get(self.operators, "/clusters").expect("Envoy");
        let line =
            text.lines().find(|line| line.starts_with("limits::") && line.contains("::health_flags::"));
        line.is_some_and(|line| line.ends_with("::healthy"))
    }
}

fn start_service(folder: &Path, at: SocketAddr) -> Process {
    let config = folder.join("limits.yaml");
    let (config, at) = (config.to_str().expect("UTF-8"), at.to_string());
    Process::tollgate(&["ratelimit", "--config", config, "--address", &at, "--headers", "--workers", "1"])
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn cluster(name: &str, at: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(at) } }] }],
        },
    })
}

fn limits_cluster(at: SocketAddr, checks: Checks) -> Value {
    let mut cluster = cluster("limits", at);
    cluster["typed_extension_protocol_options"] = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    } });
    if checks == Checks::Yes {
        cluster["common_lb_config"] = json!({ "healthy_panic_threshold": { "value": 0 } });
        cluster["health_checks"] = json!([{
            "timeout": "0.5s",
            "interval": "0.2s",
            "no_traffic_interval": "0.2s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "grpc_health_check": { "service_name": "envoy.service.ratelimit.v3.RateLimitService" },
        }]);
    }
    cluster
}

fn listener(name: &str, at: SocketAddr, denies: bool) -> Value {
    let kind = |path: &str| format!("type.googleapis.com/envoy.extensions.filters.http.{path}");
    let usage = json!({
        "@type": kind("header_to_metadata.v3.Config"),
        "response_rules": [{
            "header": "x-used",
            "on_header_present": { "metadata_namespace": "usage", "key": "tokens", "type": "NUMBER" },
        }],
    });
    let limits = json!({
        "@type": kind("ratelimit.v3.RateLimit"),
        "domain": "envoy",
        "failure_mode_deny": denies,
        "timeout": format!("{}s", FILTER_WAITS.as_secs_f64()),
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": "limits" } },
        },
    });
    json!({
        "name": name,
        "address": address(at),
        "filter_chains": [{ "filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "route_config": routes(),
                "http_filters": [
                    { "name": "limits", "typed_config": limits },
                    { "name": "usage", "typed_config": usage },
                    { "name": "router", "typed_config": { "@type": kind("router.v3.Router") } },
                ],
            },
        }] }],
    })
}

/// One path counts requests, the other one what their answers used: checked before, and charged after.
fn routes() -> Value {
    let actions =
        |key: &str| json!([{ "request_headers": { "header_name": "x-user", "descriptor_key": key } }]);
    let requests = json!([{ "actions": actions("user") }]);
    let tokens = json!([
        { "actions": actions("tokens"), "hits_addend": { "number": 0 } },
        {
            "actions": actions("tokens"),
            "hits_addend": { "format": "%DYNAMIC_METADATA(usage:tokens)%" },
            "apply_on_stream_done": true,
        },
    ]);
    let route = |prefix: &str, limits: Value| {
        json!({
            "match": { "prefix": prefix },
            "route": { "cluster": "backend" },
            // Envoy takes a `hits_addend` here alone.
            "typed_per_filter_config": { "limits": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
                "rate_limits": limits,
            } },
        })
    };
    json!({
        "name": "routes",
        "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [route("/requests", requests), route("/tokens", tokens)],
        }],
    })
}

fn serve(server: &TcpListener) {
    for stream in server.incoming().flatten() {
        // A broken connection concerns Envoy.
        thread::spawn(move || answer_all(stream).ok());
    }
}

fn answer_all(mut output: TcpStream) -> std::io::Result<()> {
    let mut input = BufReader::new(output.try_clone()?);
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            write!(output, "HTTP/1.1 200 OK\r\nx-used: {USED}\r\ncontent-length: 2\r\n\r\nok")?;
        }
        line.clear();
    }
    Ok(())
}

/// Asks once, on a connection of its own.
pub(crate) fn ask(at: SocketAddr, path: &str, user: &str) -> Answer {
    send(at, &format!("GET {path} HTTP/1.1\r\nhost: test\r\nx-user: {user}\r\nconnection: close\r\n\r\n"))
}

/// Sends a request on a connection of its own, and reads the answer.
pub(crate) fn send(at: SocketAddr, request: &str) -> Answer {
    let began = Instant::now();
    let mut stream = TcpStream::connect(at).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("written");
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line).expect("an answer");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut headers = Vec::new();
    loop {
        line.clear();
        input.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = Vec::new();
    match length {
        // Envoy may wait before it closes.
        Some((_, length)) => {
            body.resize(length.parse().expect("a length"), 0);
            input.read_exact(&mut body).expect("a body");
        }
        None => {
            input.read_to_end(&mut body).expect("a body");
        }
    }
    let took = began.elapsed();
    Answer { status, headers, body: String::from_utf8(body).expect("UTF-8"), took }
}
