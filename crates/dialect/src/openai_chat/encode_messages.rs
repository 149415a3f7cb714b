//! The messages of a chat completion request.
//!
//! Source: `openai.types.chat.ChatCompletionMessageParam`. A message with one text is a plain string, which the most servers take.

use tollgate_chat::{
    Block, BlockKind, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin, Role, Turn,
};
use tollgate_wire::json::{Around, Text, Value, WrittenList};

use super::says_error;
use crate::Invalid;
use crate::fields::{Members, list_of_parts, lose_cache_point, lose_citations, loss, object};
use crate::messages::{only_text, room_for};

/// A message of nothing but a text.
const fn around(before: &'static str) -> Around {
    Around { before, behind: "}" }
}
const SYSTEM: Around = around(r#"{"role":"system","content":"#);
const USER: Around = around(r#"{"role":"user","content":"#);
const ASSISTANT: Around = around(r#"{"role":"assistant","content":"#);

/// Instructions and turns.
pub(super) fn messages(
    system: Vec<Block>,
    turns: Vec<Turn>,
    losses: &mut Losses,
) -> Result<WrittenList, Invalid> {
    let mut out = room_for(&turns);
    if !system.is_empty() {
        out.push_around(SYSTEM, &joined_text(system, losses)?);
    }
    for Turn { role, blocks } in turns {
        match (only_text(blocks), role) {
            (Ok(text), Role::User) => out.push_around(USER, &text),
            (Ok(text), Role::Assistant) => out.push_around(ASSISTANT, &text),
            (Err(blocks), Role::User) => push_user(&mut out, blocks, losses)?,
            (Err(blocks), Role::Assistant) => {
                assistant(blocks, losses)?.iter().for_each(|message| out.push(message));
            }
        }
    }
    if out.is_empty() {
        return Err(Invalid::bad_request("messages: at least one is required"));
    }
    Ok(out)
}

/// Texts as one: several places for instructions are one here.
fn joined_text(blocks: Vec<Block>, losses: &mut Losses) -> Result<Text, Invalid> {
    let mut texts = Vec::with_capacity(blocks.len());
    for Block { origin, cache, kind } in blocks {
        lose_cache_point(&origin, cache.as_ref(), losses);
        let BlockKind::Text { text, citations } = kind else {
            return Err(Invalid::unprocessable(
                "only text can stand here for the backend of this model",
                origin,
            ));
        };
        lose_citations(&origin, &citations, losses);
        texts.push(text);
    }
    Ok(Text::join(texts, "\n"))
}

fn push_user(out: &mut WrittenList, blocks: Vec<Block>, losses: &mut Losses) -> Result<(), Invalid> {
    let mut parts = Vec::new();
    let mut is_said = false;
    for block in blocks {
        let Block { origin, cache, kind } = block;
        lose_cache_point(&origin, cache.as_ref(), losses);
        match kind {
            BlockKind::ToolResult { id, content, is_error } => {
                let (text, media) = tool_result(&origin, content, is_error, losses)?;
                out.push(&object!({"role": "tool", "tool_call_id": id, "content": text}));
                parts.extend(media);
                is_said = true;
            }
            kind => parts.push(user_part(origin, kind, losses)?),
        }
    }
    if !parts.is_empty() || !is_said {
        out.push(&object!({"role": "user", "content": content(parts)}));
    }
    Ok(())
}

/// A single text as a plain string, all else as parts. Texts come as strings.
fn content(mut parts: Vec<Value>) -> Value {
    match parts.as_mut_slice() {
        [] => "".into(),
        [text @ Value::String(_)] => text.take(),
        _ => list_of_parts(parts, |text| object!({"type": "text", "text": text})),
    }
}

/// The text of a result, and what else is in it: a tool message holds text only, so images follow in the user's message.
fn tool_result(
    origin: &Origin,
    content: Vec<Block>,
    is_error: bool,
    losses: &mut Losses,
) -> Result<(Text, Vec<Value>), Invalid> {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    for Block { origin, cache, kind } in content {
        lose_cache_point(&origin, cache.as_ref(), losses);
        match kind {
            BlockKind::Text { text, citations } => {
                lose_citations(&origin, &citations, losses);
                texts.push(text);
            }
            kind => {
                losses.push(loss(origin.clone(), LossKind::Media, Effect::Meaning));
                media.push(user_part(origin, kind, losses)?);
            }
        }
    }
    let text = Text::join(texts, "\n");
    if is_error && !says_error(&text) {
        losses.push(loss(format!("{origin}/is_error"), LossKind::ToolOption, Effect::Meaning));
    }
    Ok((text, media))
}

/// A part of a user's message; one that is nothing but a text is a string.
fn user_part(origin: Origin, kind: BlockKind, losses: &mut Losses) -> Result<Value, Invalid> {
    match kind {
        BlockKind::Text { text, citations } => {
            lose_citations(&origin, &citations, losses);
            Ok(text.into())
        }
        BlockKind::Refusal { text } => Ok(text.into()),
        BlockKind::Image { source, detail } => {
            let mut image = Members::default();
            image.set("url", Some(image_url(source)));
            image.set("detail", detail);
            Ok(object!({"type": "image_url", "image_url": image.map}))
        }
        BlockKind::Document { source, title, context, cites } => {
            if context.is_some() {
                losses.push(loss(format!("{origin}/context"), LossKind::Media, Effect::Meaning));
            }
            if cites {
                losses.push(loss(format!("{origin}/citations"), LossKind::Citation, Effect::Meaning));
            }
            document(origin, source, title)
        }
        BlockKind::Audio { data, format } => {
            Ok(object!({"type": "input_audio", "input_audio": object!({"data": data, "format": format})}))
        }
        BlockKind::Thinking { .. }
        | BlockKind::RedactedThinking { .. }
        | BlockKind::ToolUse { .. }
        | BlockKind::ToolResult { .. } => {
            Err(Invalid::unprocessable("this element cannot stand in a user's message", origin))
        }
        BlockKind::Foreign { name, value: _ } => {
            Err(Invalid::unprocessable(format!("the backend of this model has no element {name:?}"), origin))
        }
    }
}

fn image_url(source: ImageSource) -> String {
    match source {
        ImageSource::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        ImageSource::Url(url) => url,
    }
}

fn document(origin: Origin, source: DocumentSource, title: Option<String>) -> Result<Value, Invalid> {
    match source {
        DocumentSource::Base64 { media_type, data } => {
            let mut file = Members::default();
            // The name is needed beside the data, and tells the format.
            file.set("filename", Some(title.unwrap_or_else(|| "document.pdf".to_owned())));
            file.set("file_data", Some(format!("data:{media_type};base64,{data}")));
            Ok(object!({"type": "file", "file": file.map}))
        }
        DocumentSource::Text(text) => {
            Ok(title.map_or_else(|| text.clone(), |title| format!("{title}\n\n{text}").into()).into())
        }
        DocumentSource::File(id) => Ok(object!({"type": "file", "file": object!({"file_id": id})})),
        DocumentSource::Url(_) => {
            Err(Invalid::unprocessable("the backend of this model takes no documents by URL", origin))
        }
    }
}

/// The model's message; none where nothing is left to say.
fn assistant(blocks: Vec<Block>, losses: &mut Losses) -> Result<Option<Value>, Invalid> {
    let mut parts = Vec::new();
    let mut calls = Vec::new();
    let mut refusal = Vec::new();
    for Block { origin, cache, kind } in blocks {
        lose_cache_point(&origin, cache.as_ref(), losses);
        match kind {
            BlockKind::Text { text, citations } => {
                lose_citations(&origin, &citations, losses);
                parts.push(text.into());
            }
            BlockKind::Refusal { text } => refusal.push(text),
            BlockKind::Thinking { text, signature } => {
                let mut part = Members::default();
                part.set("type", Some("thinking"));
                part.set("text", Some(text));
                part.set("signature", signature);
                parts.push(part.value());
            }
            BlockKind::RedactedThinking { data } => {
                parts.push(object!({"type": "redacted_thinking", "redactedContent": data}));
            }
            BlockKind::ToolUse { id, name, input } => {
                let function = object!({"name": name, "arguments": Text::of_document(&input)});
                calls.push(object!({"id": id, "type": "function", "function": function}));
            }
            BlockKind::Foreign { name: _, value: _ } => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            }
            BlockKind::Image { .. } | BlockKind::Document { .. } | BlockKind::Audio { .. } => {
                losses.push(loss(origin, LossKind::Media, Effect::Meaning));
            }
            BlockKind::ToolResult { .. } => {
                return Err(Invalid::unprocessable(
                    "a tool result cannot stand in the model's message",
                    origin,
                ));
            }
        }
    }
    if parts.is_empty() && calls.is_empty() && refusal.is_empty() {
        return Ok(None);
    }
    let mut message = Members::default();
    message.set("role", Some("assistant"));
    message.set("content", (!parts.is_empty()).then(|| content(parts)));
    message.set("refusal", (!refusal.is_empty()).then(|| Text::join(refusal, "")));
    message.set("tool_calls", (!calls.is_empty()).then_some(calls));
    Ok(Some(message.value()))
}
