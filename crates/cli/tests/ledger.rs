//! A gateway with a ledger: it is killed in the middle of a stream, and nothing that it has served is forgotten.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway at work, ended with the test.
struct Gateway {
    process: Child,
    client: String,
    admin: String,
}

impl Gateway {
    fn start(ledger: &Path, file: &Path) -> Self {
        let mut process = command(ledger, file).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).expect("a line") > 0, "no ready line");
        }
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let addresses: Vec<_> = line.split("http://").skip(1).collect();
        let [client, admin] = addresses.as_slice() else { panic!("no ready line: {line}") };
        let address = |text: &str| text.split([' ', ')']).next().unwrap_or_default().to_owned();
        Self { process, client: address(client), admin: address(admin) }
    }

    /// Sends a chat, and returns the connection for its answer.
    fn ask(&self, content: &str, more: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.client).expect("a listener");
        let body = format!(
            "{{\"model\":\"llama\",\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]{more}}}"
        );
        let length = body.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("written");
        stream
    }

    /// What `/usage` says, once so many attempts are in it.
    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    fn usage(&self, query: &str, attempts: u64) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut stream = TcpStream::connect(&self.admin).expect("a listener");
            let path = format!("/usage?{query}");
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .expect("sent");
            let answer = whole(stream);
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let usage: Value = serde_json::from_str(body).unwrap_or_default();
            if usage["total"]["attempts"] == attempts {
                return usage;
            }
            assert!(Instant::now() < until, "not {attempts} attempts: {answer}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        self.process.wait().expect("an end");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(ledger: &Path, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["run", "--port", "0", "--admin-address", "127.0.0.1:0", "--access-log", "off"]);
    command.args(["--workers", "1", "--drain-timeout", "5s", "--ledger"]).args([ledger, file]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn whole(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A model server: who asks for a stream gets its first event and nothing more. Returns its port.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let mut input = BufReader::new(stream.try_clone().expect("a connection"));
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if input.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).expect("a body");
        let written = if String::from_utf8_lossy(&body).contains("\"stream\"") {
            let event = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}"#;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all(format!("{head}{event}\n\n").as_bytes())
        } else {
            let body = r#"{"id":"a","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes())
        };
        if written.is_err() {
            return;
        }
    }
}

fn usage(ledger: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("usage").arg("--ledger").arg(ledger).args(arguments).output().expect("the binary")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_gateway_that_is_killed_forgets_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, file) = (folder.path().join("ledger"), folder.path().join("gateway.yaml"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/good.yaml");
    let manifest = fs::read_to_string(manifest).expect("a file");
    fs::write(&file, manifest.replace("port: 8000", &format!("port: {}", backend()))).expect("a file");

    let gateway = Gateway::start(&ledger, &file);
    assert!(whole(gateway.ask("a", "")).contains("\"completion_tokens\":7"));
    let mut streaming = gateway.ask("b", ",\"stream\":true");
    let mut first = [0; 300];
    streaming.read_exact(&mut first).expect("the beginning of a stream");

    // Nobody else writes to it meanwhile, and anybody reads it.
    let second = command(&ledger, &file).stderr(Stdio::piped()).output().expect("the binary");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("in use by another process"), "{said}");
    gateway.usage("by=model&since=2026-01-01", 1);
    assert!(text(&usage(&ledger, &["--by", "model"])).contains("m-1"));

    gateway.end("-KILL");
    let killed: Value = serde_json::from_str(&text(&usage(&ledger, &["--format", "json"]))).expect("JSON");
    assert_eq!((&killed["total"]["attempts"], &killed["total"]["total_tokens"]), (&1.into(), &12.into()));

    let gateway = Gateway::start(&ledger, &file);
    let usage_page = gateway.usage("by=outcome,model,route", 2);
    assert_eq!(usage_page["rows"][0]["outcome"], "complete");
    assert_eq!(usage_page["rows"][0]["route"], "default/ai");
    assert_eq!(
        (&usage_page["rows"][1]["outcome"], &usage_page["rows"][1]["model"]),
        (&"orphaned".into(), &"llama".into())
    );
    // Its client leaves: what it has got by then counts.
    let mut streaming = gateway.ask("c", ",\"stream\":true");
    streaming.read_exact(&mut first).expect("the beginning of a stream");
    drop(streaming);
    gateway.usage("", 3);
    gateway.end("-TERM");
    let csv = text(&usage(&ledger, &["--by", "outcome", "--format", "csv"]));
    let lines: Vec<_> = csv.lines().skip(1).map(|line| line.split(',').take(4).collect::<Vec<_>>()).collect();
    let expected = [["client_gone", "1", "1", "0"], ["complete", "1", "1", "0"], ["orphaned", "1", "1", "1"]];
    assert_eq!(lines, expected);
}

#[test]
fn without_a_ledger_there_is_no_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    assert_eq!(usage(&ledger, &[]).status.code(), Some(1));
    assert!(!ledger.exists());
}
