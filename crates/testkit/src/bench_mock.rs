//! A backend for benchmarks: it answers from memory and does nothing else, so that it is never the slowest part.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{Head, read_head};

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

const TEXT: &str = "All the world's a stage, and all the men and women merely players. ";

/// What the backend says.
#[derive(Debug)]
struct Answers {
    chat: Said,
    messages: Said,
    idle: Vec<u8>,
}

/// Responses in one dialect.
#[derive(Debug)]
struct Said {
    json: Vec<u8>,
    events: Vec<u8>,
}

/// Serves at `address` until it fails; `ready` is told where. Streams have `events` frames of text, sent in one write; others are answered with
/// the JSON text `answer`, if there is one, whatever they ask.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    address: SocketAddr,
    events: usize,
    answer: Option<&str>,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    ready(listener.local_addr()?);
    let answers = Rc::new(Answers::new(events, answer));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let answers = Rc::clone(&answers);
                tokio::task::spawn_local(async move {
                    // The client leaves when it likes.
                    let _ = connection(stream, &answers).await;
                });
            }
        })
        .await
}

impl Answers {
    fn new(events: usize, answer: Option<&str>) -> Self {
        let said = |said: Said| Said { json: answer.map_or(said.json, whole), ..said };
        let mut idle = STREAM_HEAD.as_bytes().to_vec();
        push_chunk(&mut idle, &chunk("{\"content\":\"All\"}", "null"));
        Self { chat: said(Said::chat(events)), messages: said(Said::messages(events)), idle }
    }

    /// In the dialect that `request` begins to speak.
    fn to(&self, request: &[u8]) -> &Said {
        if request.starts_with(b"POST /v1/messages") { &self.messages } else { &self.chat }
    }
}

impl Said {
    fn chat(events: usize) -> Self {
        let text = TEXT.repeat(9);
        let body = format!(
            "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\
             \"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
             \"content\":\"{text}\",\"refusal\":null}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":180,\"completion_tokens\":120,\"total_tokens\":300}}}}"
        );
        let mut stream = STREAM_HEAD.as_bytes().to_vec();
        for _ in 0..events {
            push_chunk(&mut stream, &chunk("{\"content\":\" stage and players\"}", "null"));
        }
        push_chunk(&mut stream, &chunk("{}", "\"stop\""));
        push_chunk(
            &mut stream,
            "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
             \"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\
             \"usage\":{\"prompt_tokens\":180,\"completion_tokens\":120,\"total_tokens\":300}}\n\n",
        );
        push_chunk(&mut stream, "data: [DONE]\n\n");
        stream.extend_from_slice(b"0\r\n\r\n");
        Self { json: whole(&body), events: stream }
    }

    fn messages(events: usize) -> Self {
        let text = TEXT.repeat(9);
        let message = |content: &str, reason: &str, output_tokens: u32| {
            format!(
                "{{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5\",\
                 \"content\":[{content}],\"stop_reason\":{reason},\"stop_sequence\":null,\
                 \"usage\":{{\"input_tokens\":180,\"output_tokens\":{output_tokens}}}}}"
            )
        };
        let body = message(&format!("{{\"type\":\"text\",\"text\":\"{text}\"}}"), "\"end_turn\"", 120);
        let mut stream = STREAM_HEAD.as_bytes().to_vec();
        let mut event = |kind: &str, members: &str| {
            push_chunk(&mut stream, &format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{members}}}\n\n"));
        };
        event("message_start", &format!(",\"message\":{}", message("", "null", 1)));
        event("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        for _ in 0..events {
            let delta = "{\"type\":\"text_delta\",\"text\":\" stage and players\"}";
            event("content_block_delta", &format!(",\"index\":0,\"delta\":{delta}"));
        }
        event("content_block_stop", ",\"index\":0");
        let delta = "{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}";
        event("message_delta", &format!(",\"delta\":{delta},\"usage\":{{\"output_tokens\":120}}"));
        event("message_stop", "");
        stream.extend_from_slice(b"0\r\n\r\n");
        Self { json: whole(&body), events: stream }
    }
}

fn whole(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn chunk(delta: &str, finish_reason: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
         \"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\
         \"finish_reason\":{finish_reason}}}]}}\n\n"
    )
}

fn push_chunk(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes());
}

async fn connection(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let Some(Head { head_bytes, content_length, .. }) = read_head(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let total = head_bytes + content_length.unwrap_or(0);
        while buffer.len() < total {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        // The wishes stand at the beginning or the end of a body, whichever way it was edited.
        let body = buffer.get(head_bytes..total).unwrap_or_default();
        let has = |needle: &[u8]| {
            let edge = body.len().min(512);
            let near = [body.get(..edge), body.get(body.len() - edge..)];
            near.into_iter().flatten().any(|part| part.windows(needle.len()).any(|window| window == needle))
        };
        if has(b"\"idle\"") {
            stream.write_all(&answers.idle).await?;
            // Until the client leaves.
            let mut rest = [0; 64];
            while stream.read(&mut rest).await? > 0 {}
            return Ok(());
        }
        let said = answers.to(&buffer);
        let answer = if has(b"\"stream\":true") { &said.events } else { &said.json };
        stream.write_all(answer).await?;
        buffer.drain(..total);
    }
}
