//! A gateway that has a ledger and no Redis: what was spent of a budget survives its end, whichever that is.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// What a chat uses, and what there is of it: the third one is the last that is let in.
const ANSWER: &str = r#"{"id":"a","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
const BUDGET: &str = r#"
---
apiVersion: tollgate.dev/v1alpha1
kind: Budget
metadata: {name: all}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: ai}]
  limits: [{unit: Tokens, amount: "30", window: {calendar: Year}}]
"#;

/// A model server that gives every request the same answer.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A broken connection concerns the gateway.
            thread::spawn(move || answer(stream).ok());
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        input.read_exact(&mut vec![0; length])?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{ANSWER}", ANSWER.len())?;
    }
}

/// A gateway at work, ended with the test.
struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    fn start(ledger: &Path, file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["run", "--port", "0", "--admin-address", "127.0.0.1:0", "--access-log", "off"]);
        command.args(["--workers", "1", "--ledger"]).args([ledger, file]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).expect("a line") > 0, "no ready line");
        }
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        Self { process, address: address.expect("an address").to_owned() }
    }

    /// Asks for a chat; returns the status.
    fn ask(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a listener");
        let body = r#"{"model":"llama","messages":[{"role":"user","content":"a"}]}"#;
        let head =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        write!(stream, "{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
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

#[test]
fn a_budget_that_is_spent_stays_spent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, file) = (folder.path().join("ledger"), folder.path().join("gateway.yaml"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/good.yaml");
    let manifest = fs::read_to_string(manifest).expect("a file");
    let manifest = manifest.replace("port: 8000", &format!("port: {}", backend()));
    fs::write(&file, format!("{manifest}{BUDGET}")).expect("a file");

    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([gateway.ask(), gateway.ask()], ["200", "200"]);
    gateway.end("-TERM");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([gateway.ask(), gateway.ask()], ["200", "429"]);
    gateway.end("-TERM");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(gateway.ask(), "429");
    gateway.end("-TERM");

    // One that is killed has forgotten its last second at most.
    let ledger = folder.path().join("other");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([gateway.ask(), gateway.ask(), gateway.ask()], ["200", "200", "200"]);
    thread::sleep(Duration::from_millis(2500));
    gateway.end("-KILL");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(gateway.ask(), "429");
    gateway.end("-KILL");

    // Whatever becomes of the file, the gateway serves.
    fs::write(ledger.join("counters"), "nonsense").expect("a file");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(gateway.ask(), "200");
}
