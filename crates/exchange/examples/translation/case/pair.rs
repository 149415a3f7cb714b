//! A client's dialect and a backend's, and what a chat between them takes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tollgate_config::Snapshot;
use tollgate_config::bundle::{Call, Location, Schema};
use tollgate_dialect::{AnswerContext, Observer, PathFacts, Reframer, StreamTranslator, VectorEncoding};
use tollgate_exchange::{
    Arrival, Attempt, BodyFraming, BodyPlan, Chance, ClientRequest, Ending, Exchange, RequestHead, Step,
};
use tollgate_policy::authorize::Keyring;
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, StreamFraming};
use tollgate_wire::sse::Piece;

use super::gateway;

/// Longest event that is read, as in an exchange.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Who speaks with whom, and through what.
pub(crate) struct Pair {
    pub(crate) client: Dialect,
    pub(crate) backend: Dialect,
    pub(crate) framing: StreamFraming,
    way: Way,
    model: ModelName,
    /// Made once, as a gateway does.
    keyring: Arc<Keyring>,
}

enum Way {
    /// A whole exchange with a backend.
    Exchange(Arc<Snapshot>),
    /// The translation alone: any host of the backend's dialect would be asked in another.
    Translation,
}

/// A request that has been sent on.
pub(crate) enum Asked {
    /// By an exchange.
    Exchange(Box<(Exchange, ClientRequest, Attempt)>),
    /// By the translation alone, which keeps nothing of it.
    Translation,
}

/// All pairs that there are words for, those of a dialect with itself first.
pub(crate) fn all() -> Result<Vec<Pair>, String> {
    let can = |client, backend| tollgate_dialect::can_translate(client, backend, Operation::Chat);
    let clients = Dialect::ALL
        .into_iter()
        .filter(|&client| Dialect::ALL.into_iter().any(|backend| can(client, backend)));
    let clients: Vec<Dialect> = clients.collect();
    let splices = clients.iter().map(|&client| (client, client));
    let hub =
        clients.iter().flat_map(|&client| Dialect::ALL.into_iter().map(move |backend| (client, backend)));
    let hub = hub.filter(|&(client, backend)| can(client, backend));
    splices.chain(hub).map(|(client, backend)| Pair::new(client, backend)).collect()
}

/// Hosts of which one may serve a pair.
fn schemas() -> [Schema; 5] {
    let location = Location { project: "p".to_owned(), region: "r".to_owned() };
    [
        Schema::OpenAi { prefix: "v1".to_owned() },
        Schema::Anthropic { prefix: "v1".to_owned() },
        Schema::AwsBedrock,
        Schema::GcpVertexAi { location: Some(location) },
        Schema::SageMaker,
    ]
}

/// What a backend is asked in.
fn asked_in(schema: &Schema, client: Dialect, model: &ModelName) -> Option<Dialect> {
    let serves = |dialect| {
        schema.serves(&Call { dialect, operation: Operation::Chat, delivery: Delivery::Whole, model })
    };
    if serves(client) {
        return Some(client);
    }
    let mut dialects = schema.dialects(Operation::Chat, model).iter().copied();
    dialects
        .find(|&dialect| serves(dialect) && tollgate_dialect::can_translate(client, dialect, Operation::Chat))
}

impl Pair {
    fn new(client: Dialect, backend: Dialect) -> Result<Self, String> {
        let model = ModelName::parse("m").map_err(|error| error.to_string())?;
        let schema = schemas().into_iter().find(|schema| asked_in(schema, client, &model) == Some(backend));
        let framing = schema.as_ref().map_or(StreamFraming::Sse, |schema| schema.framing(backend));
        let way = schema.map_or(Way::Translation, |schema| Way::Exchange(gateway::snapshot(schema)));
        Ok(Self { client, backend, framing, way, model, keyring: Arc::default() })
    }

    pub(crate) fn name(&self) -> String {
        format!("{} to {}", self.client.label(), self.backend.label())
    }

    pub(crate) fn is_exchange(&self) -> bool {
        matches!(self.way, Way::Exchange(_))
    }

    /// The head of a request with a body of `body_bytes`.
    pub(crate) fn head(&self, body_bytes: usize, delivery: Delivery) -> RequestHead {
        let (path, query) = match (self.client, delivery) {
            (Dialect::OpenAiResponses, _) => ("/v1/responses", None),
            (Dialect::AnthropicMessages, _) => ("/v1/messages", None),
            (Dialect::Gemini, Delivery::Whole) => ("/v1beta/models/m:generateContent", None),
            (Dialect::Gemini, Delivery::Stream) => {
                ("/v1beta/models/m:streamGenerateContent", Some("alt=sse".to_owned()))
            }
            _ => ("/v1/chat/completions", None),
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("user-agent", HeaderValue::from_static("bench"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        RequestHead {
            method: Method::POST,
            path: path.to_owned(),
            query,
            host: Some("h".to_owned()),
            headers,
            listener: "l".into(),
            client_address: String::new(),
            body: BodyFraming::Sized(body_bytes as u64),
        }
    }

    /// From a request's head and body to what the backend gets.
    pub(crate) fn ask(&self, head: RequestHead, body: Bytes, delivery: Delivery) -> Result<Asked, String> {
        let Way::Exchange(snapshot) = &self.way else { return self.translate_request(&body, delivery) };
        let now = Instant::now();
        let keyring = Arc::clone(&self.keyring);
        let arrival =
            Arrival { request_id: "r".into(), at: now, at_unix_ms: 0, keyring, vouched: Vec::new() };
        let (mut exchange, plan) = Exchange::new(snapshot, head, arrival);
        if !matches!(plan, Ok(BodyPlan::Whole { .. })) {
            return Err(format!("{plan:?}"));
        }
        let routed = exchange.on_request_body(body);
        let (routed, client) = routed.map_err(|reply| String::from_utf8_lossy(&reply.body).into_owned())?;
        let mut attempt = Attempt::new(&routed, 0, 1, now, 0).ok_or("the backend does not serve it")?;
        match attempt.on_dispatch(&client, tollgate_exchange::Admission::First) {
            Step::Forward(_) => Ok(Asked::Exchange(Box::new((exchange, client, attempt)))),
            step => Err(format!("{step:?}")),
        }
    }

    fn translate_request(&self, body: &Bytes, delivery: Delivery) -> Result<Asked, String> {
        let told = (self.client == Dialect::Gemini).then(|| PathFacts { model: "m".to_owned(), delivery });
        let (json, chat) = (Some("application/json"), Operation::Chat);
        let facts = tollgate_dialect::inspect(self.client, chat, json, told.as_ref(), body);
        let facts = facts.map_err(|invalid| invalid.to_string())?;
        facts.check_density(body.len()).map_err(|invalid| invalid.to_string())?;
        let encoded = tollgate_dialect::translate_request(
            self.client,
            self.backend,
            chat,
            facts.document(body),
            &facts.model,
            delivery,
        );
        encoded
            .map(|encoded| black_box(encoded.body.to_bytes()))
            .map(|_| Asked::Translation)
            .map_err(|invalid| invalid.to_string())
    }

    /// From a whole answer to what the client gets.
    pub(crate) fn answer(&self, asked: Asked, body: Bytes) -> Result<Bytes, String> {
        let Asked::Exchange(asked) = asked else { return self.translate_answer(&body) };
        let (_exchange, client, mut attempt) = *asked;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut head = match attempt.on_response_head(StatusCode::OK, headers, Chance::Last) {
            Step::Forward((head, _)) => head,
            step => return Err(format!("{step:?}")),
        };
        match attempt.on_response_body(&client, body, &mut head) {
            Step::Forward(answer) => self.finish(attempt).map(|()| answer),
            step => Err(format!("{step:?}")),
        }
    }

    fn translate_answer(&self, body: &Bytes) -> Result<Bytes, String> {
        let (client, backend, chat) = (self.client, self.backend, Operation::Chat);
        let (context, mut observer) = (self.context(), Observer::new(backend, chat, Delivery::Whole));
        let answer = tollgate_dialect::translate_answer(client, backend, chat, body, &context, &mut observer);
        Ok(answer.map_err(|error| error.to_string())?.body)
    }

    /// Passes on a stream, chunk by chunk. How many bytes the client gets.
    pub(crate) fn stream(&self, asked: Asked, chunks: &[Bytes]) -> Result<usize, String> {
        let Asked::Exchange(asked) = asked else { return self.translate_stream(chunks) };
        let (_exchange, client, mut attempt) = *asked;
        drop(client);
        let kind = match self.framing {
            StreamFraming::Sse => "text/event-stream",
            _ => "application/vnd.amazon.eventstream",
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        if let step @ (Step::Hold | Step::Ask(_) | Step::Reply(_) | Step::Retry(_)) =
            attempt.on_response_head(StatusCode::OK, headers, Chance::Last)
        {
            return Err(format!("{step:?}"));
        }
        let mut bytes = 0;
        for chunk in chunks {
            match attempt.on_response_chunk(chunk.clone(), Instant::now()) {
                Step::Forward(out) => bytes += out.len(),
                Step::Hold => {}
                step => return Err(format!("{step:?}")),
            }
        }
        let (out, fault) = attempt.on_response_end(Instant::now());
        if let Some(fault) = fault {
            return Err(format!("{fault:?}"));
        }
        self.finish(attempt).map(|()| bytes + out.len())
    }

    fn translate_stream(&self, chunks: &[Bytes]) -> Result<usize, String> {
        let mut events = Reframer::new(self.framing, self.backend, FRAME_BYTES_MAX);
        let mut observer = Observer::new(self.backend, Operation::Chat, Delivery::Stream);
        let translator = StreamTranslator::new(self.client, self.backend, self.context());
        let mut translator = translator.ok_or("no words")?;
        let mut bytes = 0;
        for chunk in chunks {
            let mut out = BytesMut::new();
            events.push(chunk.clone());
            while let Some(piece) = events.next().map_err(|corrupt| corrupt.to_string())? {
                if let Piece::Frame(frame) = piece {
                    observer.frame(&frame);
                    translator.frame(&frame, &mut out).map_err(|error| error.to_string())?;
                }
            }
            bytes += out.len();
        }
        let mut out = BytesMut::new();
        translator.finish(&mut out).map_err(|error| error.to_string())?;
        Ok(bytes + out.len())
    }

    fn finish(&self, attempt: Attempt) -> Result<(), String> {
        let record = attempt.finish(Ending::Delivered, Instant::now()).ok_or("no record")?;
        let is_as_meant = record.facts.backend_dialect == self.backend && record.fault.is_none();
        if is_as_meant { Ok(()) } else { Err(format!("{record:?}")) }
    }

    fn context(&self) -> AnswerContext {
        AnswerContext {
            requested_model: self.model.clone(),
            created_s: 0,
            fallback_id: "r".to_owned(),
            usage_wanted: true,
            vectors: VectorEncoding::Float,
            repeated: Bytes::new(),
        }
    }
}
