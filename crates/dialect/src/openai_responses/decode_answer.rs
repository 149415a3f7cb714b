//! A whole response, read into the hub.
//!
//! Source: `openai.types.responses.Response`. Read leniently: a provider's nonsense beside the answer must not cost the client the answer.

use bytes::Bytes;
use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Citation, Effect, LossKind, Losses, Origin, StopReason,
};
use tollgate_wire::json::{Text, Value};

use super::reasoning;
use super::usage::decode_usage;
use crate::Unreadable;
use crate::fields::{Fields, count, loss, object, tells};
use crate::openai_chat::{arguments, decode_annotations};

/// Whether a member repeats something of the request, or only says what kind of object it is in.
fn is_framing(key: &[u8]) -> bool {
    matches!(
        key,
        b"background"
            | b"completed_at"
            | b"conversation"
            | b"frequency_penalty"
            | b"instructions"
            | b"max_output_tokens"
            | b"max_tool_calls"
            | b"metadata"
            | b"object"
            | b"parallel_tool_calls"
            | b"presence_penalty"
            | b"previous_response_id"
            | b"prompt"
            | b"prompt_cache_key"
            | b"prompt_cache_options"
            | b"prompt_cache_retention"
            | b"reasoning"
            | b"safety_identifier"
            | b"store"
            | b"temperature"
            | b"text"
            | b"tool_choice"
            | b"tools"
            | b"top_logprobs"
            | b"top_p"
            | b"user"
    )
}

/// Reads an answer. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &Bytes, losses: &mut Losses) -> Result<Answer, Unreadable> {
    let mut body = Fields::read_answer(body, is_framing)?;
    let id = body.text("id")?.unwrap_or_default();
    let model = body.text("model")?.filter(|model| !model.is_empty());
    let created_s = body.take("created_at").and_then(|told| count(&told));
    let (status, details) = (body.text("status")?, body.take("incomplete_details"));
    let error = body.take("error");
    let output = body.needed_list("output")?;
    let usage = body.take("usage");
    let service_tier = body.text("service_tier")?;
    let stop = match status.as_deref() {
        None | Some("completed" | "incomplete") => {
            stop_reason(status.as_deref(), details.as_ref(), called(&output))
        }
        Some(status) => {
            let message = error.as_ref().and_then(|error| error.get("message")?.as_str());
            let message = message.as_deref().unwrap_or("without a reason");
            return Err(Unreadable(format!("the response is {status}: {message}")));
        }
    };
    // Padding and switches that say `auto` or `disabled` tell nothing of the answer.
    if body.take("truncation").is_some_and(|word| word != "disabled") {
        losses.push(loss("/truncation", LossKind::UnknownField, Effect::Meaning));
    }
    body.lose_rest(losses);
    let mut blocks = Vec::new();
    let mut tokens = Vec::new();
    for (index, item) in output.into_iter().enumerate() {
        item_blocks(&Origin::of_item("output", index), item, &mut blocks, &mut tokens, losses)?;
    }
    // In the shape of chat completions, which tell them of the answer as a whole.
    let logprobs = (!tokens.is_empty()).then(|| object!({"content": tokens, "refusal": Value::Null}));
    Ok(Answer {
        id,
        model,
        created_s,
        choices: vec![Choice { blocks, stop, logprobs }],
        usage: usage.and_then(|usage| decode_usage(&usage, losses)),
        service_tier,
    })
}

fn item_blocks(
    origin: &Origin,
    item: Value,
    blocks: &mut Vec<Block>,
    tokens: &mut Vec<Value>,
    losses: &mut Losses,
) -> Result<(), Unreadable> {
    let name = item.get("type").and_then(Value::as_text).cloned().unwrap_or_default();
    let said = |kind| Block { origin: origin.clone(), cache: None, kind };
    match name.as_str().as_ref() {
        "message" => {
            lose_phase(origin, &item, losses);
            let content = origin.member("content");
            for (index, part) in list(&item, "content").iter().enumerate() {
                let origin = content.item(index);
                if let Some(kind) = part_kind(&origin, part, losses) {
                    blocks.push(Block { origin, cache: None, kind });
                }
                tokens.extend(list(part, "logprobs").iter().cloned());
            }
        }
        "reasoning" => blocks.extend(reasoning::decode_item(&item, origin, losses).map(said)),
        "function_call" => {
            let (id, name) = call_names(&item).ok_or_else(|| nameless(origin))?;
            if item.get("namespace").is_some_and(tells) {
                losses.push(loss(format!("{origin}/namespace"), LossKind::ToolOption, Effect::Meaning));
            }
            let text = item.get("arguments").and_then(Value::as_text).cloned().unwrap_or_default();
            let input = arguments(&text, &origin.member("arguments"), losses);
            blocks.push(said(BlockKind::ToolUse { id, name, input }));
        }
        _ => blocks.push(said(BlockKind::Foreign { name: name.to_string(), value: item })),
    }
    Ok(())
}

/// What a part of a message is; nothing where it tells nothing.
pub(super) fn part_kind(origin: &Origin, part: &Value, losses: &mut Losses) -> Option<BlockKind> {
    let text = |key: &str| part.get(key).and_then(Value::as_text).cloned().unwrap_or_default();
    let kind = match text("type").as_str().as_ref() {
        "output_text" => {
            let text = text("text");
            BlockKind::Text { citations: citations(origin, part, &text, losses), text }
        }
        "refusal" => BlockKind::Refusal { text: text("refusal") },
        _ => {
            losses.push_once(loss(origin, LossKind::Media, Effect::Meaning));
            return None;
        }
    };
    match &kind {
        BlockKind::Text { text, citations: _ } | BlockKind::Refusal { text } if text.is_empty() => None,
        _ => Some(kind),
    }
}

/// What the text of a part rests on.
fn citations(origin: &Origin, part: &Value, text: &Text, losses: &mut Losses) -> Vec<Citation> {
    let told = list(part, "annotations");
    if told.is_empty() {
        return Vec::new();
    }
    let pointer = origin.member("annotations");
    if text.is_empty() {
        losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
        return Vec::new();
    }
    decode_annotations(&pointer, told, losses)
}

/// Records that a message said which phase of the answer it is.
pub(super) fn lose_phase(origin: &Origin, message: &Value, losses: &mut Losses) {
    if message.get("phase").is_some_and(tells) {
        losses.push_once(loss(format!("{origin}/phase"), LossKind::Metadata, Effect::Meaning));
    }
}

/// Id and name of a call; nothing where it has no name.
pub(super) fn call_names(item: &Value) -> Option<(String, String)> {
    let text = |key: &str| item.get(key).and_then(Value::as_text).map(Text::to_string).unwrap_or_default();
    let name = text("name");
    (!name.is_empty()).then(|| (text("call_id"), name))
}

/// The error of a call that nobody could make.
pub(super) fn nameless(origin: &Origin) -> Unreadable {
    Unreadable(format!("{origin}: a call of a tool without a name"))
}

/// A list in an object; empty where there is none.
pub(super) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether the model has called a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Nothing,
    Functions,
}

fn called(output: &[Value]) -> Called {
    let is_call = |item: &Value| item.get("type").is_some_and(|kind| kind == "function_call");
    if output.iter().any(is_call) { Called::Functions } else { Called::Nothing }
}

/// Why the model stopped. This dialect does not say that it waits for its functions: the calls tell.
pub(super) fn stop_reason(status: Option<&str>, details: Option<&Value>, called: Called) -> StopReason {
    let reason = details.and_then(|details| details.get("reason")?.as_str());
    match (status, reason.as_deref(), called) {
        (Some("incomplete"), Some("max_output_tokens"), _) => StopReason::OutputLimit,
        (Some("incomplete"), Some("content_filter"), _) => StopReason::Refusal,
        (Some("incomplete"), reason, _) => StopReason::Other(reason.unwrap_or("incomplete").to_owned()),
        (_, _, Called::Functions) => StopReason::ToolUse,
        (_, _, Called::Nothing) => StopReason::EndOfTurn,
    }
}
