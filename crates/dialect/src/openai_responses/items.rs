//! The response object and its items, which whole answers and streams share.
//!
//! Source: `openai.types.responses.Response` and `ResponseOutputItem`.

use tollgate_chat::{Citation, CitedSource, Effect, LossKind, Losses, StopReason};
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Text, Value};

use super::echo::Echo;
use super::usage::encode_usage;
use crate::AnswerContext;
use crate::fields::{Members, loss, object};
use crate::ids::fingerprint;
use crate::openai_chat::encode_page;

/// What the id of a response begins with.
const RESPONSE_ID: &str = "resp_";

/// Room for the members of a response.
const MEMBERS_MAX: usize = 32;

/// What stays the same in a response from its first event to its last.
#[derive(Debug)]
pub(super) struct Frame {
    id: String,
    model: String,
    created_s: u64,
    /// A short name of the id, for those of the items.
    name: u64,
    /// What it repeats of its request.
    echo: Echo,
}

impl Frame {
    /// The frame of the answer that a backend gave under `id`, if it has one.
    pub(super) fn new(
        id: String,
        model: Option<String>,
        created_s: Option<u64>,
        context: &AnswerContext,
    ) -> Self {
        let id = if id.is_empty() { context.fallback_id.clone() } else { id };
        // The provider's own id stays in it, for those who look for it.
        let id = if id.starts_with(RESPONSE_ID) { id } else { format!("{RESPONSE_ID}{id}") };
        Self {
            name: fingerprint(&id),
            echo: Echo::read(&context.repeated),
            id,
            model: model.unwrap_or_else(|| context.requested_model.as_str().to_owned()),
            created_s: created_s.unwrap_or(context.created_s),
        }
    }

    /// The id of the item with this number. The API knows kinds of items by what their ids begin with.
    pub(super) fn item_id(&self, kind: &str, number: usize) -> String {
        format!("{kind}_{:016x}_{number}", self.name)
    }

    /// The id of the response.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The object, with what it repeats of its request. Where clients need a value, it is the one of a request that says nothing of it.
    pub(super) fn response(
        &self,
        ending: &Ending,
        output: Vec<Value>,
        usage: Option<&Usage>,
        service_tier: Option<String>,
    ) -> Map {
        let mut response = Members { map: Map::with_capacity(MEMBERS_MAX) };
        response.set("id", Some(self.id.as_str()));
        response.set("object", Some("response"));
        response.set("created_at", Some(self.created_s));
        response.set("status", Some(ending.status));
        response.set("error", Some(Value::Null));
        response.set("incomplete_details", Some(ending.reason.map(|reason| object!({"reason": reason}))));
        response.set("instructions", Some(self.echo.needed("instructions")));
        response.set("metadata", Some(self.echo.needed("metadata")));
        response.set("model", Some(self.model.as_str()));
        response.set("output", Some(output));
        response.set("parallel_tool_calls", Some(self.echo.needed("parallel_tool_calls")));
        response.set("store", Some(false));
        response.set("temperature", Some(self.echo.needed("temperature")));
        response.set("tool_choice", Some(self.echo.needed("tool_choice")));
        response.set("tools", Some(self.echo.needed("tools")));
        response.set("top_p", Some(self.echo.needed("top_p")));
        self.echo.told().for_each(|(key, value)| response.set(key, Some(value)));
        response.set("usage", Some(usage.map(encode_usage)));
        response.set("service_tier", service_tier);
        response.map
    }
}

/// How far a response is.
#[derive(Debug)]
pub(super) struct Ending {
    /// The status.
    pub(super) status: &'static str,
    reason: Option<&'static str>,
}

impl Ending {
    /// It goes on.
    pub(super) const OPEN: Self = Self { status: "in_progress", reason: None };

    const WHOLE: Self = Self { status: "completed", reason: None };

    /// It is complete, or was cut off.
    pub(super) fn of(stop: &StopReason, losses: &mut Losses) -> Self {
        let incomplete = |reason| Self { status: "incomplete", reason: Some(reason) };
        let mut lose = |pointer| losses.push(loss(pointer, LossKind::StopReason, Effect::Meaning));
        match stop {
            StopReason::EndOfTurn | StopReason::StopSequence(None) | StopReason::ToolUse => Self::WHOLE,
            StopReason::StopSequence(Some(_)) => {
                lose("/stop_sequence");
                Self::WHOLE
            }
            StopReason::Pause | StopReason::Other(_) => {
                lose("/stop_reason");
                Self::WHOLE
            }
            StopReason::OutputLimit => incomplete("max_output_tokens"),
            StopReason::ContextLimit => {
                // Another bound, but the nearest word.
                lose("/stop_reason");
                incomplete("max_output_tokens")
            }
            StopReason::Refusal => incomplete("content_filter"),
        }
    }

    /// The event that ends the stream.
    pub(super) fn event(&self) -> &'static str {
        if self.reason.is_some() { "response.incomplete" } else { "response.completed" }
    }

    /// The status of an item: the last one is where an answer was cut off.
    pub(super) fn of_last_item(&self) -> &'static str {
        self.status
    }
}

/// A message.
pub(super) fn message(id: &str, status: &str, content: Vec<Value>) -> Value {
    object!({"type": "message", "id": id, "status": status, "role": "assistant", "content": content})
}

/// A text.
pub(super) fn text_part(text: Text, annotations: Vec<Value>, logprobs: Vec<Value>) -> Value {
    object!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs})
}

/// The model's own no.
pub(super) fn refusal_part(text: Text) -> Value {
    object!({"type": "refusal", "refusal": text})
}

/// A call of a function.
pub(super) fn call(id: &str, status: &str, call_id: &str, name: &str, arguments: Text) -> Value {
    object!({"type": "function_call", "id": id, "status": status, "call_id": call_id, "name": name, "arguments": arguments})
}

/// An annotation of a text of `chars` characters; nothing where it has no words for it. A file of the provider can be named, but not
/// which part of it, and where a mark for it would stand.
pub(super) fn annotation(
    pointer: &str,
    citation: Citation,
    chars: u64,
    losses: &mut Losses,
) -> Option<Value> {
    let file = match &citation.source {
        CitedSource::File { id } => Some(id),
        CitedSource::Document { index: _, file, passage: _ } => file.as_ref(),
        CitedSource::Web { url: _, proof: _ }
        | CitedSource::SearchResult { index: _, source: _, blocks: _ } => None,
    };
    if let Some(id) = file {
        if matches!(citation.source, CitedSource::Document { .. }) {
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
        }
        let name = citation.title.as_deref().unwrap_or_default();
        let index = citation.span.as_ref().map_or(chars, |span| span.end);
        return Some(
            object!({"type": "file_citation", "file_id": id.as_str(), "filename": name, "index": index}),
        );
    }
    let page = encode_page(pointer, citation, (0, chars), losses)?;
    Some(Value::Object(std::iter::once(("type".into(), "url_citation".into())).chain(page).collect()))
}

/// The log probability of a token, as chat completions tell it: `bytes` and `top_logprobs` have to be there.
pub(super) fn whole_logprob(mut token: Value) -> Value {
    let fill = |token: &mut Value, key: &str| {
        if let Some(members) = token.as_object_mut()
            && members.get(key).is_none_or(Value::is_null)
        {
            members.insert(key, Value::Array(Vec::new()));
        }
    };
    fill(&mut token, "bytes");
    fill(&mut token, "top_logprobs");
    if let Some(others) = token.get_mut("top_logprobs").and_then(Value::as_array_mut) {
        others.iter_mut().for_each(|other| fill(other, "bytes"));
    }
    token
}

/// About how many bytes one is when it is written.
pub(super) fn logprob_bytes(token: &Value) -> usize {
    const TOKEN_BYTES: usize = 64;
    let others = token.get("top_logprobs").and_then(Value::as_array).map_or(0, Vec::len);
    TOKEN_BYTES * (1 + others)
}
