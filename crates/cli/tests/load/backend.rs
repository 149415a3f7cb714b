//! A model server that says in each answer what it was asked, and knows requests that nobody has worked on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// The key that the gateway holds for every backend.
pub(crate) const KEY: &str = "key-of-the-backend";

/// The header that the gateway sets.
pub(crate) const HEADER: &str = "x-which";

/// Events of a stream, and the pause before each.
pub(crate) const EVENTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// A server at work until the test ends.
pub(crate) struct Backend {
    pub(crate) port: u16,
    /// Requests that came as the client had sent them.
    unprocessed: Arc<AtomicU64>,
}

impl Backend {
    /// Serves under this name.
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let unprocessed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&unprocessed);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // A broken connection concerns the client.
                thread::spawn(move || serve(stream, name, &counted).ok());
            }
        });
        Self { port, unprocessed }
    }

    pub(crate) fn unprocessed(&self) -> u64 {
        self.unprocessed.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, name: &str, unprocessed: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    loop {
        let (mut length, mut which, mut key) = (0, String::new(), String::new());
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            input.read_line(&mut line)?;
            let (header, value) = line.split_once(':').unwrap_or_default();
            match header.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or_default(),
                "authorization" => value.trim().clone_into(&mut key),
                HEADER => value.trim().clone_into(&mut which),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let model = body["model"].as_str().unwrap_or_default();
        if key != format!("Bearer {KEY}") || which.is_empty() || model == "any" {
            unprocessed.fetch_add(1, Ordering::SeqCst);
        }
        let said = format!("{name} {model} {which}");
        if body["stream"] == true { stream_of(&said, &mut output)? } else { document(&said, &mut output)? }
    }
}

fn document(said: &str, output: &mut TcpStream) -> std::io::Result<()> {
    let message = format!("{{\"role\":\"assistant\",\"content\":\"{said}\"}}");
    let body = format!(
        "{{\"id\":\"a\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\
         \"message\":{message},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":1,\
         \"completion_tokens\":1,\"total_tokens\":2}}}}"
    );
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    output.write_all(format!("{head}{body}").as_bytes())
}

fn stream_of(said: &str, output: &mut TcpStream) -> std::io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    output.write_all(head.as_bytes())?;
    for number in 0..EVENTS {
        thread::sleep(PAUSE);
        let end = if number + 1 == EVENTS { "\"stop\"" } else { "null" };
        let event = format!(
            "data: {{\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":\
             [{{\"index\":0,\"delta\":{{\"content\":\"{said}\"}},\"finish_reason\":{end}}}]}}\n\n"
        );
        output.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    }
    let done = "data: [DONE]\n\n";
    output.write_all(format!("{:x}\r\n{done}\r\n0\r\n\r\n", done.len()).as_bytes())
}
