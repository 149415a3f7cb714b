//! Content parts of messages, which requests and answers share.

use tollgate_chat::{Block, BlockKind, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin};
use tollgate_wire::json::{Text, Value};

use crate::Invalid;
use crate::data::data_uri;
use crate::fields::{Fields, loss};
use crate::plain::Speaker;

/// The content of a message: a text or a list of parts, of which some are for one side only.
pub(super) fn content(
    message: &mut Fields,
    speaker: Speaker,
    losses: &mut Losses,
) -> Result<Vec<Block>, Invalid> {
    message.content("content", |fields| part(fields, speaker, losses))
}

fn part(mut fields: Fields, speaker: Speaker, losses: &mut Losses) -> Result<Block, Invalid> {
    let cache = fields.cache_point(losses)?;
    let name = fields.needed_written("type")?;
    let kind = match name.as_bytes().as_ref() {
        b"text" => BlockKind::Text { text: fields.needed_written("text")?, citations: Vec::new() },
        b"refusal" => BlockKind::Refusal { text: fields.needed_written("refusal")? },
        b"image_url" => image(&mut fields, losses)?,
        b"file" => document(&mut fields, losses)?,
        b"input_audio" => audio(&mut fields, losses)?,
        b"thinking" if speaker == Speaker::Model => BlockKind::Thinking {
            text: fields.written("text")?.or(fields.written("thinking")?).unwrap_or_default(),
            signature: fields.written("signature")?,
        },
        b"redacted_thinking" if speaker == Speaker::Model => BlockKind::RedactedThinking {
            data: fields.written("redactedContent")?.or(fields.written("data")?).unwrap_or_default(),
        },
        _ => return Ok(fields.into_foreign(cache, name)),
    };
    Ok(Block { origin: fields.end(losses), cache, kind })
}

fn image(fields: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let pointer = fields.at("image_url");
    let mut image = fields.object("image_url")?.ok_or_else(|| crate::fields::missing(&pointer))?;
    let url = image.needed_text("url")?;
    let detail = image.text("detail")?;
    image.lose_rest(losses);
    // A PDF behind an image part is what clients without a file part send.
    if let Some((media_type, data)) = data_uri(&url) {
        if media_type == "application/pdf" {
            let source = DocumentSource::Base64 { media_type, data };
            return Ok(BlockKind::Document { source, title: None, context: None, cites: false });
        }
        return Ok(BlockKind::Image { source: ImageSource::Base64 { media_type, data }, detail });
    }
    if url.split(['?', '#']).next().is_some_and(|path| path.to_ascii_lowercase().ends_with(".pdf")) {
        let source = DocumentSource::Url(url);
        return Ok(BlockKind::Document { source, title: None, context: None, cites: false });
    }
    Ok(BlockKind::Image { source: ImageSource::Url(url), detail })
}

fn document(fields: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let pointer = fields.at("file");
    let mut file = fields.object("file")?.ok_or_else(|| crate::fields::missing(&pointer))?;
    let title = file.text("filename")?;
    let source = match (file.text("file_data")?, file.text("file_id")?) {
        (Some(data), _) => match data_uri(&data) {
            Some((media_type, data)) => DocumentSource::Base64 { media_type, data },
            None if data.starts_with("data:") => {
                return Err(Invalid::unprocessable(
                    "only base64 can stand in a data URI",
                    file.at("file_data"),
                ));
            }
            None => DocumentSource::Base64 { media_type: "application/pdf".to_owned(), data: data.into() },
        },
        (None, Some(id)) => DocumentSource::File(id),
        (None, None) => return Err(crate::fields::missing(file.at("file_data"))),
    };
    file.lose_rest(losses);
    Ok(BlockKind::Document { source, title, context: None, cites: false })
}

fn audio(fields: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let pointer = fields.at("input_audio");
    let mut audio = fields.object("input_audio")?.ok_or_else(|| crate::fields::missing(&pointer))?;
    let kind = BlockKind::Audio { data: audio.needed_written("data")?, format: audio.needed_text("format")? };
    audio.lose_rest(losses);
    Ok(kind)
}

/// `thinking_blocks`: signed reasoning, in Anthropic's own shape.
pub(super) fn thinking_blocks(message: &mut Fields, losses: &mut Losses) -> Result<Vec<Block>, Invalid> {
    let pointer = message.at("thinking_blocks");
    let mut blocks = Vec::new();
    for (index, item) in message.list("thinking_blocks")?.into_iter().enumerate() {
        let origin = pointer.item(index);
        let mut fields = Fields::of(item, origin.clone())?;
        // Its number in the stream that it came from.
        fields.take("index");
        let kind = match fields.text("type")?.as_deref() {
            Some("redacted_thinking") => {
                BlockKind::RedactedThinking { data: fields.written("data")?.unwrap_or_default() }
            }
            _ => BlockKind::Thinking {
                text: fields.written("thinking")?.unwrap_or_default(),
                signature: fields.written("signature")?,
            },
        };
        fields.lose_rest(losses);
        blocks.push(Block { origin, cache: None, kind });
    }
    Ok(blocks)
}

/// Whether a block is reasoning.
pub(super) fn is_thinking(block: &Block) -> bool {
    matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
}

/// The arguments of a call, which this dialect writes as text that should be a JSON object.
pub(crate) fn arguments(text: &Text, pointer: &Origin, losses: &mut Losses) -> Value {
    let read = text.read_object();
    if read.is_none() && !text.is_blank() {
        losses.push(loss(pointer, LossKind::ToolOption, Effect::Meaning));
    }
    Value::Object(read.unwrap_or_default())
}

/// A block of `thinking_blocks` in an answer, read leniently.
pub(super) fn thinking_kind(value: &Value) -> BlockKind {
    let text = |key: &str| value.get(key).and_then(Value::as_text).cloned();
    if value.get("type").is_some_and(|kind| kind == "redacted_thinking") {
        return BlockKind::RedactedThinking { data: text("data").unwrap_or_default() };
    }
    BlockKind::Thinking { text: text("thinking").unwrap_or_default(), signature: text("signature") }
}

/// The text of `reasoning_content`: a string, or an object around one.
pub(super) fn reasoning_text(value: &Value) -> Option<Text> {
    let text = value.as_text().or_else(|| value.get("text")?.as_text());
    let text = text.or_else(|| value.get("reasoningText")?.get("text")?.as_text());
    text.cloned()
}
