//! One part of an answer, read into the hub; streams and whole answers have the same ones.
//!
//! Source: `google.genai.types.Part`.

use tollgate_chat::{BlockKind, Effect, ImageSource, LossKind, Losses, Origin};
use tollgate_wire::json::{Map, Text, Value};

use crate::Unreadable;
use crate::fields::{lose_members, loss};

/// A part: the signature that it carries for itself, and what it is.
pub(super) struct Part {
    /// The proof of the thoughts before a text or a call; that of a thought is in its block.
    pub(super) signature: Option<Text>,
    /// `None` where it says nothing, or nothing that the hub has room for.
    pub(super) kind: Option<BlockKind>,
}

/// Reads a part, leniently. What the hub has no room for is recorded in `losses`.
pub(super) fn part(origin: &Origin, mut members: Map, losses: &mut Losses) -> Result<Part, Unreadable> {
    let signature = match members.remove("thoughtSignature") {
        Some(Value::String(signature)) if !signature.is_empty() => Some(signature),
        _ => None,
    };
    let is_thought = members.remove("thought") == Some(Value::Bool(true));
    let part = if let Some(Value::String(text)) = members.remove("text") {
        if is_thought {
            let says = !text.is_empty() || signature.is_some();
            let kind = says.then_some(BlockKind::Thinking { text, signature });
            Part { signature: None, kind }
        } else {
            let says = !text.is_empty();
            Part { signature, kind: says.then_some(BlockKind::Text { text, citations: Vec::new() }) }
        }
    } else if let Some(Value::Object(call)) = members.remove("functionCall") {
        Part { signature, kind: Some(function_call(origin, call, losses)?) }
    } else if let Some(data) = members.remove("inlineData") {
        Part { signature, kind: image(origin, &data, losses) }
    } else {
        let server = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];
        match server.into_iter().find(|name| members.contains_key(name)) {
            Some(name) => {
                let value = Value::Object(std::mem::take(&mut members));
                Part { signature, kind: Some(BlockKind::Foreign { name: name.to_owned(), value }) }
            }
            None => Part { signature, kind: None },
        }
    };
    lose_members(origin, &members, &[], losses);
    Ok(part)
}

fn function_call(origin: &Origin, mut call: Map, losses: &mut Losses) -> Result<BlockKind, Unreadable> {
    let mut text = |key: &str| match call.remove(key) {
        Some(Value::String(text)) => text.into_string(),
        _ => String::new(),
    };
    let (id, name) = (text("id"), text("name"));
    let input = match call.remove("args") {
        Some(input @ Value::Object(_)) => input,
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(_) => {
            losses.push_once(loss(
                format!("{origin}/functionCall/args"),
                LossKind::ToolOption,
                Effect::Meaning,
            ));
            Value::Object(Map::new())
        }
    };
    // Arguments in pieces come only to those who ask for them.
    lose_members(&origin.member("functionCall"), &call, &[], losses);
    if name.is_empty() {
        return Err(Unreadable(format!("{origin}: a call of a function without a name")));
    }
    Ok(BlockKind::ToolUse { id, name, input })
}

fn image(origin: &Origin, data: &Value, losses: &mut Losses) -> Option<BlockKind> {
    let text = |key: &str| data.get(key).and_then(Value::as_text);
    match (text("mimeType").map(Text::to_string), text("data").cloned()) {
        (Some(media_type), Some(data)) if media_type.starts_with("image/") => {
            let source = ImageSource::Base64 { media_type, data };
            Some(BlockKind::Image { source, detail: None })
        }
        _ => {
            losses.push_once(loss(format!("{origin}/inlineData"), LossKind::Media, Effect::Meaning));
            None
        }
    }
}
