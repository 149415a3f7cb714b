//! A closed loop of clients: each sends a request, reads the whole answer, and sends the next.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{find, read_head};

/// What to load, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub address: SocketAddr,
    /// Path to post to.
    pub path: String,
    /// Clients at once.
    pub connections: usize,
    /// How long.
    pub duration: Duration,
    /// Length of each request body, about, in bytes.
    pub body_bytes: usize,
    /// How many messages the body has, the user's and the assistant's in turn.
    pub messages: usize,
    /// Whether streams are asked for; each has to end with `[DONE]`.
    pub is_stream: bool,
    /// Model to ask for.
    pub model: String,
    /// The body of each request, instead of one that is made.
    pub body: Option<String>,
    /// More header lines, each as it is written.
    pub headers: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Answers that were whole and had status 200.
    pub requests: u64,
    /// Answers that were not.
    pub errors: u64,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Bytes of answer bodies and heads.
    pub bytes: u64,
    /// Median time of an answer, microseconds.
    pub p50_us: u64,
    /// 90th percentile, microseconds.
    pub p90_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
}

#[derive(Debug, Default)]
struct Tally {
    latencies_us: Vec<u64>,
    errors: u64,
    first_error: Option<String>,
    bytes: u64,
}

/// The bytes of a request as `plan` wants it.
pub fn request(plan: &Plan) -> Vec<u8> {
    let Plan { address, path, headers, .. } = plan;
    let body = plan.body.clone().unwrap_or_else(|| chat(plan));
    let length = body.len();
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         authorization: Bearer any\r\n{more}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A chat of about as many bytes as `plan` wants.
fn chat(plan: &Plan) -> String {
    let Plan { model, is_stream, body_bytes, messages, .. } = plan;
    let begin = format!("{{\"model\":\"{model}\",\"messages\":[");
    let end = if *is_stream {
        // Asked for by the client, so that proxies that do not ask answer the same.
        "],\"stream\":true,\"stream_options\":{\"include_usage\":true}}"
    } else {
        "]}"
    };
    let role = |number: usize| if number.is_multiple_of(2) { "user" } else { "assistant" };
    let message = |number, text: &str| format!("{{\"role\":\"{}\",\"content\":\"{text}\"}}", role(number));
    let framed: usize = (0..*messages).map(|number| message(number, "").len() + 1).sum();
    let text_bytes = (body_bytes + 1).saturating_sub(begin.len() + framed + end.len()) / (*messages).max(1);
    let text: String = "What does a toll gate do? ".chars().cycle().take(text_bytes).collect();
    let said: Vec<String> = (0..*messages).map(|number| message(number, &text)).collect();
    format!("{begin}{}{end}", said.join(","))
}

/// Runs `plan`. To be called in a `LocalSet`.
#[expect(clippy::disallowed_methods, reason = "it measures")]
pub async fn run(plan: Plan) -> Outcome {
    let began = Instant::now();
    let until = began + plan.duration;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let request: Rc<[u8]> = request(&plan).into();
    let clients: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (tally, request, plan) = (Rc::clone(&tally), Rc::clone(&request), plan.clone());
            tokio::task::spawn_local(async move {
                while Instant::now() < until {
                    if let Err(error) = client(&plan, &request, until, &tally).await {
                        let mut tally = tally.borrow_mut();
                        tally.errors += 1;
                        tally.first_error.get_or_insert_with(|| error.to_string());
                    }
                }
            })
        })
        .collect();
    for client in clients {
        let _ = client.await;
    }
    let seconds = began.elapsed().as_secs_f64();
    tally.take().outcome(seconds)
}

impl Tally {
    fn outcome(mut self, seconds: f64) -> Outcome {
        self.latencies_us.sort_unstable();
        let count = self.latencies_us.len();
        let percentile = |percent: usize| self.latencies_us.get(count * percent / 100).copied().unwrap_or(0);
        Outcome {
            requests: count as u64,
            errors: self.errors,
            seconds,
            requests_per_s: count as f64 / seconds,
            bytes: self.bytes,
            p50_us: percentile(50),
            p90_us: percentile(90),
            p99_us: percentile(99),
            first_error: self.first_error,
        }
    }
}

/// One connection, until the time is up or something breaks.
#[expect(clippy::disallowed_methods, reason = "it measures")]
async fn client(plan: &Plan, request: &[u8], until: Instant, tally: &RefCell<Tally>) -> io::Result<()> {
    let mut stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(request).await?;
        let bytes = answer(&mut stream, &mut buffer, plan.is_stream).await?;
        let mut tally = tally.borrow_mut();
        tally.latencies_us.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        tally.bytes += bytes;
    }
    Ok(())
}

/// Reads one whole answer and tells its length.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>, is_stream: bool) -> io::Result<u64> {
    let Some(head) = read_head(stream, buffer).await? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let end = if head.is_chunked {
        let mut searched = head.head_bytes.saturating_sub(2);
        loop {
            // What a model says is JSON and holds no bare line ends, so the last chunk cannot be mistaken.
            if let Some(at) = find(buffer.get(searched..).unwrap_or_default(), b"\r\n0\r\n\r\n") {
                break searched + at + 7;
            }
            searched = buffer.len().saturating_sub(6).max(head.head_bytes.saturating_sub(2));
            more(stream, buffer).await?;
        }
    } else {
        let end = head.head_bytes + head.content_length.unwrap_or(0);
        while buffer.len() < end {
            more(stream, buffer).await?;
        }
        end
    };
    let body = buffer.get(head.head_bytes..end).unwrap_or_default();
    if head.status != 200 {
        let text = String::from_utf8_lossy(body).chars().take(200).collect::<String>();
        return Err(io::Error::other(format!("status {}: {text}", head.status)));
    }
    let tail = body.get(body.len().saturating_sub(64)..).unwrap_or_default();
    if is_stream && find(tail, b"[DONE]").is_none() {
        return Err(io::Error::other("a stream without its end"));
    }
    buffer.drain(..end);
    Ok(end as u64)
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(buffer).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Opens `count` streams and holds them; tells how many have begun. The streams end when the result is dropped.
///
/// # Errors
/// When one of them does not begin.
pub async fn hold(plan: &Plan, count: usize) -> io::Result<Vec<TcpStream>> {
    let request = request(&Plan { model: "idle".to_owned(), is_stream: true, ..plan.clone() });
    let mut streams = Vec::with_capacity(count);
    let mut buffer = Vec::with_capacity(4096);
    for _ in 0..count {
        let mut stream = TcpStream::connect(plan.address).await?;
        stream.write_all(&request).await?;
        buffer.clear();
        let head = read_head(&mut stream, &mut buffer).await?;
        if head.is_none_or(|head| head.status != 200) {
            return Err(io::Error::other(String::from_utf8_lossy(&buffer).into_owned()));
        }
        while find(&buffer, b"data:").is_none() {
            more(&mut stream, &mut buffer).await?;
        }
        streams.push(stream);
    }
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_the_backend_for_benchmarks() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            tokio::task::spawn_local(crate::bench_mock::serve(address, 30, None, |address| {
                sender.send(address).expect("a listener");
            }));
            let address = receiver.await.expect("an address");
            for is_stream in [false, true] {
                let plan = Plan {
                    address,
                    path: "/v1/chat/completions".to_owned(),
                    connections: 4,
                    duration: Duration::from_millis(50),
                    body_bytes: 1024,
                    messages: 3,
                    is_stream,
                    model: "gpt-4o-mini".to_owned(),
                    body: None,
                    headers: vec!["x-more: 1".to_owned()],
                };
                assert!(request(&plan).ends_with(b"}"));
                let outcome = run(plan.clone()).await;
                assert_eq!(outcome.first_error, None);
                assert!(outcome.requests > 0 && outcome.p50_us > 0);
                assert_eq!(hold(&plan, 3).await.expect("streams").len(), 3);
            }
        });
    }
}
