//! The messages of a chat completion request, read into the hub.
//!
//! Source: `openai.types.chat.ChatCompletionMessageParam`.

use tollgate_chat::{Block, BlockKind, Effect, LossKind, Losses, Origin, Role};
use tollgate_wire::json::{Item, Value};

use super::annotations::annotate;
use super::parts;
use super::says_error;
use crate::Invalid;
use crate::fields::{Fields, loss, tells, wrong};
use crate::plain::{Parts, PlainTurn, PlainTurns, Said, Speaker};

pub(crate) const PLAIN: PlainTurns = PlainTurns {
    list: "messages",
    speakers: &[
        ("system", Speaker::System),
        ("developer", Speaker::System),
        ("user", Speaker::User),
        ("assistant", Speaker::Model),
    ],
    kind: None,
    content: "content",
    parts: Parts::Typed(&["text"]),
};

/// Instructions and turns.
pub(super) fn messages(messages: Vec<Item<PlainTurn>>, losses: &mut Losses) -> Result<Said, Invalid> {
    let mut said = Said::default();
    let mut legacy = None;
    for (index, message) in messages.into_iter().enumerate() {
        let message = match message {
            Item::Value(message) => message,
            Item::Read(PlainTurn { speaker, blocks }) => {
                said.say(speaker, blocks, || Origin::of_item("messages", index), losses);
                continue;
            }
        };
        let mut message = Fields::of(message, Origin::of_item("messages", index))?;
        let role = message.needed_written("role")?;
        // The name of a function stands for the id of its call.
        if role != "function" && message.take("name").is_some() {
            losses.push(loss(message.at("name"), LossKind::Metadata, Effect::Meaning));
        }
        match (PLAIN.speaker(&role.as_bytes()), role.as_bytes().as_ref()) {
            (Some(speaker @ (Speaker::System | Speaker::User)), _) => {
                let blocks = parts::content(&mut message, speaker, losses)?;
                said.say(speaker, blocks, || message.pointer.clone(), losses);
                message.lose_rest(losses);
            }
            (None, b"tool") => {
                let id = message.needed_text("tool_call_id")?;
                said.push(Role::User, vec![tool_result(message, id, losses)?]);
            }
            (None, b"function") => {
                let name = message.needed_text("name")?;
                let id = legacy.take().and_then(|call: LegacyCall| (call.name == name).then_some(call.id));
                let id = id.ok_or_else(|| {
                    let text = format!("the result of {name:?} follows no call of it");
                    Invalid::unprocessable(text, message.pointer.clone())
                })?;
                said.push(Role::User, vec![tool_result(message, id, losses)?]);
            }
            (Some(Speaker::Model), _) => {
                let call = message.object("function_call")?;
                let mut blocks = assistant(message, losses)?;
                if let Some(call) = call {
                    let call = LegacyCall::read(call, index, &mut blocks, losses)?;
                    legacy = Some(call);
                }
                said.push(Role::Assistant, blocks);
            }
            (None, _) => {
                let found = Value::from(role.clone());
                return Err(wrong(message.at("role"), "system, developer, user, assistant or tool", &found));
            }
        }
    }
    Ok(said)
}

/// A call from before `tool_calls`, which has no id: its result is told by the next message of role `function`.
struct LegacyCall {
    id: String,
    name: String,
}

impl LegacyCall {
    fn read(
        mut call: Fields,
        message: usize,
        blocks: &mut Vec<Block>,
        losses: &mut Losses,
    ) -> Result<Self, Invalid> {
        let id = format!("function_call_{message}");
        let (name, input) = function(&mut call, losses)?;
        let kind = BlockKind::ToolUse { id: id.clone(), name: name.clone(), input };
        blocks.push(Block { origin: call.pointer.clone(), cache: None, kind });
        call.lose_rest(losses);
        Ok(Self { id, name })
    }
}

fn tool_result(mut message: Fields, id: String, losses: &mut Losses) -> Result<Block, Invalid> {
    let origin = message.pointer.clone();
    let mut cache = message.cache_point(losses)?;
    let mut content = parts::content(&mut message, Speaker::User, losses)?;
    // A cache point on the last part means the end of the result.
    cache = cache.or_else(|| content.last_mut().and_then(|block| block.cache.take()));
    message.lose_rest(losses);
    let is_error = content.iter().any(|block| match &block.kind {
        BlockKind::Text { text, .. } => says_error(text),
        _ => false,
    });
    Ok(Block { origin, cache, kind: BlockKind::ToolResult { id, content, is_error } })
}

fn assistant(mut message: Fields, losses: &mut Losses) -> Result<Vec<Block>, Invalid> {
    let mut blocks = parts::thinking_blocks(&mut message, losses)?;
    let has_thinking = !blocks.is_empty();
    let content = parts::content(&mut message, Speaker::Model, losses)?;
    blocks.extend(content.into_iter().filter(|block| !has_thinking || !parts::is_thinking(block)));
    if let Some(text) = message.written("refusal")? {
        let origin = message.at("refusal");
        blocks.push(Block { origin, cache: None, kind: BlockKind::Refusal { text } });
    }
    // Its text alone cannot be given back to a model that wants its signature; signed blocks come in `thinking_blocks`.
    if message.take("reasoning_content").is_some_and(|text| tells(&text)) && !has_thinking {
        losses.push(loss(message.at("reasoning_content"), LossKind::Thinking, Effect::Meaning));
    }
    // The API's definition has them in answers alone, but clients say the answer again as it was.
    if let Some(annotations) = message.take("annotations") {
        annotate(&message.at("annotations"), annotations, &mut blocks, losses);
    }
    for (index, call) in message.list("tool_calls")?.into_iter().enumerate() {
        let call = Fields::of(call, format!("{}/tool_calls/{index}", message.pointer))?;
        blocks.push(tool_call(call, losses)?);
    }
    if message.take("audio").is_some() {
        losses.push(loss(message.at("audio"), LossKind::Media, Effect::Meaning));
    }
    message.lose_rest(losses);
    Ok(blocks)
}

fn tool_call(mut call: Fields, losses: &mut Losses) -> Result<Block, Invalid> {
    let origin = call.pointer.clone();
    let id = call.needed_text("id")?;
    call.take("type");
    call.take("index");
    let cache = call.cache_point(losses)?;
    let Some(mut function) = call.object("function")? else {
        return Err(Invalid::unprocessable("only calls of functions can be translated", origin));
    };
    let (name, input) = self::function(&mut function, losses)?;
    function.lose_rest(losses);
    call.lose_rest(losses);
    Ok(Block { origin, cache, kind: BlockKind::ToolUse { id, name, input } })
}

/// Name and arguments of a call.
fn function(function: &mut Fields, losses: &mut Losses) -> Result<(String, Value), Invalid> {
    let name = function.needed_text("name")?;
    let arguments = function.written("arguments")?.unwrap_or_default();
    let input = parts::arguments(&arguments, &function.at("arguments"), losses);
    Ok((name, input))
}
