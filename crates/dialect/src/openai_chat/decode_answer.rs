//! A whole chat completion, read into the hub.
//!
//! Source: `openai.types.chat.ChatCompletion`, and what compatible servers add to it: `reasoning_content`, `reasoning`,
//! `thinking_blocks`. Read leniently: a provider's nonsense beside the answer must not cost the client the answer.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, StopReason};

use super::parts;
use super::usage::WireUsage;
use crate::Unreadable;
use crate::fields::{lose_members, loss};
use crate::observe::Count;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    created: Count,
    choices: Vec<WireChoice>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<IgnoredAny>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(default)]
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    thinking_blocks: Option<Vec<Value>>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    #[serde(default)]
    function_call: Option<Function>,
    #[serde(default)]
    annotations: Option<Vec<Value>>,
    #[serde(default)]
    audio: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Function,
    #[serde(default)]
    custom: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// Reads an answer. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &[u8], losses: &mut Losses) -> Result<Answer, Unreadable> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    if body.system_fingerprint.is_some() {
        losses.push(loss("/system_fingerprint", LossKind::Metadata, Effect::Cost));
    }
    lose_members("", &body.rest, &["object"], losses);
    let choices = body.choices.into_iter().enumerate();
    let choices = choices.map(|(index, wire)| choice(index, wire, losses)).collect::<Result<_, _>>()?;
    Ok(Answer {
        id: body.id.unwrap_or_default(),
        model: body.model.filter(|model| !model.is_empty()),
        created_s: body.created.value(),
        choices,
        usage: body.usage.and_then(|usage| WireUsage::read(&usage, losses)?.usage()),
        service_tier: body.service_tier,
    })
}

fn choice(index: usize, wire: WireChoice, losses: &mut Losses) -> Result<Choice, Unreadable> {
    let origin = format!("/choices/{index}/message");
    let message = wire.message;
    lose_members(&format!("/choices/{index}"), &wire.rest, &["index"], losses);
    lose_members(&origin, &message.rest, &["role"], losses);
    let mut blocks =
        thinking(&origin, message.thinking_blocks, message.reasoning_content.or(message.reasoning));
    blocks.extend(content(&origin, message.content, message.annotations.unwrap_or_default(), losses));
    if let Some(text) = message.refusal.filter(|text| !text.is_empty()) {
        blocks.push(Block {
            origin: format!("{origin}/refusal"),
            cache: None,
            kind: BlockKind::Refusal { text },
        });
    }
    if message.audio.is_some() {
        losses.push(loss(format!("{origin}/audio"), LossKind::Media, Effect::Meaning));
    }
    let called = calls(&origin, message.tool_calls, message.function_call, &mut blocks, losses)?;
    Ok(Choice { blocks, stop: stop_reason(wire.finish_reason.as_deref(), called), logprobs: wire.logprobs })
}

/// The calls of tools, and which there are.
fn calls(
    origin: &str,
    told: Option<Vec<Call>>,
    legacy: Option<Function>,
    blocks: &mut Vec<Block>,
    losses: &mut Losses,
) -> Result<Called, Unreadable> {
    let mut called = Called::Nothing;
    let told = told.unwrap_or_default().into_iter().enumerate();
    let told = told.map(|(index, call)| (format!("{origin}/tool_calls/{index}"), call));
    // The one call of the API before `tool_calls`, which has no id.
    let legacy = legacy.map(|function| Call { id: None, function, custom: None });
    for (origin, call) in told.chain(legacy.map(|call| (format!("{origin}/function_call"), call))) {
        if call.custom.is_some() {
            // Its input is a text, and the hub's calls have objects.
            losses.push(loss(origin, LossKind::ToolOption, Effect::Meaning));
            called = if called == Called::Nothing { Called::LostTools } else { called };
            continue;
        }
        let Some(name) = call.function.name.filter(|name| !name.is_empty()) else {
            return Err(Unreadable(format!("{origin}: a call of a tool without a name")));
        };
        called = Called::Tools;
        let arguments = call.function.arguments.unwrap_or_default();
        let input = parts::arguments(&arguments, &format!("{origin}/function/arguments"), losses);
        let kind = BlockKind::ToolUse { id: call.id.unwrap_or_default(), name, input };
        blocks.push(Block { origin, cache: None, kind });
    }
    Ok(called)
}

fn thinking(origin: &str, signed: Option<Vec<Value>>, plain: Option<Value>) -> Vec<Block> {
    let signed: Vec<Block> = signed
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(index, value)| Block {
            origin: format!("{origin}/thinking_blocks/{index}"),
            cache: None,
            kind: parts::thinking_kind(&value),
        })
        .collect();
    if !signed.is_empty() {
        return signed;
    }
    let text = plain.as_ref().and_then(parts::reasoning_text).filter(|text| !text.is_empty());
    text.map(|text| Block {
        origin: format!("{origin}/reasoning_content"),
        cache: None,
        kind: BlockKind::Thinking { text, signature: None },
    })
    .into_iter()
    .collect()
}

/// The text: one string, or parts as some servers write it.
fn content(
    origin: &str,
    content: Option<Value>,
    citations: Vec<Value>,
    losses: &mut Losses,
) -> Option<Block> {
    let origin = format!("{origin}/content");
    let text = match content {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let mut joined = String::new();
            for (index, part) in parts.iter().enumerate() {
                match part.get("text").and_then(Value::as_str) {
                    Some(text) => joined.push_str(text),
                    None => losses.push(loss(format!("{origin}/{index}"), LossKind::Media, Effect::Meaning)),
                }
            }
            joined
        }
        Some(_) => {
            losses.push(loss(origin.clone(), LossKind::Media, Effect::Meaning));
            String::new()
        }
    };
    if text.is_empty() {
        if !citations.is_empty() {
            losses.push(loss(format!("{origin}/annotations"), LossKind::Citation, Effect::Meaning));
        }
        return None;
    }
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
