//! An answer, said as a chat completion.
//!
//! Source: `openai.types.chat.ChatCompletion`. Reasoning goes out twice, as compatible servers do: its text in
//! `reasoning_content`, and whole blocks with their signatures in `thinking_blocks`, to be sent back with the next request.

use bytes::Bytes;
use serde_json::Value;
use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, StopReason};

use super::parts::annotation;
use super::usage::encode_usage;
use crate::AnswerContext;
use crate::error::encode;
use crate::fields::{Members, loss, object};
use crate::ids::CallIds;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_answer(answer: Answer, context: &AnswerContext, losses: &mut Losses) -> Bytes {
    let Answer { id, model, created_s, choices, usage, service_tier } = answer;
    let id = if id.is_empty() { context.fallback_id.clone() } else { id };
    let mut ids = CallIds::new(&id);
    let choices = choices.into_iter().enumerate();
    let choices: Vec<Value> =
        choices.map(|(index, choice)| encode_choice(index, choice, &mut ids, losses)).collect();
    let mut body = Members::default();
    body.set("id", Some(id));
    body.set("object", Some("chat.completion"));
    body.set("created", Some(created_s.unwrap_or(context.created_s)));
    body.set("model", Some(model.unwrap_or_else(|| context.requested_model.as_str().to_owned())));
    body.set("choices", Some(choices));
    body.set("usage", usage.as_ref().map(encode_usage));
    body.set("service_tier", service_tier);
    encode(&body.map)
}

fn encode_choice(index: usize, choice: Choice, ids: &mut CallIds, losses: &mut Losses) -> Value {
    let Choice { blocks, stop, logprobs } = choice;
    let finish_reason = finish_reason(&stop, losses);
    object!({
        "index": index,
        "message": message(blocks, ids, losses),
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    })
}

fn message(blocks: Vec<Block>, ids: &mut CallIds, losses: &mut Losses) -> Value {
    let mut content: Option<String> = None;
    let mut refusal: Option<String> = None;
    let mut reasoning: Option<String> = None;
    let mut thinking = Vec::new();
    let mut calls = Vec::new();
    let mut annotations = Vec::new();
    for Block { origin, cache: _, kind } in blocks {
        match kind {
            BlockKind::Text { text, citations } => {
                let content = content.get_or_insert_default();
                let chars_before = content.chars().count();
                content.push_str(&text);
                let said = citations.iter().filter_map(|citation| annotation(citation, chars_before));
                let count = annotations.len() + citations.len();
                annotations.extend(said);
                if annotations.len() < count {
                    losses.push(loss(format!("{origin}/citations"), LossKind::Citation, Effect::Meaning));
                }
            }
            BlockKind::Refusal { text } => refusal.get_or_insert_default().push_str(&text),
            BlockKind::Thinking { text, signature } => {
                reasoning.get_or_insert_default().push_str(&text);
                thinking.push(object!({"type": "thinking", "thinking": text, "signature": signature}));
            }
            BlockKind::RedactedThinking { data } => {
                thinking.push(object!({"type": "redacted_thinking", "data": data}));
            }
            BlockKind::ToolUse { id, name, input } => {
                let function = object!({"name": name, "arguments": input.to_string()});
                calls.push(object!({"id": ids.next(id), "type": "function", "function": function}));
            }
            BlockKind::Foreign { name: _, value: _ } => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            }
            BlockKind::ToolResult { .. }
            | BlockKind::Image { .. }
            | BlockKind::Document { .. }
            | BlockKind::Audio { .. } => losses.push(loss(origin, LossKind::Media, Effect::Meaning)),
        }
    }
    let mut message = Members::default();
    message.set("role", Some("assistant"));
    message.set("content", Some(content));
    message.set("refusal", Some(refusal));
    message.set("annotations", (!annotations.is_empty()).then_some(annotations));
    message.set("reasoning_content", reasoning);
    message.set("thinking_blocks", (!thinking.is_empty()).then_some(thinking));
    message.set("tool_calls", (!calls.is_empty()).then_some(calls));
    message.value()
}

/// The word for a reason.
pub(super) fn finish_reason(stop: &StopReason, losses: &mut Losses) -> &'static str {
    match stop {
        StopReason::EndOfTurn | StopReason::StopSequence(None) => "stop",
        StopReason::StopSequence(Some(_)) => {
            losses.push(loss("/stop_sequence", LossKind::StopReason, Effect::Meaning));
            "stop"
        }
        StopReason::Pause | StopReason::Other(_) => {
            losses.push(loss("/stop_reason", LossKind::StopReason, Effect::Meaning));
            "stop"
        }
        StopReason::OutputLimit | StopReason::ContextLimit => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::Refusal => "content_filter",
    }
}
