//! An Envoy that is programmed over a Unix socket, and what it is programmed with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_envoy::to_any;
use tollgate_xds::ResourceSet;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An Envoy at work, and the folder that it shares with its server.
pub(crate) struct Envoy {
    child: Child,
    folder: TempDir,
}

impl Envoy {
    /// Where its server is to listen, in a folder that is passed on to [`Envoy::start`].
    pub(crate) fn socket(folder: &Path) -> PathBuf {
        folder.join("xds")
    }

    /// Starts the Envoy that `TOLLGATE_ENVOY` names.
    pub(crate) fn start(folder: TempDir) -> Self {
        let path = std::env::var_os("TOLLGATE_ENVOY");
        let path = path.expect("TOLLGATE_ENVOY names no Envoy: run `cargo xtask test --only envoy`");
        let bootstrap = folder.path().join("bootstrap.json");
        std::fs::write(&bootstrap, bootstrap_text(&Self::socket(folder.path()))).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(path)
            .args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "--config-path"])
            .arg(&bootstrap)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bootstrap_text(socket: &Path) -> String {
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    });
    let from_ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let bootstrap = json!({
        "node": { "id": "node-1", "cluster": "nodes" },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "cds_config": from_ads,
            "lds_config": from_ads,
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
            "load_assignment": {
                "cluster_name": "xds",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "pipe": { "path": socket } } } }] }],
            },
        }] },
    });
    bootstrap.to_string()
}

/// An address that is free at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What a listener at `address` needs to answer with `body`: itself, with a filter of this type, its routes, and a cluster of this name
/// that one of them names.
pub(crate) fn set(address: SocketAddr, filter: &str, cluster: &str, body: &str) -> ResourceSet {
    let mut set = ResourceSet::default();
    set.insert("listener", to_any(&listener(address, filter)).unwrap());
    set.insert("routes", to_any(&routes(cluster, body)).unwrap());
    let cluster_body = json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": cluster, "endpoints": [] },
    });
    set.insert(cluster, to_any(&cluster_body).unwrap());
    set
}

fn routes(cluster: &str, body: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "routes",
        // So Envoy itself rejects routes that come before their clusters.
        "validate_clusters": true,
        "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [
                { "match": { "prefix": "/upstream" }, "route": { "cluster": cluster } },
                {
                    "match": { "prefix": "/" },
                    "direct_response": { "status": 200, "body": { "inline_string": body } },
                },
            ],
        }],
    })
}

/// The `@type` of the filter that every listener ends with.
pub(crate) const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

fn listener(address: SocketAddr, filter: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "listener",
        "address": { "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } },
        "filter_chains": [{ "filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "test",
                "rds": {
                    "route_config_name": "routes",
                    "config_source": { "ads": {}, "resource_api_version": "V3" },
                },
                "http_filters": [{ "name": filter, "typed_config": { "@type": filter } }],
            },
        }] }],
    })
}

/// The body of the answer to one request; an error when there is none with 200.
pub(crate) fn ask(address: SocketAddr) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    answer.read_line(&mut line).map_err(|error| error.to_string())?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(format!("answered with {line:?}"));
    }
    while line != "\r\n" {
        line.clear();
        answer.read_line(&mut line).map_err(|error| error.to_string())?;
        if let Some(told) = line.strip_prefix("content-length: ") {
            length = told.trim().parse().unwrap();
        }
    }
    // Envoy waits before it closes.
    let mut body = vec![0; length];
    answer.read_exact(&mut body).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(body).unwrap())
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Somebody who asks all the time.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    asker: JoinHandle<(u64, Vec<String>)>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let asker = thread::spawn(move || {
            let (mut count, mut failures) = (0, Vec::new());
            while !told.load(Ordering::SeqCst) {
                count += 1;
                failures.extend(ask(address).err());
                thread::sleep(Duration::from_millis(1));
            }
            (count, failures)
        });
        Self { ends, asker }
    }

    /// How many requests there were; fails when one of them did.
    pub(crate) fn finish(self) -> u64 {
        self.ends.store(true, Ordering::SeqCst);
        let (count, failures) = self.asker.join().unwrap();
        assert_eq!(failures, Vec::<String>::new());
        count
    }
}
