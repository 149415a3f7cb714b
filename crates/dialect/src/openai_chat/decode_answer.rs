//! A whole chat completion, read into the hub.
//!
//! Source: `openai.types.chat.ChatCompletion`, and what compatible servers add to it: `reasoning_content`, `reasoning`,
//! `thinking_blocks`. Read leniently: a provider's nonsense beside the answer must not cost the client the answer.

use bytes::Bytes;
use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, Origin, StopReason};
use tollgate_wire::json::{Text, Value};

use super::annotations::decode_annotations;
use super::parts;
use super::usage::WireUsage;
use crate::Unreadable;
use crate::fields::{Fields, count, loss};

/// Reads an answer. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &Bytes, losses: &mut Losses) -> Result<Answer, Unreadable> {
    let mut body = Fields::read_answer(body, |key| key == b"object")?;
    let id = body.text("id")?.unwrap_or_default();
    let model = body.text("model")?.filter(|model| !model.is_empty());
    let created_s = body.take("created").and_then(|told| count(&told));
    let choices = body.needed_list("choices")?.into_iter().enumerate();
    let usage = body.take("usage");
    let service_tier = body.text("service_tier")?;
    if body.take("system_fingerprint").is_some() {
        losses.push(loss("/system_fingerprint", LossKind::Metadata, Effect::Cost));
    }
    body.lose_rest(losses);
    let choices = choices.map(|(index, told)| choice(index, told, losses)).collect::<Result<_, _>>()?;
    let usage = usage.and_then(|usage| WireUsage::read(&usage, losses)?.usage());
    Ok(Answer { id, model, created_s, choices, usage, service_tier })
}

fn choice(index: usize, told: Value, losses: &mut Losses) -> Result<Choice, Unreadable> {
    let mut told = Fields::of(told, Origin::of_item("choices", index))?;
    if told.is_null("message") {
        return Err(Unreadable(format!("{}: a choice without a message", told.pointer)));
    }
    let message = told.object("message")?.unwrap_or_else(|| Fields::none(told.at("message")));
    let origin = told.pointer.clone();
    let finish_reason = told.text("finish_reason")?;
    let logprobs = told.take("logprobs");
    told.lose_rest_but(&["index"], losses);
    let (blocks, called) = blocks(&origin, message, losses)?;
    Ok(Choice { blocks, stop: stop_reason(finish_reason.as_deref(), called), logprobs })
}

/// What the message of the choice at `origin` says, and what it calls. Two members as one keep an origin to the steps that it has room for.
fn blocks(
    origin: &Origin,
    mut message: Fields,
    losses: &mut Losses,
) -> Result<(Vec<Block>, Called), Unreadable> {
    let said = message.take("content");
    let annotations = message.list("annotations")?;
    let refusal = message.written("refusal")?.filter(|text| !text.is_empty());
    let (reasoning_content, reasoning) = (message.take("reasoning_content"), message.take("reasoning"));
    let signed = message.list("thinking_blocks")?;
    let calls = Call::read_all(&mut message)?;
    let audio = message.take("audio");
    message.lose_rest_but(&["role"], losses);
    let mut blocks = thinking(origin, signed, reasoning_content.or(reasoning));
    blocks.extend(content(origin, said, annotations, losses));
    blocks.extend(refusal.map(|text| Block {
        origin: origin.member("message/refusal"),
        cache: None,
        kind: BlockKind::Refusal { text },
    }));
    if audio.is_some() {
        losses.push(loss(origin.member("message/audio"), LossKind::Media, Effect::Meaning));
    }
    let mut called = Called::Nothing;
    for Call { origin, id, name, arguments, is_custom } in calls {
        if is_custom {
            // Its input is a text, and the hub's calls have objects.
            losses.push(loss(origin, LossKind::ToolOption, Effect::Meaning));
            called = if called == Called::Nothing { Called::LostTools } else { called };
            continue;
        }
        if name.is_empty() {
            return Err(Unreadable(format!("{origin}: a call of a tool without a name")));
        }
        called = Called::Tools;
        let input = parts::arguments(&arguments, &origin.member("function/arguments"), losses);
        blocks.push(Block { origin, cache: None, kind: BlockKind::ToolUse { id, name, input } });
    }
    Ok((blocks, called))
}

/// A call of a tool.
struct Call {
    origin: Origin,
    id: String,
    name: String,
    arguments: Text,
    is_custom: bool,
}

impl Call {
    /// The calls of a message.
    fn read_all(message: &mut Fields) -> Result<Vec<Self>, Unreadable> {
        let mut calls = Vec::new();
        for (index, told) in message.list("tool_calls")?.into_iter().enumerate() {
            let origin = message.item_at("tool_calls", index);
            let mut told = Fields::of(told, origin.clone())?;
            let id = told.text("id")?.unwrap_or_default();
            let is_custom = told.take("custom").is_some();
            calls.push(Self::read(origin, id, told.object("function")?, is_custom)?);
        }
        // The one call of the API before `tool_calls`, which has no id.
        if let Some(function) = message.object("function_call")? {
            calls.push(Self::read(function.pointer.clone(), String::new(), Some(function), false)?);
        }
        Ok(calls)
    }

    fn read(
        origin: Origin,
        id: String,
        function: Option<Fields>,
        is_custom: bool,
    ) -> Result<Self, Unreadable> {
        let mut function = function.unwrap_or_else(|| Fields::none(origin.clone()));
        let name = function.text("name")?.unwrap_or_default();
        let arguments = function.written("arguments")?.unwrap_or_default();
        Ok(Self { origin, id, name, arguments, is_custom })
    }
}

fn thinking(origin: &Origin, signed: Vec<Value>, plain: Option<Value>) -> Vec<Block> {
    let signed: Vec<Block> = signed
        .into_iter()
        .enumerate()
        .map(|(index, value)| Block {
            origin: origin.member("message/thinking_blocks").item(index),
            cache: None,
            kind: parts::thinking_kind(&value),
        })
        .collect();
    if !signed.is_empty() {
        return signed;
    }
    let text = plain.as_ref().and_then(parts::reasoning_text).filter(|text| !text.is_empty());
    text.map(|text| Block {
        origin: origin.member("message/reasoning_content"),
        cache: None,
        kind: BlockKind::Thinking { text, signature: None },
    })
    .into_iter()
    .collect()
}

/// The text: one string, or parts as some servers write it.
fn content(
    origin: &Origin,
    content: Option<Value>,
    annotations: Vec<Value>,
    losses: &mut Losses,
) -> Option<Block> {
    let pointer = origin.member("message/annotations");
    let origin = origin.member("message/content");
    let text = match content {
        None => Text::default(),
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let mut joined = String::new();
            for (index, part) in parts.iter().enumerate() {
                match part.get("text").and_then(Value::as_str) {
                    Some(text) => joined.push_str(&text),
                    None => losses.push(loss(format!("{origin}/{index}"), LossKind::Media, Effect::Meaning)),
                }
            }
            joined.into()
        }
        Some(_) => {
            losses.push(loss(origin.clone(), LossKind::Media, Effect::Meaning));
            Text::default()
        }
    };
    if text.is_empty() {
        if !annotations.is_empty() {
            losses.push(loss(pointer, LossKind::Citation, Effect::Meaning));
        }
        return None;
    }
    let citations = decode_annotations(&pointer, &annotations, losses);
    Some(Block { origin, cache: None, kind: BlockKind::Text { text, citations } })
}

/// What the model called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Nothing,
    /// Only what the hub has no room for.
    LostTools,
    Tools,
}

/// Why the model stopped. A server that does not say, or says what nobody knows, had nothing more to say.
pub(super) fn stop_reason(word: Option<&str>, called: Called) -> StopReason {
    match (word, called) {
        // A client that is told to run tools wants to see which.
        (Some("tool_calls" | "function_call"), Called::LostTools) => StopReason::EndOfTurn,
        (Some("tool_calls" | "function_call"), Called::Nothing | Called::Tools) => StopReason::ToolUse,
        // Some servers say `stop` after calls; the client has to run them all the same.
        (None | Some("stop"), Called::Tools) => StopReason::ToolUse,
        (None | Some("stop"), Called::Nothing | Called::LostTools) => StopReason::EndOfTurn,
        (Some("length"), _) => StopReason::OutputLimit,
        (Some("content_filter"), _) => StopReason::Refusal,
        (Some(other), _) => StopReason::Other(other.to_owned()),
    }
}
