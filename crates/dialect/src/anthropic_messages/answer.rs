//! A whole message of the model: read into the hub, and said.
//!
//! Source: `anthropic.types.Message`.

use bytes::Bytes;
use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Citation, Effect, LossKind, Losses, Origin, StopReason,
};
use tollgate_wire::json::{Map, Text, Value};

use super::citations;
use super::usage::{WireUsage, encode_usage};
use crate::fields::{Fields, Members, loss, members, object};
use crate::ids::CallIds;
use crate::spans;
use crate::{AnswerContext, Unreadable};

/// Reads an answer, leniently. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &Bytes, losses: &mut Losses) -> Result<Answer, Unreadable> {
    let mut body = Fields::read_answer(body, |key| matches!(key, b"type" | b"role"))?;
    let id = body.text("id")?.unwrap_or_default();
    let model = body.text("model")?;
    let blocks = body.needed_list("content")?.into_iter().enumerate().map(|(index, value)| {
        let origin = Origin::of_item("content", index);
        let kind = decode_block(&origin, value, losses);
        Block { origin, cache: None, kind }
    });
    let blocks: Vec<Block> = blocks.collect();
    let stop = stop_reason(body.text("stop_reason")?.as_deref(), body.text("stop_sequence")?);
    let usage = body.take("usage");
    for (key, kind, effect) in [
        ("stop_details", LossKind::StopReason, Effect::Meaning),
        ("container", LossKind::ServerTool, Effect::Meaning),
        ("diagnostics", LossKind::Metadata, Effect::Cost),
    ] {
        if body.take(key).is_some() {
            losses.push(loss(format!("/{key}"), kind, effect));
        }
    }
    body.lose_rest(losses);
    Ok(Answer {
        id,
        model,
        created_s: None,
        choices: vec![Choice { blocks, stop, logprobs: None }],
        usage: usage.and_then(|usage| WireUsage::read(&usage, losses)?.usage(None)),
        service_tier: None,
    })
}

/// A block of an answer, whole or as it begins in a stream.
pub(super) fn decode_block(origin: &Origin, mut value: Value, losses: &mut Losses) -> BlockKind {
    let name = value.get("type").and_then(Value::as_text).cloned().unwrap_or_default();
    let mut take = |key: &str| value.get_mut(key).map(Value::take).unwrap_or_default();
    let mut text = |key: &str| match take(key) {
        Value::String(text) => text,
        _ => Text::default(),
    };
    match name.as_str().as_ref() {
        "text" => BlockKind::Text {
            text: text("text"),
            citations: match take("citations") {
                Value::Array(told) => citations::decode(&origin.member("citations"), told, losses),
                _ => Vec::new(),
            },
        },
        "thinking" => {
            let signature = Some(text("signature")).filter(|signature| !signature.is_empty());
            BlockKind::Thinking { text: text("thinking"), signature }
        }
        "redacted_thinking" => BlockKind::RedactedThinking { data: text("data") },
        "tool_use" => BlockKind::ToolUse {
            id: text("id").into_string(),
            name: text("name").into_string(),
            input: value.get_mut("input").map_or_else(|| Value::Object(Map::new()), Value::take),
        },
        _ => BlockKind::Foreign { name: name.to_string(), value },
    }
}

/// Why the model stopped. A server that does not say had nothing more to say.
pub(super) fn stop_reason(word: Option<&str>, sequence: Option<String>) -> StopReason {
    match word {
        None | Some("end_turn") => StopReason::EndOfTurn,
        Some("stop_sequence") => StopReason::StopSequence(sequence),
        Some("max_tokens") => StopReason::OutputLimit,
        Some("model_context_window_exceeded") => StopReason::ContextLimit,
        Some("tool_use") => StopReason::ToolUse,
        Some("refusal") => StopReason::Refusal,
        Some("pause_turn") => StopReason::Pause,
        Some(other) => StopReason::Other(other.to_owned()),
    }
}

/// The words for a reason: `stop_reason` and `stop_sequence`.
pub(super) fn stop_words(stop: StopReason, losses: &mut Losses) -> (&'static str, Option<String>) {
    match stop {
        // Which text ended the answer is not told by every dialect, and this one does not name a reason without it.
        StopReason::EndOfTurn | StopReason::StopSequence(None) => ("end_turn", None),
        StopReason::StopSequence(Some(sequence)) => ("stop_sequence", Some(sequence)),
        StopReason::OutputLimit => ("max_tokens", None),
        StopReason::ContextLimit => ("model_context_window_exceeded", None),
        StopReason::ToolUse => ("tool_use", None),
        StopReason::Refusal => ("refusal", None),
        StopReason::Pause => ("pause_turn", None),
        StopReason::Other(_) => {
            losses.push(loss("/choices/0/finish_reason", LossKind::StopReason, Effect::Meaning));
            ("end_turn", None)
        }
    }
}

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_answer(answer: Answer, context: &AnswerContext, losses: &mut Losses) -> Map {
    let Answer { id, model, created_s: _, choices, usage, service_tier } = answer;
    if service_tier.is_some_and(|tier| tier != "default") {
        losses.push(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
    }
    if choices.len() > 1 {
        losses.push(loss("/choices/1", LossKind::Choices, Effect::Meaning));
    }
    let choice = choices.into_iter().next();
    let Choice { blocks, stop, logprobs } =
        choice.unwrap_or(Choice { blocks: Vec::new(), stop: StopReason::EndOfTurn, logprobs: None });
    if logprobs.is_some() {
        losses.push(loss("/choices/0/logprobs", LossKind::Logprobs, Effect::Meaning));
    }
    let id = if id.is_empty() { context.fallback_id.clone() } else { id };
    let mut ids = CallIds::new(&id);
    let mut content = Vec::with_capacity(blocks.len());
    for Block { origin, cache: _, kind } in blocks {
        match kind {
            BlockKind::Text { text, citations } => content.extend(texts(&origin, text, citations, losses)),
            kind => content.extend(encode_block(origin, kind, &mut ids, losses)),
        }
    }
    let (stop_reason, stop_sequence) = stop_words(stop, losses);
    let body = members!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model.unwrap_or_else(|| context.requested_model.as_str().to_owned()),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": encode_usage(&usage.unwrap_or_default()),
    });
    body.map
}

/// A text, in as many blocks as what it rests on needs.
fn texts(origin: &Origin, text: Text, citations: Vec<Citation>, losses: &mut Losses) -> Vec<Value> {
    let pieces = spans::cut(text, citations).into_iter();
    let block = |spans::Piece { text, citations }| {
        let said = citations.into_iter().filter_map(|(index, citation)| {
            citations::encode(&format!("{origin}/citations/{index}"), citation, losses)
        });
        let said: Vec<Value> = said.collect();
        let mut block = Members::default();
        block.set("type", Some("text"));
        block.set("text", Some(text));
        block.set("citations", (!said.is_empty()).then_some(said));
        block.value()
    };
    pieces.map(block).collect()
}

fn encode_block(origin: Origin, kind: BlockKind, ids: &mut CallIds, losses: &mut Losses) -> Option<Value> {
    match kind {
        BlockKind::Text { text, citations: _ } | BlockKind::Refusal { text } => {
            Some(object!({"type": "text", "text": text}))
        }
        BlockKind::Thinking { text, signature } => {
            Some(object!({"type": "thinking", "thinking": text, "signature": signature.unwrap_or_default()}))
        }
        BlockKind::RedactedThinking { data } => Some(object!({"type": "redacted_thinking", "data": data})),
        BlockKind::ToolUse { id, name, input } => {
            Some(object!({"type": "tool_use", "id": ids.next(id), "name": name, "input": input}))
        }
        BlockKind::Foreign { name: _, value: _ } => {
            losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            None
        }
        BlockKind::ToolResult { .. }
        | BlockKind::Image { .. }
        | BlockKind::Document { .. }
        | BlockKind::Audio { .. } => {
            losses.push(loss(origin, LossKind::Media, Effect::Meaning));
            None
        }
    }
}
