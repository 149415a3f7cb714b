//! The input of a request, read into the hub: items, of which several in a row are one turn.
//!
//! Source: `openai.types.responses.ResponseInputItemParam`.

use tollgate_chat::{
    Block, BlockKind, CachePoint, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin, Role,
};
use tollgate_wire::json::{Item, Text, Value};

use super::reasoning;
use crate::Invalid;
use crate::data::data_uri;
use crate::fields::{Fields, loss, missing, tells, wrong};
use crate::openai_chat::{arguments, decode_annotations, says_error};
use crate::plain::{Parts, PlainTurn, PlainTurns, Said, Speaker};

pub(crate) const PLAIN: PlainTurns = PlainTurns {
    list: "input",
    speakers: &[
        ("user", Speaker::User),
        ("assistant", Speaker::Model),
        ("system", Speaker::System),
        ("developer", Speaker::System),
    ],
    kind: Some("message"),
    content: "content",
    parts: Parts::Typed(&TEXTS),
};

/// The types of parts that are a text.
const TEXTS: [&str; 3] = ["input_text", "output_text", "text"];

/// What OpenAI's own tools did in an earlier answer: without them the rest can still be understood.
const SERVER_ITEMS: [&str; 8] = [
    "code_interpreter_call",
    "file_search_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Instructions and turns.
pub(super) fn input(
    items: Option<Vec<Item<PlainTurn>>>,
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<Said, Invalid> {
    let mut said = Said::default();
    if let Some(text) = fields.written("instructions")?.filter(|text| !text.is_empty()) {
        said.system.push(Block::text("/instructions", text));
    }
    let items = match (items, fields.take("input")) {
        (Some(items), _) => items,
        (None, None) => Vec::new(),
        (None, Some(Value::String(text))) => {
            let block = (!text.is_empty()).then(|| Block::text("/input", text));
            said.push(Role::User, block.into_iter().collect());
            Vec::new()
        }
        (None, Some(other)) => return Err(wrong("/input", "a string or an array", &other)),
    };
    for (index, item) in items.into_iter().enumerate() {
        let pointer = || Origin::of_item("input", index);
        match item {
            Item::Read(PlainTurn { speaker, blocks }) => said.say(speaker, blocks, pointer, losses),
            Item::Value(item) => said.item(Fields::of(item, pointer())?, losses)?,
        }
    }
    Ok(said)
}

impl Said {
    fn item(&mut self, mut item: Fields, losses: &mut Losses) -> Result<(), Invalid> {
        let role = item.written("role")?;
        // Both may go without a type: a message has a role, a reference nothing but an id.
        let untold = if role.is_some() { "message" } else { "item_reference" };
        let kind = item.written("type")?.unwrap_or_else(|| Text::word(untold));
        if kind == "message" {
            let role = role.ok_or_else(|| missing(item.at("role")))?;
            return self.message(item, &role, losses);
        }
        let origin = item.pointer.clone();
        let said = |kind| Block { origin: origin.clone(), cache: None, kind };
        match kind.as_str().as_ref() {
            "reasoning" => {
                if let Some(kind) = reasoning::decode_fields(&mut item, losses)? {
                    self.push(Role::Assistant, vec![said(kind)]);
                }
            }
            "function_call" => {
                let (id, name) = (item.needed_text("call_id")?, item.needed_text("name")?);
                let text = item.written("arguments")?.unwrap_or_default();
                let input = arguments(&text, &item.at("arguments"), losses);
                self.push(Role::Assistant, vec![said(BlockKind::ToolUse { id, name, input })]);
            }
            "function_call_output" => {
                let id = item.needed_text("call_id")?;
                let content = content(&mut item, "output", losses)?;
                let is_error = content.iter().any(|block| match &block.kind {
                    BlockKind::Text { text, .. } => says_error(text),
                    _ => false,
                });
                self.push(Role::User, vec![said(BlockKind::ToolResult { id, content, is_error })]);
            }
            "item_reference" => {
                let text = "the backend of this model keeps no items: send the item itself";
                return Err(Invalid::unprocessable(text, origin));
            }
            name if SERVER_ITEMS.contains(&name) => {
                let kind = BlockKind::Foreign { name: name.to_owned(), value: item.into_value() };
                self.push(Role::Assistant, vec![Block { origin, cache: None, kind }]);
                return Ok(());
            }
            other => {
                let text = format!("an item of type {other:?} cannot be translated");
                return Err(Invalid::unprocessable(text, origin));
            }
        }
        lose_rest_of_item(item, losses);
        Ok(())
    }

    fn message(&mut self, mut item: Fields, role: &Text, losses: &mut Losses) -> Result<(), Invalid> {
        let blocks = content(&mut item, "content", losses)?;
        let Some(speaker) = PLAIN.speaker(&role.as_bytes()) else {
            let found = Value::from(role.clone());
            return Err(wrong(item.at("role"), "system, developer, user or assistant", &found));
        };
        self.say(speaker, blocks, || item.pointer.clone(), losses);
        lose_rest_of_item(item, losses);
        Ok(())
    }
}

fn lose_rest_of_item(mut item: Fields, losses: &mut Losses) {
    // Ids are for those who keep items, and what is sent has been said, complete or not.
    item.take("id");
    item.take("status");
    // Which tool calls another one says nothing about the call.
    item.take("caller");
    for (key, kind) in [("phase", LossKind::Metadata), ("namespace", LossKind::ToolOption)] {
        if item.take(key).is_some() {
            losses.push(loss(item.at(key), kind, Effect::Meaning));
        }
    }
    item.lose_rest(losses);
}

/// The content of a message or the output of a function: a text or a list of parts.
fn content(owner: &mut Fields, key: &'static str, losses: &mut Losses) -> Result<Vec<Block>, Invalid> {
    owner.content(key, |fields| part(fields, losses))
}

fn part(mut fields: Fields, losses: &mut Losses) -> Result<Block, Invalid> {
    let cache = breakpoint(&mut fields, losses)?;
    let name = fields.needed_written("type")?;
    let kind = match name.as_str().as_ref() {
        told if TEXTS.contains(&told) => {
            if fields.take("logprobs").is_some_and(|value| tells(&value)) {
                losses.push(loss(fields.at("logprobs"), LossKind::Logprobs, Effect::Meaning));
            }
            let citations = match fields.list("annotations")? {
                told if told.is_empty() => Vec::new(),
                told => decode_annotations(&fields.at("annotations"), &told, losses),
            };
            BlockKind::Text { text: fields.needed_written("text")?, citations }
        }
        "refusal" => BlockKind::Refusal { text: fields.needed_written("refusal")? },
        "input_image" => image(&mut fields, losses)?,
        "input_file" => document(&mut fields, losses)?,
        _ => return Ok(fields.into_foreign(cache, name)),
    };
    Ok(Block { origin: fields.end(losses), cache, kind })
}

/// The end of what is to be cached. Other dialects keep it for five minutes or an hour: no less than was wanted, as far as they can.
fn breakpoint(part: &mut Fields, losses: &mut Losses) -> Result<Option<CachePoint>, Invalid> {
    let Some(mut told) = part.object("prompt_cache_breakpoint")? else { return Ok(None) };
    told.take("mode");
    let ttl = told.text("ttl")?;
    if ttl.as_deref().is_some_and(|ttl| ttl != "30m") {
        losses.push(loss(told.at("ttl"), LossKind::CachePoint, Effect::Cost));
    }
    told.lose_rest(losses);
    Ok(Some(CachePoint { ttl: ttl.map(|_| "1h".to_owned()) }))
}

fn image(fields: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    if fields.take("file_id").is_some() {
        let text = "the backend of this model keeps no files: send the image itself";
        return Err(Invalid::unprocessable(text, fields.at("file_id")));
    }
    let url = fields.needed_text("image_url")?;
    let mut detail = fields.text("detail")?;
    if detail.as_deref() == Some("original") {
        // The words that all know end with `high`.
        losses.push(loss(fields.at("detail"), LossKind::Media, Effect::Cost));
        detail = Some("high".to_owned());
    }
    let source = match data_uri(&url) {
        Some((media_type, data)) => ImageSource::Base64 { media_type, data },
        None => ImageSource::Url(url),
    };
    Ok(BlockKind::Image { source, detail })
}

fn document(fields: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let title = fields.text("filename")?;
    if fields.text("detail")?.is_some_and(|detail| detail != "auto") {
        losses.push(loss(fields.at("detail"), LossKind::Media, Effect::Cost));
    }
    let source = match (fields.text("file_data")?, fields.text("file_url")?, fields.text("file_id")?) {
        (Some(data), _, _) => match data_uri(&data) {
            Some((media_type, data)) => DocumentSource::Base64 { media_type, data },
            None if data.starts_with("data:") => {
                let text = "only base64 can stand in a data URI";
                return Err(Invalid::unprocessable(text, fields.at("file_data")));
            }
            None => DocumentSource::Base64 { media_type: "application/pdf".to_owned(), data: data.into() },
        },
        (None, Some(url), _) => DocumentSource::Url(url),
        (None, None, Some(id)) => DocumentSource::File(id),
        (None, None, None) => return Err(missing(fields.at("file_data"))),
    };
    Ok(BlockKind::Document { source, title, context: None, cites: false })
}
