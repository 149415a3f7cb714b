//! A whole answer of `Converse`, read into the hub.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseResponse`.

use bytes::Bytes;
use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Effect, ImageSource, LossKind, Losses, Origin, StopReason,
};
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Text, Value};

use super::citations;
use super::observe::WireUsage;
use crate::Unreadable;
use crate::fields::{Fields, lose_members, lose_usage, loss, typed};

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

/// The tier that served the answer, as a whole answer and the last event of a stream tell it. What else they tell beside the answer is
/// recorded in `losses`.
pub(super) fn service_tier(mut beside: Fields, losses: &mut Losses) -> Option<String> {
    let service_tier = beside.take("serviceTier");
    let performance = beside.take("performanceConfig");
    if beside.take("trace").is_some() {
        losses.push_once(loss("/trace", LossKind::Metadata, Effect::Cost));
    }
    let latency = performance.as_ref().and_then(|config| text(config, "latency"));
    if latency.is_some_and(|latency| latency != "standard") {
        losses.push_once(loss("/performanceConfig", LossKind::ServiceTier, Effect::Cost));
    }
    beside.lose_rest(losses);
    text(&service_tier?, "type").map(Text::into_string)
}

/// How long it took, which the gateway measures itself; and padding, so that the length of an event tells nothing of its text.
pub(super) fn is_framing(key: &[u8]) -> bool {
    matches!(key, b"metrics" | b"p")
}

/// Reads an answer, leniently. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &Bytes, losses: &mut Losses) -> Result<Answer, Unreadable> {
    let mut body = Fields::read_answer(body, is_framing)?;
    let stop_reason = body.text("stopReason")?;
    let (told, additional) = (body.take("usage"), body.take("additionalModelResponseFields"));
    let Some(mut output) = body.object("output")? else {
        let reason = stop_reason.as_deref().unwrap_or("none told");
        return Err(Unreadable(format!("an answer without output (stop reason: {reason})")));
    };
    let Some(mut message) = output.object("message")? else {
        return Err(Unreadable("an output without a message".to_owned()));
    };
    let content = message.list("content")?;
    message.lose_rest_but(&["role"], losses);
    let content_at = Origin::default().member("output/message/content");
    let mut blocks = Vec::new();
    for (index, element) in content.into_iter().enumerate() {
        let origin = content_at.item(index);
        let kind = block(Fields::of(element, origin.clone())?, losses);
        blocks.extend(kind.map(|kind| Block { origin, cache: None, kind }));
    }
    let has_calls = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolUse { .. }));
    let called = if has_calls { Called::Tools } else { Called::Nothing };
    let stop = self::stop_reason(stop_reason.as_deref(), called, additional, losses);
    Ok(Answer {
        id: String::new(),
        model: None,
        created_s: None,
        choices: vec![Choice { blocks, stop, logprobs: None }],
        usage: told.and_then(|told| usage(&told, losses)),
        service_tier: service_tier(body, losses),
    })
}

/// The usage. What it tells beside the numbers that the hub has is recorded in `losses`.
pub(super) fn usage(told: &Value, losses: &mut Losses) -> Option<Usage> {
    lose_usage(told, &USAGE_KNOWN, losses);
    typed::<WireUsage>(told)?.usage()
}

/// One element of the answer, which has one member, named after what it is.
fn block(element: Fields, losses: &mut Losses) -> Option<BlockKind> {
    let origin = element.pointer.clone();
    let mut members = element.into_members().into_iter().filter(|(_, value)| !value.is_null());
    let (name, value) = members.next()?;
    lose_members(&origin, &members.collect(), &[], losses);
    let kind = match (name.as_str().as_ref(), value) {
        ("text", Value::String(text)) => Some(BlockKind::Text { text, citations: Vec::new() }),
        ("citationsContent", value) => Some(citations::decode(&origin, &value, losses)),
        ("reasoningContent", value) => reasoning(&value),
        ("toolUse", value) => call(value),
        ("image", value) => image(&value),
        (name, value) => Some(BlockKind::Foreign { name: name.to_owned(), value }),
    };
    if kind.is_none() {
        losses.push(loss(origin, LossKind::UnknownField, Effect::Meaning));
    }
    kind
}

fn text(value: &Value, key: &str) -> Option<Text> {
    value.get(key).and_then(Value::as_text).cloned()
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
        id: text(&value, "toolUseId").unwrap_or_default().into_string(),
        name: text(&value, "name").filter(|name| !name.is_empty())?.into_string(),
        input: value
            .get("input")
            .filter(|input| !input.is_null())
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new())),
    })
}

fn image(value: &Value) -> Option<BlockKind> {
    let source = value.get("source")?;
    let source = match text(source, "bytes") {
        Some(data) => ImageSource::Base64 { media_type: format!("image/{}", text(value, "format")?), data },
        None => ImageSource::Url(text(source.get("s3Location")?, "uri")?.into_string()),
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
    let sequence = members.remove("stop_sequence");
    lose_members("/additionalModelResponseFields", &members, &[], losses);
    match (word, called) {
        (None, Called::Nothing) | (Some("end_turn"), _) => StopReason::EndOfTurn,
        (None, Called::Tools) | (Some("tool_use"), _) => StopReason::ToolUse,
        (Some("max_tokens"), _) => StopReason::OutputLimit,
        (Some("stop_sequence"), _) => {
            StopReason::StopSequence(sequence.and_then(|text| text.as_text().map(Text::to_string)))
        }
        (Some("guardrail_intervened" | "content_filtered"), _) => StopReason::Refusal,
        (Some("model_context_window_exceeded"), _) => StopReason::ContextLimit,
        (Some(other), _) => StopReason::Other(other.to_owned()),
    }
}
