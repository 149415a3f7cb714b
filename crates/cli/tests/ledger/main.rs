//! A gateway with a ledger: it is killed in the middle of a stream, and nothing that it has served is forgotten.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

mod budget;
mod silent;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
        Self::started(&mut command(ledger, file))
    }

    fn started(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("listening on") {
            said.push_str(&line);
            line.clear();
            assert!(errors.read_line(&mut line).expect("a line") > 0, "no ready line: {said}");
        }
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let addresses: Vec<_> = line.split("http://").skip(1).collect();
        let [client, admin] = addresses.as_slice() else { panic!("no ready line: {line}") };
        let address = |text: &str| text.split([' ', ')']).next().unwrap_or_default().to_owned();
        Self { process, client: address(client), admin: address(admin) }
    }

    /// Sends a chat, and returns the connection for its answer.
    fn ask(&self, content: &str, more: &str) -> TcpStream {
        ask(&self.client, content, more).expect("a listener")
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

fn ask(address: &str, content: &str, more: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let body = format!(
        "{{\"model\":\"llama\",\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]{more}}}"
    );
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    Ok(stream)
}

fn whole(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A model server: a stream of a request that says `hang` stays at its first event. Counts whole requests that it gets.
struct Backend {
    port: u16,
    asked: Arc<AtomicU64>,
}

impl Backend {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // A broken connection concerns the gateway.
                thread::spawn(move || serve(stream, &counted).ok());
            }
        });
        Self { port, asked }
    }

    /// A configuration that sends everything here.
    fn write(&self, file: &Path) {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/good.yaml");
        let manifest = fs::read_to_string(manifest).expect("a file");
        fs::write(file, manifest.replace("port: 8000", &format!("port: {}", self.port))).expect("a file");
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, asked: &AtomicU64) -> std::io::Result<()> {
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
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        asked.fetch_add(1, Ordering::SeqCst);
        let body = String::from_utf8_lossy(&body);
        if !body.contains("\"stream\"") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let length = DOCUMENT.len();
            stream.write_all(format!("{head}content-length: {length}\r\n\r\n{DOCUMENT}").as_bytes())?;
            continue;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
        stream.write_all(format!("data: {}\n\n", event("null", "")).as_bytes())?;
        if body.contains("hang") {
            continue;
        }
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(5));
            stream.write_all(format!("data: {}\n\n", event("null", "")).as_bytes())?;
        }
        let usage = r#","usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#;
        let last = event("\"stop\"", usage);
        return stream.write_all(format!("data: {last}\n\ndata: [DONE]\n\n").as_bytes());
    }
}

const DOCUMENT: &str = r#"{"id":"a","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;

fn event(end: &str, more: &str) -> String {
    format!(
        "{{\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"hello\"}},\"finish_reason\":{end}}}]{more}}}"
    )
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
    Backend::start().write(&file);

    let gateway = Gateway::start(&ledger, &file);
    assert!(whole(gateway.ask("a", "")).contains("\"completion_tokens\":7"));
    let mut streaming = gateway.ask("hang", ",\"stream\":true");
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
    let mut streaming = gateway.ask("hang", ",\"stream\":true");
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

/// Clients that ask all the time; each tells how many whole answers it has got.
struct Clients {
    ends: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Clients {
    fn start(address: &str) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let (ends, address) = (Arc::clone(&ends), address.to_owned());
            // Of three, two stream.
            let more = if number.is_multiple_of(3) { "" } else { ",\"stream\":true" };
            thread::spawn(move || {
                let mut whole = 0;
                while !ends.load(Ordering::Relaxed) {
                    let Ok(mut stream) = ask(&address, "a", more) else { break };
                    let mut answer = String::new();
                    let read = stream.read_to_string(&mut answer);
                    // A stream is whole when its framing is: after the last event it may still break.
                    let end = if more.is_empty() { "}}" } else { "\r\n0\r\n\r\n" };
                    whole += u64::from(read.is_ok() && answer.ends_with(end));
                }
                whole
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { ends, threads }
    }

    fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a client")).sum()
    }
}

const CLIENTS: usize = 50;

/// How many kills, unless `TOLLGATE_KILLS` says so: `cargo xtask soak` does.
const KILLS: u64 = 20;

fn kills() -> u64 {
    std::env::var("TOLLGATE_KILLS").map_or(KILLS, |count| count.parse().expect("a number of kills"))
}

/// ACC-07: what clients got and what the backend was asked is in the ledger, and what is uncertain is no more than what ran.
#[test]
fn acc_07_gateways_that_are_killed_under_load_forget_nothing() {
    let kills = kills();
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, file) = (folder.path().join("ledger"), folder.path().join("gateway.yaml"));
    let backend = Backend::start();
    backend.write(&file);
    let mut answered = 0;
    for round in 0..kills {
        let gateway = Gateway::start(&ledger, &file);
        let clients = Clients::start(&gateway.client);
        thread::sleep(Duration::from_millis(100 + round % 20 * 7));
        gateway.end("-KILL");
        answered += clients.end();
    }
    // Settles what the last one has left.
    Gateway::start(&ledger, &file).end("-TERM");
    let report = text(&usage(&ledger, &["--by", "outcome", "--format", "json"]));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let row = |outcome: &str| {
        report["rows"].as_array().expect("rows").iter().find(|row| row["outcome"] == outcome).cloned()
    };
    let complete = row("complete").expect("whole answers");
    let orphaned = row("orphaned").map_or(0, |row| number(&row, "attempts"));
    let attempts = number(&report["total"], "attempts");
    let requests = number(&report["total"], "requests");
    println!(
        "{kills} kills: backend asked {}, clients got {answered} whole answers; ledger {attempts} attempts, {} complete, \
         {orphaned} orphaned, {} twice",
        backend.asked(),
        number(&complete, "attempts"),
        attempts - requests,
    );
    assert!(answered > kills, "too slow to tell anything");
    assert!(number(&complete, "attempts") >= answered);
    assert!(attempts >= backend.asked() && attempts - backend.asked() <= orphaned);
    assert!(orphaned <= kills * CLIENTS as u64);
    // To the token.
    assert_eq!(number(&complete, "input_tokens"), 5 * number(&complete, "attempts"));
    assert_eq!(number(&complete, "output_tokens"), 7 * number(&complete, "attempts"));
    // One attempt for each request, none of them twice.
    assert_eq!(requests, attempts);
}

/// ACC-12: a gateway that is asked to end with streams open has settled each of them when it is gone.
#[test]
fn acc_12_streams_that_are_open_at_the_end_are_settled() {
    const STREAMS: u64 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, file) = (folder.path().join("ledger"), folder.path().join("gateway.yaml"));
    let backend = Backend::start();
    backend.write(&file);
    let gateway = Gateway::start(&ledger, &file);
    // They stay at their first event for as long as they are let.
    let mut streams: Vec<_> = (0..STREAMS).map(|_| gateway.ask("hang", ",\"stream\":true")).collect();
    for stream in &mut streams {
        let mut first = [0; 300];
        stream.read_exact(&mut first).expect("the beginning of a stream");
    }
    assert_eq!(backend.asked(), STREAMS);
    gateway.end("-TERM");
    for stream in streams {
        // Cut off, and told so: never as if it were whole.
        assert!(!whole(stream).contains("[DONE]"));
    }
    let report = || -> Value {
        let report = text(&usage(&ledger, &["--by", "outcome", "--format", "json"]));
        serde_json::from_str(&report).expect("JSON")
    };
    let settled = report();
    let total = &settled["total"];
    assert_eq!((&total["attempts"], &total["orphaned"]), (&STREAMS.into(), &0.into()), "{settled}");
    // Each has an estimate of what it got.
    assert!(total["output_tokens"].as_u64() >= Some(STREAMS), "{settled}");
    // The next one finds nothing to settle.
    Gateway::start(&ledger, &file).end("-TERM");
    assert_eq!(report(), settled);
}
