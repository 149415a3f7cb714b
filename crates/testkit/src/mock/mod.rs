//! One server that speaks every dialect by its paths, answers the same question the same way, and fails as it is told.
//!
//! The name of the model tells what to do beyond an ordinary answer, by a suffix after `--`: `gpt--500` fails, `gpt--tools` calls
//! two tools. [`Fault`] and `Wish` list them.

mod anthropic;
mod ask;
mod aws;
mod bedrock;
mod fault;
mod gemini;
mod google;
mod invoke;
mod openai;
mod openai_other;
mod openai_responses;
mod oracle;
mod place;
mod reply;
mod said;
mod schema;
mod shared;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use ask::Ask;
pub use fault::Fault;
use oracle::{Attendance, Oracle};
pub use oracle::{Seen, Served};
use place::{Place, Provider};
use reply::{Body, Reply};
use said::Said;

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Mock {
    address: SocketAddr,
    oracle: Arc<Oracle>,
    task: JoinHandle<()>,
}

impl Mock {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a server at `address`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let oracle = Arc::new(Oracle::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&oracle)));
        Ok(Self { address, oracle, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived, oldest first; the last thousand.
    pub fn requests(&self) -> Vec<Seen> {
        self.oracle.requests()
    }

    /// Serves until the server fails, which it does not.
    pub async fn wait(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, oracle: Arc<Oracle>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Small frames must leave at once.
        let _ = stream.set_nodelay(true);
        let oracle = Arc::clone(&oracle);
        connections.spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&oracle)));
            let mut builder = hyper::server::conn::http1::Builder::new();
            // A reply that breaks off on purpose ends in an error here.
            let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(request: Request<Incoming>, oracle: Arc<Oracle>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    if path == "/_oracle/requests" {
        return Ok(tell(&head.method, &oracle).into_response(Attendance::nobody()));
    }
    let attendance = oracle.note(&head, &body);
    let reply = answer(&head, &path, &body, &oracle);
    if let Some(reply) = reply {
        return Ok(reply.into_response(attendance));
    }
    // The client has to give up; the attendance notes when it does.
    let _attendance = attendance;
    std::future::pending().await
}

fn tell(method: &Method, oracle: &Oracle) -> Reply {
    if *method == Method::DELETE {
        oracle.clear();
    }
    Reply::json(200, &serde_json::to_value(oracle.requests()).unwrap_or_default())
}

/// What to answer; `None` never answers.
fn answer(head: &hyper::http::request::Parts, path: &str, body: &Bytes, oracle: &Oracle) -> Option<Reply> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let place = Place::of(path);
    if let Some(refusal) = refusal(head, &place) {
        return Some(refusal);
    }
    let told = || json.get("model").and_then(Value::as_str).map(str::to_owned);
    let model = place.model.clone().or_else(told).or_else(|| shared::form_model(body)).unwrap_or_default();
    let named = head.headers.get("x-fault").and_then(|value| value.to_str().ok());
    let fault = named.or(model.split_once("--").map(|(_, suffix)| suffix)).and_then(Fault::parse);
    if let Some(fault) = &fault {
        match fault.reply(place.provider, &model, oracle) {
            fault::Verdict::Silent => return None,
            fault::Verdict::Answer => {}
            fault::Verdict::Reply(reply) => return Some(reply),
        }
    }
    let ask = ask(&place, &json, &model);
    let reply = match place.provider {
        Provider::Bedrock => bedrock_route(&place, &ask, &json),
        Provider::SageMaker => invoke::sagemaker(&ask, &json),
        Provider::VertexClaude => invoke::vertex(&ask, &json),
        Provider::VertexGemini | Provider::Gemini => {
            gemini::gemini(place.action, head.uri.query().unwrap_or_default(), &ask, &json)
        }
        Provider::OpenAi | Provider::Responses | Provider::Azure | Provider::Anthropic => {
            route(path, &ask, &json, body)
        }
    };
    let reply = if place.is_chat() { reply.serving(served(&ask)) } else { reply };
    Some(match fault {
        Some(fault) => reply.broken_by(fault, place.provider),
        None => reply,
    })
}

fn served(ask: &Ask) -> Served {
    let Said { input_tokens, output_tokens, .. } = Said::to(ask);
    Served { input_tokens, output_tokens }
}

/// Refuses who does not say who it is, as the provider does. OpenAI and Anthropic answer everyone here, for clients that have no key.
fn refusal(head: &hyper::http::request::Parts, place: &Place<'_>) -> Option<Reply> {
    match place.provider {
        Provider::Bedrock => aws::refusal(&head.headers, "bedrock"),
        Provider::SageMaker => aws::refusal(&head.headers, "sagemaker"),
        Provider::VertexClaude | Provider::VertexGemini | Provider::Gemini => google::refusal(&head.headers),
        Provider::Azure => openai_other::azure_refusal(&head.headers, head.uri.query(), place),
        Provider::OpenAi | Provider::Responses | Provider::Anthropic => None,
    }
}

/// What is asked, in the words of the place. Whether to stream stands in some paths.
fn ask(place: &Place<'_>, json: &Value, model: &str) -> Ask {
    let mut ask = match place.provider {
        Provider::Bedrock if place.action.starts_with("converse") => Ask::read(&bedrock::plain(json), model),
        Provider::VertexGemini | Provider::Gemini => Ask::read(&gemini::plain(json), model),
        Provider::Bedrock
        | Provider::SageMaker
        | Provider::VertexClaude
        | Provider::OpenAi
        | Provider::Responses
        | Provider::Azure
        | Provider::Anthropic => Ask::read(json, model),
    };
    match place.action {
        "invoke-with-response-stream" | "invocations-response-stream" | "streamRawPredict" => {
            ask.streams = true;
        }
        "invoke" | "invocations" | "rawPredict" => ask.streams = false,
        _ => {}
    }
    ask
}

fn bedrock_route(place: &Place<'_>, ask: &Ask, json: &Value) -> Reply {
    match place.action {
        "converse" => bedrock::converse(ask, json),
        "converse-stream" => bedrock::converse_stream(ask, json),
        "count-tokens" => bedrock::count_tokens(json, &ask.model),
        "invoke" | "invoke-with-response-stream" => invoke::bedrock(ask, json),
        action => aws::error(404, "UnknownOperationException", &format!("no such operation: {action}")),
    }
}

fn route(path: &str, ask: &Ask, json: &Value, body: &Bytes) -> Reply {
    match path {
        _ if path.ends_with("/chat/completions") => openai::chat(ask, json),
        _ if path.ends_with("/completions") => openai_other::completions(ask, json),
        _ if path.ends_with("/embeddings") => openai_other::embeddings(ask, json),
        _ if path.ends_with("/responses/input_tokens") => openai_responses::input_tokens(ask),
        _ if path.ends_with("/responses") => openai_responses::responses(ask, json),
        _ if path.ends_with("/images/generations") => openai_other::images(ask),
        _ if path.ends_with("/audio/speech") => openai_other::speech(),
        _ if path.ends_with("/audio/transcriptions") || path.ends_with("/audio/translations") => {
            openai_other::transcription(body)
        }
        _ if path.ends_with("/messages/count_tokens") => anthropic::count_tokens(ask),
        _ if path.ends_with("/messages") => anthropic::messages(ask, json),
        _ if path.ends_with("/rerank") => openai_other::rerank(json),
        _ if path.ends_with("/tokenize") => openai_other::tokenize(json),
        _ if path.ends_with("/models") => openai_other::models(),
        _ => fault::error(404, Provider::OpenAi, "not_found", &format!("no such path: {path}")),
    }
}

#[cfg(test)]
mod tests;
