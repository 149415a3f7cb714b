//! The system prompt and the messages of a messages request.
//!
//! Source: `anthropic.types.MessageParam` and `ContentBlockParam`.

use tollgate_chat::{
    Block, BlockKind, CachePoint, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin, Role, Turn,
};
use tollgate_wire::json::{Around, Value, WrittenList};

use super::citations;
use super::encode_request::cache_control;
use crate::Invalid;
use crate::data::base64_text;
use crate::fields::{Members, lose_cache_point, lose_citations, loss, members, object};
use crate::messages::{MessageWords, Messages, SideWords, only_text, results_first};

/// How messages are said.
pub(crate) const MESSAGES: MessageWords = MessageWords {
    user: SideWords {
        role: "user",
        around: Around { before: r#"{"role":"user","content":[{"type":"text","text":"#, behind: "}]}" },
    },
    model: SideWords {
        role: "assistant",
        around: Around { before: r#"{"role":"assistant","content":[{"type":"text","text":"#, behind: "}]}" },
    },
    content: "content",
    part: |text| object!({"type": "text", "text": text}),
};

/// Instructions. Those that say nothing are left out: the API refuses empty texts.
pub(super) fn system_blocks(blocks: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
    let mut said = Vec::with_capacity(blocks.len());
    for Block { origin, cache, kind } in blocks {
        let BlockKind::Text { text, citations } = kind else {
            return Err(Invalid::unprocessable(
                "instructions hold nothing but text at the backend of this model",
                origin,
            ));
        };
        if text.is_empty() {
            lose_cache_point(&origin, cache.as_ref(), losses);
            continue;
        }
        lose_citations(&origin, &citations, losses);
        said.push(with_cache(members!({"type": "text", "text": text}), cache));
    }
    Ok(said)
}

/// The messages.
pub(super) fn turns(turns: Vec<Turn>, losses: &mut Losses) -> Result<WrittenList, Invalid> {
    let mut messages = Messages::of(&turns, &MESSAGES);
    for Turn { role, blocks } in turns {
        match only_text(blocks) {
            Ok(text) => messages.say_text(role, text),
            Err(blocks) => messages.say(role, turn(role, blocks, losses)?),
        }
    }
    Ok(messages.end())
}

fn turn(role: Role, mut blocks: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
    if role == Role::User {
        results_first(&mut blocks);
    }
    let mut said = Vec::with_capacity(blocks.len());
    for block in blocks {
        said.extend(encode_block(block, role, losses)?);
    }
    Ok(said)
}

/// One block; none where there are no words for it and the loss can be borne.
fn encode_block(block: Block, role: Role, losses: &mut Losses) -> Result<Option<Value>, Invalid> {
    let Block { origin, cache, kind } = block;
    let value = match kind {
        // The API refuses empty texts.
        BlockKind::Text { text, citations: _ } if text.is_empty() => {
            lose_cache_point(&origin, cache.as_ref(), losses);
            return Ok(None);
        }
        BlockKind::Text { text, citations } => {
            let said = citations::encode_past(&origin, citations, losses);
            let mut text = members!({"type": "text", "text": text});
            text.set("citations", said);
            text
        }
        BlockKind::Refusal { text } => members!({"type": "text", "text": text}),
        BlockKind::Thinking { text, signature: Some(signature) } => {
            members!({"type": "thinking", "thinking": text, "signature": signature})
        }
        BlockKind::Thinking { text: _, signature: None } => {
            // The API takes reasoning back only with its signature.
            losses.push(loss(origin, LossKind::Thinking, Effect::Meaning));
            return Ok(None);
        }
        BlockKind::RedactedThinking { data } => {
            members!({"type": "redacted_thinking", "data": data})
        }
        BlockKind::ToolUse { id, name, input } => {
            members!({"type": "tool_use", "id": id, "name": name, "input": input})
        }
        BlockKind::ToolResult { id, content, is_error } => tool_result(id, content, is_error, losses)?,
        BlockKind::Image { source, detail } => {
            if detail.is_some_and(|detail| detail != "auto") {
                losses.push(loss(format!("{origin}/image_url/detail"), LossKind::Media, Effect::Cost));
            }
            members!({"type": "image", "source": image(&origin, source)?})
        }
        BlockKind::Document { source, title, context, cites } => {
            let mut document = members!({"type": "document", "source": document_source(&origin, source)?});
            document.set("title", title);
            document.set("context", context);
            document.set("citations", cites.then(|| object!({"enabled": true})));
            document
        }
        BlockKind::Audio { .. } => {
            return Err(Invalid::unprocessable("the backend of this model takes no audio", origin));
        }
        BlockKind::Foreign { name: _, value: _ } if role == Role::Assistant => {
            losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            return Ok(None);
        }
        BlockKind::Foreign { name, value: _ } => {
            let message = format!("the backend of this model has no element {name:?}");
            return Err(Invalid::unprocessable(message, origin));
        }
    };
    Ok(Some(with_cache(value, cache)))
}

fn tool_result(
    id: String,
    content: Vec<Block>,
    is_error: bool,
    losses: &mut Losses,
) -> Result<Members, Invalid> {
    let mut blocks = Vec::with_capacity(content.len());
    for block in content {
        blocks.extend(encode_block(block, Role::User, losses)?);
    }
    let mut result = members!({"type": "tool_result", "tool_use_id": id});
    result.set("content", (!blocks.is_empty()).then_some(blocks));
    result.set("is_error", is_error.then_some(true));
    Ok(result)
}

fn image(origin: &Origin, source: ImageSource) -> Result<Value, Invalid> {
    match source {
        ImageSource::Base64 { media_type, data } => match media_type.as_str() {
            "image/jpeg" | "image/png" | "image/gif" | "image/webp" => {
                Ok(object!({"type": "base64", "media_type": media_type, "data": data}))
            }
            other => Err(Invalid::unprocessable(
                format!("the backend of this model takes images as jpeg, png, gif or webp, not as {other:?}"),
                origin,
            )),
        },
        ImageSource::Url(url) if url.starts_with("data:") => {
            Err(Invalid::unprocessable("only base64 can stand in a data URI", origin))
        }
        ImageSource::Url(url) => Ok(object!({"type": "url", "url": url})),
    }
}

fn document_source(origin: &Origin, source: DocumentSource) -> Result<Value, Invalid> {
    let text = match source {
        DocumentSource::Base64 { media_type, data } => match media_type.as_str() {
            "application/pdf" => {
                return Ok(object!({"type": "base64", "media_type": media_type, "data": data}));
            }
            "text/plain" => base64_text(&data.as_str())
                .ok_or_else(|| Invalid::unprocessable("expected a text of UTF-8 in base64", origin))?
                .into(),
            other => {
                return Err(Invalid::unprocessable(
                    format!(
                        "the backend of this model takes documents as PDF or plain text, not as {other:?}"
                    ),
                    origin,
                ));
            }
        },
        DocumentSource::Text(text) => text,
        DocumentSource::Url(url) => return Ok(object!({"type": "url", "url": url})),
        DocumentSource::File(id) => return Ok(object!({"type": "file", "file_id": id})),
    };
    Ok(object!({"type": "text", "media_type": "text/plain", "data": text}))
}

fn with_cache(mut members: Members, cache: Option<CachePoint>) -> Value {
    members.set("cache_control", cache.map(cache_control));
    members.value()
}
