//! Content blocks of requests, read into the hub.
//!
//! Source: `anthropic.types.ContentBlockParam`.

use tollgate_chat::{Block, BlockKind, DocumentSource, Effect, ImageSource, LossKind, Losses};
use tollgate_wire::json::{Map, Text, Value};

use super::citations;
use crate::Invalid;
use crate::fields::{Fields, lose_citations, loss, missing};

/// The content of a message, a system prompt or a tool's result: a text or a list of blocks.
pub(super) fn content(
    owner: &mut Fields,
    key: &'static str,
    losses: &mut Losses,
) -> Result<Vec<Block>, Invalid> {
    owner.content(key, |fields| block(fields, losses))
}

fn block(mut fields: Fields, losses: &mut Losses) -> Result<Block, Invalid> {
    let cache = fields.cache_point(losses)?;
    let name = fields.needed_written("type")?;
    let kind = match name.as_bytes().as_ref() {
        b"text" => {
            let citations = match fields.list("citations")? {
                told if told.is_empty() => Vec::new(),
                told => citations::decode(&fields.at("citations"), told, losses),
            };
            BlockKind::Text { text: fields.needed_written("text")?, citations }
        }
        b"thinking" => BlockKind::Thinking {
            text: fields.needed_written("thinking")?,
            signature: fields.written("signature")?.filter(|signature| !signature.is_empty()),
        },
        b"redacted_thinking" => BlockKind::RedactedThinking { data: fields.needed_written("data")? },
        b"tool_use" => BlockKind::ToolUse {
            id: fields.needed_text("id")?,
            name: fields.needed_text("name")?,
            input: fields.take("input").unwrap_or_else(|| Value::Object(Map::new())),
        },
        b"tool_result" => BlockKind::ToolResult {
            id: fields.needed_text("tool_use_id")?,
            content: content(&mut fields, "content", losses)?,
            is_error: fields.truth("is_error")?.unwrap_or(false),
        },
        b"image" => match image(&mut fields, losses)? {
            Some(source) => BlockKind::Image { source, detail: None },
            None => return Ok(fields.into_foreign(cache, name)),
        },
        b"document" => match document(&mut fields, losses)? {
            Some(source) => BlockKind::Document {
                source,
                title: fields.text("title")?,
                context: fields.text("context")?,
                cites: cites(&mut fields, losses)?,
            },
            None => return Ok(fields.into_foreign(cache, name)),
        },
        _ => return Ok(fields.into_foreign(cache, name)),
    };
    // Who called a tool says nothing about the call.
    fields.take("caller");
    Ok(Block { origin: fields.end(losses), cache, kind })
}

fn image(fields: &mut Fields, losses: &mut Losses) -> Result<Option<ImageSource>, Invalid> {
    let pointer = fields.at("source");
    let mut source = fields.object("source")?.ok_or_else(|| missing(&pointer))?;
    let image = match source.needed_text("type")?.as_str() {
        "base64" => ImageSource::Base64 {
            media_type: source.needed_text("media_type")?,
            data: source.needed_written("data")?,
        },
        "url" => ImageSource::Url(source.needed_text("url")?),
        _ => return Ok(None),
    };
    source.lose_rest(losses);
    Ok(Some(image))
}

fn document(fields: &mut Fields, losses: &mut Losses) -> Result<Option<DocumentSource>, Invalid> {
    let pointer = fields.at("source");
    let mut source = fields.object("source")?.ok_or_else(|| missing(&pointer))?;
    let document = match source.needed_text("type")?.as_str() {
        "base64" => DocumentSource::Base64 {
            media_type: source.needed_text("media_type")?,
            data: source.needed_written("data")?,
        },
        "text" => {
            source.take("media_type");
            DocumentSource::Text(source.needed_written("data")?)
        }
        "url" => DocumentSource::Url(source.needed_text("url")?),
        "file" => DocumentSource::File(source.needed_text("file_id")?),
        "content" => DocumentSource::Text(joined_text(content(&mut source, "content", losses)?, losses)),
        _ => return Ok(None),
    };
    source.lose_rest(losses);
    Ok(Some(document))
}

/// The text of a document that is given in blocks: the hub knows it as one.
fn joined_text(blocks: Vec<Block>, losses: &mut Losses) -> Text {
    let mut texts = Vec::with_capacity(blocks.len());
    for Block { origin, cache, kind } in blocks {
        if cache.is_some() {
            losses.push(loss(format!("{origin}/cache_control"), LossKind::CachePoint, Effect::Cost));
        }
        match kind {
            BlockKind::Text { text, citations } => {
                lose_citations(&origin, &citations, losses);
                texts.push(text);
            }
            _ => losses.push(loss(origin, LossKind::Media, Effect::Meaning)),
        }
    }
    Text::join(texts, "\n")
}

fn cites(fields: &mut Fields, losses: &mut Losses) -> Result<bool, Invalid> {
    match fields.object("citations")? {
        Some(mut citations) => {
            let is_enabled = citations.truth("enabled")?.unwrap_or(false);
            citations.lose_rest(losses);
            Ok(is_enabled)
        }
        None => Ok(false),
    }
}
