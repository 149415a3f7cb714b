//! The provider behind the gateway: it answers as the case of the moment says, and tells what it was asked.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::http::Message;

/// Pause between two events of a stream: each arrives by itself.
const PAUSE: Duration = Duration::from_millis(5);

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Answer,
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Whole(Vec<u8>),
    Gzip(Vec<u8>),
    /// Events, each with its blank line.
    Events(Vec<Vec<u8>>),
    /// Messages in AWS's framing.
    AwsEvents(Vec<Vec<u8>>),
}

impl Default for Answer {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

#[derive(Default)]
struct State {
    script: Script,
    seen: Vec<Message>,
}

/// Two servers: one that follows the script, one that always fails.
pub(super) struct Provider {
    pub(super) port: u16,
    pub(super) failing_port: u16,
    state: Arc<Mutex<State>>,
}

impl Provider {
    pub(super) fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let port = serve(Arc::clone(&state), false)?;
        let failing_port = serve(Arc::clone(&state), true)?;
        Ok(Self { port, failing_port, state })
    }

    /// Answers like this from now on, and forgets what was asked.
    pub(super) fn play(&self, script: Script) {
        *lock(&self.state) = State { script, seen: Vec::new() };
    }

    /// The last request.
    pub(super) fn last_seen(&self) -> Option<Message> {
        lock(&self.state).seen.last().cloned()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(state: Arc<Mutex<State>>, fails: bool) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port")?;
    let port = listener.local_addr()?.port();
    // The threads end with the program.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // The gateway may close when it likes.
            thread::spawn(move || drop(connection(stream, &state, fails)));
        }
    });
    Ok(port)
}

fn connection(stream: TcpStream, state: &Mutex<State>, fails: bool) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Message::read(&mut reader)? {
        let fails = fails || request.header("x-response-status") == Some("500");
        if fails {
            writer.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let script = {
            let mut state = lock(state);
            state.seen.push(request);
            state.script.clone()
        };
        answer(&mut writer, &script)?;
    }
    Ok(())
}

fn answer(writer: &mut TcpStream, script: &Script) -> Result<()> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", script.status);
    let default_type = match &script.body {
        Answer::Events(_) => "text/event-stream",
        Answer::AwsEvents(_) => "application/vnd.amazon.eventstream",
        Answer::Whole(_) | Answer::Gzip(_) => "application/json",
    };
    if !script.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        head.push_str(&format!("content-type: {default_type}\r\n"));
    }
    for (name, value) in &script.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match &script.body {
        Answer::Whole(body) => {
            head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
            writer.write_all(&[head.as_bytes(), body].concat())?;
        }
        Answer::Gzip(body) => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body)?;
            let body = encoder.finish()?;
            head.push_str(&format!("content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len()));
            writer.write_all(&[head.as_bytes(), &body].concat())?;
        }
        Answer::Events(events) | Answer::AwsEvents(events) => {
            head.push_str("transfer-encoding: chunked\r\n\r\n");
            writer.write_all(head.as_bytes())?;
            for event in events {
                let size = format!("{:x}\r\n", event.len());
                writer.write_all(&[size.as_bytes(), event, b"\r\n"].concat())?;
                thread::sleep(PAUSE);
            }
            writer.write_all(b"0\r\n\r\n")?;
        }
    }
    Ok(())
}
