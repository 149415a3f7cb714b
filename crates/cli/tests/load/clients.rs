//! Clients that ask all the time, for documents and for streams, and remember what they saw.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::backend::EVENTS;

/// Longest wait for an answer to begin or go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between an answer and the next request of a client, so that two cores carry all of it.
const PAUSE: Duration = Duration::from_millis(5);

/// What a client saw of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// A whole answer, by this configuration.
    Good(String),
    /// An error of the gateway in JSON.
    Error(u16),
    /// A stream that ended with an error event.
    ErrorEvent,
    /// No connection.
    Refused,
    /// A connection that ended too early.
    Cut,
    /// Something that must not be.
    Wrong(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) seen: Seen,
}

impl Asked {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.seen, Seen::Good(_))
    }

    pub(crate) fn ended(&self) -> Instant {
        self.began + self.took
    }
}

/// What clients saw in some time, as figures.
pub(crate) struct Tally(BTreeMap<String, (usize, Duration)>);

impl Tally {
    pub(crate) fn of<'a>(asked: impl IntoIterator<Item = &'a Asked>) -> Self {
        let mut counts: BTreeMap<String, (usize, Duration)> = BTreeMap::new();
        for one in asked {
            let name = match &one.seen {
                Seen::Good(_) => "good".to_owned(),
                Seen::Error(status) => format!("error {status}"),
                other => format!("{other:?}").to_lowercase(),
            };
            let (count, longest) = counts.entry(name).or_default();
            *count += 1;
            *longest = one.took.max(*longest);
        }
        Self(counts)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, (count, longest)): (&String, &(usize, Duration))| {
            format!("{count} {name} (longest {} ms)", longest.as_millis())
        };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

/// Clients at work.
pub(crate) struct Clients {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Asked>>>,
}

impl Clients {
    /// Two ask for documents and two for streams: one of each on connections that it keeps, and one on a new one each time.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let kinds = [(Kind::Document, Keep::Yes), (Kind::Document, Keep::No), (Kind::Stream, Keep::Yes)];
        let kinds = kinds.into_iter().chain([(Kind::Stream, Keep::No)]);
        let threads = kinds.map(|(kind, keep)| {
            let told = Arc::clone(&ends);
            thread::spawn(move || {
                let mut client = Client { address, kind, keep, connection: None };
                let mut all = Vec::new();
                while !told.load(Ordering::SeqCst) {
                    all.push(client.ask());
                    thread::sleep(PAUSE);
                }
                all
            })
        });
        let threads = threads.collect();
        Self { ends, threads }
    }

    /// Everything that they saw, in the order in which it began.
    pub(crate) fn finish(self) -> Vec<Asked> {
        self.ends.store(true, Ordering::SeqCst);
        let mut all: Vec<Asked> =
            self.threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect();
        all.sort_by_key(|asked| asked.began);
        all
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Document,
    Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

/// One request on a connection of its own.
pub(crate) fn ask_once(address: SocketAddr, kind: Kind) -> Asked {
    Client { address, kind, keep: Keep::No, connection: None }.ask()
}

struct Client {
    address: SocketAddr,
    kind: Kind,
    keep: Keep,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    fn ask(&mut self) -> Asked {
        let began = Instant::now();
        let seen = self.exchange();
        if self.keep == Keep::No || !matches!(seen, Seen::Good(_)) {
            self.connection = None;
        }
        Asked { began, took: began.elapsed(), seen }
    }

    fn exchange(&mut self) -> Seen {
        let connection = match self.connection.as_mut() {
            Some(connection) => connection,
            None => {
                let Ok(stream) = TcpStream::connect(self.address) else { return Seen::Refused };
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                stream.set_nodelay(true).expect("no delay");
                self.connection.insert(BufReader::new(stream))
            }
        };
        let end = if self.kind == Kind::Stream { ",\"stream\":true}" } else { "}" };
        let body = format!("{{\"model\":\"any\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]{end}");
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        match connection.get_mut().write_all(request.as_bytes()).and_then(|()| read(connection)) {
            Ok((200, body)) if self.kind == Kind::Stream => whole_stream(&body),
            Ok((200, body)) => whole_document(&body),
            Ok((status, body)) => match serde_json::from_str::<serde_json::Value>(&body) {
                Ok(body) if body["error"]["message"].is_string() => Seen::Error(status),
                _ => Seen::Wrong(format!("{status} {body}")),
            },
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Seen::Wrong("silence".to_owned()),
            Err(_) => Seen::Cut,
        }
    }
}

/// Status and body of one answer. One without a length is in chunks.
fn read(input: &mut BufReader<TcpStream>) -> std::io::Result<(u16, String)> {
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let line = |input: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        match input.read_line(&mut line)? {
            0 => Err(cut()),
            _ => Ok(line),
        }
    };
    let status = line(input)?.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    let mut length: Option<usize> = None;
    loop {
        let header = line(input)?.to_ascii_lowercase();
        if header == "\r\n" {
            break;
        }
        if let Some(told) = header.strip_prefix("content-length:") {
            length = told.trim().parse().ok();
        }
    }
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        return Ok((status, String::from_utf8_lossy(&body).into_owned()));
    }
    loop {
        let size = usize::from_str_radix(line(input)?.trim(), 16).map_err(|_| cut())?;
        let mut chunk = vec![0; size + 2];
        input.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok((status, String::from_utf8_lossy(&body).into_owned()));
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn whole_document(body: &str) -> Seen {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match answer["choices"][0]["message"]["content"].as_str() {
        Some(said) => one_configuration(said, &[]),
        None => Seen::Wrong(body.to_owned()),
    }
}

fn whole_stream(body: &str) -> Seen {
    let events: Vec<&str> = body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    if events.last() != Some(&"[DONE]") {
        let is_error = events.last().is_some_and(|event| event.contains("\"error\""));
        return if is_error { Seen::ErrorEvent } else { Seen::Wrong(body.to_owned()) };
    }
    let said: Vec<String> = events
        .iter()
        .filter_map(|event| {
            let event: serde_json::Value = serde_json::from_str(event).ok()?;
            event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
        })
        .collect();
    match said.split_first() {
        Some((first, others)) if others.len() + 1 == EVENTS => one_configuration(first, others),
        _ => Seen::Wrong(body.to_owned()),
    }
}

/// The configuration, if backend, model and header are of the same one in all that was `said`.
fn one_configuration(first: &str, others: &[String]) -> Seen {
    let words: Vec<&str> = first.split(' ').collect();
    let is_one = words.len() == 3 && words.iter().all(|word| *word == words[0]);
    if is_one && others.iter().all(|other| other == first) {
        return Seen::Good(words[0].to_owned());
    }
    Seen::Wrong(format!("{first} {others:?}"))
}
