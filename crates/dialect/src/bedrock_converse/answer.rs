//! A whole answer of `Converse`, read into the hub.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseResponse`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, ImageSource, LossKind, Losses, StopReason};
use tollgate_terms::Usage;

use super::observe::WireUsage;
use crate::Unreadable;
use crate::fields::{lose_members, lose_usage, loss};

/// Members of the usage that the gateway's has room for, and two that repeat them under older names.
const USAGE_KNOWN: [&str; 7] = [
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "cacheReadInputTokenCount",
    "cacheWriteInputTokenCount",
];

/// The type of a call of a tool that the provider itself runs.
pub(super) const SERVER_CALL: &str = "server_tool_use";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    output: Option<Output>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
    #[serde(flatten)]
    beside: Beside,
}

#[derive(Deserialize)]
struct Output {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Vec<Map<String, Value>>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What a whole answer and the last event of a stream tell beside the answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Beside {
    service_tier: Option<Value>,
    performance_config: Option<Value>,
    trace: Option<IgnoredAny>,
    /// How long it took, which the gateway measures itself.
    metrics: Option<IgnoredAny>,
    /// Padding, so that the length of an event tells nothing of its text.
    p: Option<IgnoredAny>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Beside {
    /// The tier that served the answer. All else is recorded in `losses`.
    pub(super) fn service_tier(self, losses: &mut Losses) -> Option<String> {
        let Self { service_tier, performance_config, trace, metrics: _, p: _, rest } = self;
        if trace.is_some() {
            losses.push_once(loss("/trace", LossKind::Metadata, Effect::Cost));
        }
        let latency = performance_config.as_ref().and_then(|config| text(config, "latency"));
        if latency.is_some_and(|latency| latency != "standard") {
            losses.push_once(loss("/performanceConfig", LossKind::ServiceTier, Effect::Cost));
        }
        lose_members("", &rest, &[], losses);
        text(&service_tier?, "type")
    }
}

/// Reads an answer, leniently. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &[u8], losses: &mut Losses) -> Result<Answer, Unreadable> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    let Some(Output { message }) = body.output else {
        let reason = body.stop_reason.as_deref().unwrap_or("none told");
        return Err(Unreadable(format!("an answer without output (stop reason: {reason})")));
    };
    lose_members("/output/message", &message.rest, &["role"], losses);
    let mut blocks = Vec::new();
    for (index, members) in message.content.unwrap_or_default().into_iter().enumerate() {
        let origin = format!("/output/message/content/{index}");
        let kind = block(&origin, members, losses);
        blocks.extend(kind.map(|kind| Block { origin, cache: None, kind }));
    }
    let has_calls = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolUse { .. }));
    let stop = stop_reason(
        body.stop_reason.as_deref(),
        if has_calls { Called::Tools } else { Called::Nothing },
        body.additional_model_response_fields,
        losses,
    );
    Ok(Answer {
        id: String::new(),
        model: None,
        created_s: None,
        choices: vec![Choice { blocks, stop, logprobs: None }],
        usage: body.usage.and_then(|told| usage(&told, losses)),
        service_tier: body.beside.service_tier(losses),
    })
}

/// The usage. What it tells beside the numbers that the hub has is recorded in `losses`.
pub(super) fn usage(told: &Value, losses: &mut Losses) -> Option<Usage> {
    lose_usage(told, &USAGE_KNOWN, losses);
    WireUsage::deserialize(told).ok()?.usage()
}

/// One element of the answer, which has one member, named after what it is.
fn block(origin: &str, members: Map<String, Value>, losses: &mut Losses) -> Option<BlockKind> {
    let mut members = members.into_iter().filter(|(_, value)| !value.is_null());
    let (name, value) = members.next()?;
    lose_members(origin, &members.collect(), &[], losses);
    let kind = match (name.as_str(), value) {
        ("text", Value::String(text)) => Some(BlockKind::Text { text, citations: Vec::new() }),
        ("citationsContent", value) => Some(cited(value)),
        ("reasoningContent", value) => reasoning(&value),
        ("toolUse", value) => call(value),
        ("image", value) => image(&value),
        (_, value) => Some(BlockKind::Foreign { name, value }),
    };
    if kind.is_none() {
        losses.push(loss(origin, LossKind::UnknownField, Effect::Meaning));
    }
    kind
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn cited(value: Value) -> BlockKind {
    let list = |key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = list("content").iter().filter_map(|item| text(item, "text")).collect();
    BlockKind::Text { text, citations: list("citations") }
}

fn reasoning(value: &Value) -> Option<BlockKind> {
    if let Some(data) = text(value, "redactedContent") {
        return Some(BlockKind::RedactedThinking { data });
    }
    let told = value.get("reasoningText")?;
    let signature = text(told, "signature").filter(|signature| !signature.is_empty());
    Some(BlockKind::Thinking { text: text(told, "text").unwrap_or_default(), signature })
}

/// A call of a tool, if the client is to run it.
fn call(value: Value) -> Option<BlockKind> {
    if text(&value, "type").is_some_and(|kind| kind == SERVER_CALL) {
        return Some(BlockKind::Foreign { name: SERVER_CALL.to_owned(), value });
    }
    Some(BlockKind::ToolUse {
        id: text(&value, "toolUseId").unwrap_or_default(),
        name: text(&value, "name").filter(|name| !name.is_empty())?,
        input: value.get("input").filter(|input| !input.is_null()).cloned().unwrap_or_else(|| json!({})),
    })
}

fn image(value: &Value) -> Option<BlockKind> {
    let source = value.get("source")?;
    let source = match text(source, "bytes") {
        Some(data) => ImageSource::Base64 { media_type: format!("image/{}", text(value, "format")?), data },
        None => ImageSource::Url(text(source.get("s3Location")?, "uri")?),
    };
    Some(BlockKind::Image { source, detail: None })
}

/// What the model called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Nothing,
    Tools,
}

/// Why the model stopped. `additional` are members of the model's own answer; the text that ended it is among them where it was asked for.
pub(super) fn stop_reason(
    word: Option<&str>,
    called: Called,
    additional: Option<Value>,
    losses: &mut Losses,
) -> StopReason {
    let mut members = match additional {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let sequence = members.shift_remove("stop_sequence");
    lose_members("/additionalModelResponseFields", &members, &[], losses);
    match (word, called) {
        (None, Called::Nothing) | (Some("end_turn"), _) => StopReason::EndOfTurn,
        (None, Called::Tools) | (Some("tool_use"), _) => StopReason::ToolUse,
        (Some("max_tokens"), _) => StopReason::OutputLimit,
        (Some("stop_sequence"), _) => {
            StopReason::StopSequence(sequence.and_then(|text| text.as_str().map(str::to_owned)))
        }
        (Some("guardrail_intervened" | "content_filtered"), _) => StopReason::Refusal,
        (Some("model_context_window_exceeded"), _) => StopReason::ContextLimit,
        (Some(other), _) => StopReason::Other(other.to_owned()),
    }
}
