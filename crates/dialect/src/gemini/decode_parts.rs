//! The instructions and the contents of a request, read into the hub.
//!
//! Source: `google.genai.types.Content` and `Part`.

use std::collections::{HashMap, HashSet, VecDeque};

use tollgate_chat::{Block, BlockKind, Effect, LossKind, Losses, Origin, Turn};
use tollgate_wire::json::{Item, Map, Text, Value};

use super::encode_parts::NO_SIGNATURE;
use super::media::{decode_file, decode_inline, decode_resolution};
use super::names;
use super::redacted;
use crate::Invalid;
use crate::data::standard_base64;
use crate::fields::{Fields, loss, missing, tells, wrong};
use crate::plain::{Parts, PlainTurn, PlainTurns, Said, Speaker};

pub(crate) const PLAIN: PlainTurns = PlainTurns {
    list: "contents",
    speakers: &[
        ("user", Speaker::User),
        ("model", Speaker::Model),
        // Results of functions had a role of their own once.
        ("function", Speaker::User),
        ("", Speaker::User),
    ],
    kind: None,
    content: "parts",
    parts: Parts::Untyped,
};

/// Parts that only the provider's own tools say.
const SERVER_PARTS: [&str; 4] = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];

/// Instructions.
pub(super) fn system(fields: &mut Fields, losses: &mut Losses) -> Result<Vec<Block>, Invalid> {
    let Some(mut content) = names::member(fields, "systemInstruction")? else { return Ok(Vec::new()) };
    // Whatever it says, it is the system that speaks.
    content.take("role");
    let blocks = Calls::default().parts(&mut content, losses)?;
    content.lose_rest(losses);
    Ok(blocks)
}

/// Turns.
pub(super) fn turns(
    contents: Option<Vec<Item<PlainTurn>>>,
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<Vec<Turn>, Invalid> {
    let at = |index| Origin::of_item("contents", index);
    let mut calls = Calls::default();
    let mut said = Said::default();
    for (index, content) in PLAIN.of(contents, fields)?.into_iter().enumerate() {
        let PlainTurn { speaker, blocks } = match content {
            Item::Read(turn) => turn,
            Item::Value(content) => calls.turn(names::object(content, at(index))?, losses)?,
        };
        said.say(speaker, blocks, || at(index), losses);
    }
    Ok(said.turns)
}

/// Calls of functions need no ids there, but everywhere else.
#[derive(Default)]
struct Calls {
    count: usize,
    /// Ids of the calls without a result, by the name of the function; the oldest first.
    open: HashMap<String, VecDeque<String>>,
    /// All ids, and those that have a result.
    ids: HashSet<String>,
    told: HashSet<String>,
}

impl Calls {
    fn turn(&mut self, mut content: Fields, losses: &mut Losses) -> Result<PlainTurn, Invalid> {
        let role = content.written("role")?.unwrap_or_default();
        let Some(speaker) = PLAIN.speaker(&role.as_bytes()) else {
            return Err(wrong(content.at("role"), "user or model", &Value::from(role)));
        };
        let blocks = self.parts(&mut content, losses)?;
        content.lose_rest(losses);
        Ok(PlainTurn { speaker, blocks })
    }

    fn parts(&mut self, content: &mut Fields, losses: &mut Losses) -> Result<Vec<Block>, Invalid> {
        let mut blocks = Vec::new();
        for part in names::members(content, "parts")? {
            self.part(part, &mut blocks, losses)?;
        }
        Ok(blocks)
    }

    fn part(
        &mut self,
        mut part: Fields,
        blocks: &mut Vec<Block>,
        losses: &mut Losses,
    ) -> Result<(), Invalid> {
        let origin = part.pointer.clone();
        let signature = part.written("thoughtSignature")?.filter(|signature| !signature.is_empty());
        // It proves nothing.
        let signature = signature.filter(|signature| *signature != NO_SIGNATURE);
        // Google's own client writes bytes in the alphabet of URLs; a signature must come back as it was told.
        let signature = signature.map(standard_base64);
        let is_thought = part.truth("thought")?.unwrap_or(false);
        let redacted = if is_thought { signature.as_ref().and_then(redacted::decode) } else { None };
        if let Some(text) = part.written("text")? {
            let kind = if let Some(redacted) = redacted {
                redacted
            } else if is_thought {
                BlockKind::Thinking { text, signature }
            } else {
                sign(&origin, signature, blocks);
                BlockKind::Text { text, citations: Vec::new() }
            };
            // A part for a signature alone has an empty text.
            let says = !matches!(&kind, BlockKind::Text { text, .. } if text.is_empty());
            part.lose_rest(losses);
            if says {
                blocks.push(Block { origin, cache: None, kind });
            }
            return Ok(());
        }
        sign(&origin, signature, blocks);
        let kind = if let Some(call) = names::member(&mut part, "functionCall")? {
            self.call(call, losses)?
        } else if let Some(result) = names::member(&mut part, "functionResponse")? {
            self.result(result, losses)?
        } else if let Some(kind) = media(&mut part, losses)? {
            kind
        } else {
            foreign(part, blocks, losses);
            return Ok(());
        };
        part.lose_rest(losses);
        blocks.push(Block { origin, cache: None, kind });
        Ok(())
    }

    fn call(&mut self, mut call: Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
        let name = call.needed_text("name")?;
        let id =
            call.text("id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", self.count));
        self.count += 1;
        let input = match call.take("args") {
            None => Value::Object(Map::new()),
            Some(input @ Value::Object(_)) => input,
            Some(other) => return Err(wrong(call.at("args"), "an object", &other)),
        };
        call.lose_rest(losses);
        self.ids.insert(id.clone());
        self.open.entry(name.clone()).or_default().push_back(id.clone());
        Ok(BlockKind::ToolUse { id, name, input })
    }

    /// The call that a result is of: the one with the id that it tells, else the oldest one of its function.
    fn meant(&mut self, name: &str, told: Option<String>) -> Option<String> {
        if let Some(id) = told {
            return (self.ids.contains(&id) && self.told.insert(id.clone())).then_some(id);
        }
        let waiting = self.open.get_mut(name)?;
        while let Some(id) = waiting.pop_front() {
            if self.told.insert(id.clone()) {
                return Some(id);
            }
        }
        None
    }

    fn result(&mut self, mut result: Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
        let origin = result.pointer.clone();
        let name = result.needed_text("name")?;
        let told = result.text("id")?.filter(|id| !id.is_empty());
        let id = self.meant(&name, told).ok_or_else(|| {
            let message = format!("{origin}: the result of {name:?} follows no call of it");
            Invalid::unprocessable(message, origin.clone())
        })?;
        let response = result.take("response").unwrap_or_else(|| Value::Object(Map::new()));
        let (text, is_error) = response_text(response);
        let mut content = vec![Block::text(format!("{origin}/response"), text)];
        for mut part in names::members(&mut result, "parts")? {
            let origin = part.pointer.clone();
            let kind = media(&mut part, losses)?.ok_or_else(|| missing(format!("{origin}/inlineData")))?;
            part.lose_rest(losses);
            content.push(Block { origin, cache: None, kind });
        }
        for key in ["willContinue", "scheduling"] {
            if result.take(key).is_some_and(|value| tells(&value)) {
                losses.push(loss(result.at(key), LossKind::ToolOption, Effect::Meaning));
            }
        }
        result.lose_rest(losses);
        Ok(BlockKind::ToolResult { id, content, is_error })
    }
}

/// The signature of a part stands before it, as reasoning without a text.
fn sign(origin: &Origin, signature: Option<Text>, blocks: &mut Vec<Block>) {
    let kind =
        signature.map(|signature| BlockKind::Thinking { text: Text::default(), signature: Some(signature) });
    blocks.extend(kind.map(|kind| Block { origin: origin.clone(), cache: None, kind }));
}

/// What a function came to, and whether it failed. `output` and `error` are the words for it, and all other objects are
/// outputs as they are. An error stays in its object, since that is how other dialects know one.
fn response_text(response: Value) -> (Text, bool) {
    let is_error = response.get("error").is_some_and(tells);
    let output =
        response.as_object().filter(|members| members.len() == 1).and_then(|only| only.get("output"));
    match output {
        Some(Value::String(text)) => (text.clone(), false),
        Some(output @ Value::Object(_)) => (Text::of_document(output), false),
        _ => (Text::of_document(&response), is_error),
    }
}

/// An image, document or sound.
fn media(part: &mut Fields, losses: &mut Losses) -> Result<Option<BlockKind>, Invalid> {
    let kind = if let Some(mut blob) = names::member(part, "inlineData")? {
        let kind = decode_inline(&mut blob, losses)?;
        blob.lose_rest(losses);
        kind
    } else if let Some(mut file) = names::member(part, "fileData")? {
        let kind = decode_file(&mut file, losses)?;
        file.lose_rest(losses);
        kind
    } else {
        return Ok(None);
    };
    let detail = decode_resolution(part, losses)?;
    Ok(Some(match kind {
        BlockKind::Image { source, detail: None } => BlockKind::Image { source, detail },
        kind => {
            if detail.is_some() {
                losses.push(loss(part.at("mediaResolution"), LossKind::Media, Effect::Cost));
            }
            kind
        }
    }))
}

/// What only this dialect says, whole.
fn foreign(part: Fields, blocks: &mut Vec<Block>, losses: &mut Losses) {
    let origin = part.pointer.clone();
    let value = part.into_value();
    match SERVER_PARTS.into_iter().find(|name| value.get(name).is_some_and(tells)) {
        Some(name) => {
            let kind = BlockKind::Foreign { name: name.to_owned(), value };
            blocks.push(Block { origin, cache: None, kind });
        }
        None if tells(&value) => losses.push(loss(origin, LossKind::UnknownField, Effect::Meaning)),
        None => {}
    }
}
