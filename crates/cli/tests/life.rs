//! The gateway's life as a process: it starts, follows its files, and drains.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A gateway of its own for one test.
struct Running {
    process: Child,
    client_address: String,
    admin_address: String,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts on free ports, with `good.yaml` as its file.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        fs::copy(manifest("good.yaml"), &file).expect("a file");
        let prices = folder.path().join("prices.json");
        fs::copy(manifest("prices.json"), &prices).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "--port", "0", "--admin-address", "127.0.0.1:0", "--access-log", "off"])
            .args(["--workers", "1", "--drain-timeout", "5s"])
            .arg("--prices")
            .arg(&prices)
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let addresses: Vec<_> = line.split("http://").skip(1).collect();
        let [client, admin] = addresses.as_slice() else { panic!("no ready line: {line}") };
        let address = |text: &str| text.split([' ', ')']).next().unwrap_or_default().to_owned();
        Self { process, client_address: address(client), admin_address: address(admin), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    /// Asks the admin address for `path` until the answer has `expected`, at most for two seconds.
    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    fn wait_for(&self, path: &str, expected: &str) -> Duration {
        let began = Instant::now();
        loop {
            let answer = get(&self.admin_address, path);
            if answer.contains(expected) {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(2), "no {expected} in {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name)
}

/// The whole answer to a GET.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a listener");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn is_ready_as_soon_as_it_says_so_and_drains_at_the_end() {
    let mut gateway = Running::start();
    assert!(get(&gateway.client_address, "/v1/models").contains("\"llama\""));
    assert!(get(&gateway.admin_address, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&gateway.admin_address, "/metrics").contains("tollgate_requests_total"));
    let healthcheck = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["healthcheck", "--admin-address", &gateway.admin_address])
        .status();
    assert!(healthcheck.expect("the binary").success());
    gateway.signal("-TERM");
    assert_eq!(gateway.process.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_good_change_is_served_within_a_second() {
    let gateway = Running::start();
    gateway.wait_for("/config", "\"version\": 1");
    let text = fs::read_to_string(gateway.file()).expect("a file");
    fs::write(gateway.file(), text.replace("llama", "qwen")).expect("a file");
    assert!(gateway.wait_for("/config", "\"version\": 2") < Duration::from_secs(1));
    assert!(get(&gateway.client_address, "/v1/models").contains("\"qwen\""));
}

#[test]
fn a_bad_change_is_refused_and_the_last_good_one_serves_on() {
    let gateway = Running::start();
    for bad in ["bad.yaml", "broken.yaml"] {
        fs::copy(manifest(bad), gateway.file()).expect("a file");
        gateway.wait_for("/metrics", "tollgate_config_reloads_total{result=\"refused\"}");
    }
    gateway.wait_for("/metrics", "tollgate_config_reloads_total{result=\"refused\"} 2");
    gateway.wait_for("/metrics", "tollgate_config_last_reload_successful 0");
    gateway.wait_for("/config", "\"version\": 1");
    assert!(get(&gateway.client_address, "/v1/models").contains("\"llama\""));
    let text = fs::read_to_string(manifest("good.yaml")).expect("a file");
    fs::write(gateway.file(), text.replace("llama", "qwen")).expect("a file");
    gateway.wait_for("/config", "\"version\": 2");
    gateway.wait_for("/metrics", "tollgate_config_last_reload_successful 1");
}

#[test]
fn prices_are_followed_as_the_configuration_is() {
    let gateway = Running::start();
    let prices = gateway.folder.path().join("prices.json");
    let text = fs::read_to_string(&prices).expect("a file");
    fs::copy(manifest("prices_bad.json"), &prices).expect("a file");
    gateway.wait_for("/metrics", "tollgate_config_reloads_total{result=\"refused\"} 1");
    gateway.wait_for("/config", "\"version\": 1");
    fs::write(&prices, text.replace("0.5", "0.6")).expect("a file");
    gateway.wait_for("/config", "\"version\": 2");
    gateway.wait_for("/metrics", "tollgate_config_last_reload_successful 1");
}
