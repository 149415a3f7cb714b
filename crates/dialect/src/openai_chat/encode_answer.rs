//! An answer, said as a chat completion.
//!
//! Source: `openai.types.chat.ChatCompletion`. Reasoning goes out twice, as compatible servers do: its text in
//! `reasoning_content`, and whole blocks with their signatures in `thinking_blocks`, to be sent back with the next request.

use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, StopReason};
use tollgate_wire::json::{Map, Text, Value};

use super::annotations::encode_page;
use super::usage::encode_usage;
use crate::AnswerContext;
use crate::fields::{Members, loss, object};
use crate::ids::CallIds;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_answer(answer: Answer, context: &AnswerContext, losses: &mut Losses) -> Map {
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
    body.map
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
    let (mut content, mut refusal, mut reasoning) = (Vec::new(), Vec::new(), Vec::new());
    let mut thinking = Vec::new();
    let mut calls = Vec::new();
    let mut annotations = Vec::new();
    for Block { origin, cache: _, kind } in blocks {
        match kind {
            BlockKind::Text { text, citations } => {
                if !citations.is_empty() {
                    let chars = |text: &Text| text.as_str().chars().count() as u64;
                    let place = (content.iter().map(chars).sum(), chars(&text));
                    let said = citations.into_iter().enumerate().filter_map(|(index, citation)| {
                        let pointer = format!("{origin}/citations/{index}");
                        let page = encode_page(&pointer, citation, place, losses)?;
                        Some(object!({"type": "url_citation", "url_citation": page}))
                    });
                    annotations.extend(said);
                }
                content.push(text);
            }
            BlockKind::Refusal { text } => refusal.push(text),
            BlockKind::Thinking { text, signature } => {
                reasoning.push(text.clone());
                thinking.push(object!({"type": "thinking", "thinking": text, "signature": signature}));
            }
            BlockKind::RedactedThinking { data } => {
                thinking.push(object!({"type": "redacted_thinking", "data": data}));
            }
            BlockKind::ToolUse { id, name, input } => {
                let function = object!({"name": name, "arguments": Text::of_document(&input)});
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
    message.set("content", Some(joined(content)));
    message.set("refusal", Some(joined(refusal)));
    message.set("annotations", (!annotations.is_empty()).then_some(annotations));
    message.set("reasoning_content", joined(reasoning));
    message.set("thinking_blocks", (!thinking.is_empty()).then_some(thinking));
    message.set("tool_calls", (!calls.is_empty()).then_some(calls));
    message.value()
}

/// Texts as one; none where there are none.
fn joined(texts: Vec<Text>) -> Option<Text> {
    (!texts.is_empty()).then(|| Text::join(texts, ""))
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
