//! Instructions and turns, said as the input of a request.
//!
//! Source: `openai.types.responses.ResponseInputItemParam`. A message with one text has it as a plain string.

use tollgate_chat::{
    Block, BlockKind, Citation, CitedSource, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin,
    Role, Turn,
};
use tollgate_wire::json::{Around, Text, Value, WrittenList};

use super::{items, reasoning};
use crate::Invalid;
use crate::fields::{Members, list_of_parts, lose_cache_point, lose_citations, loss, object};
use crate::messages::{only_text, room_for};
use crate::openai_chat::says_error;

/// Whether the input tells reasoning of the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasReasoning {
    Yes,
    No,
}

/// Instructions: several texts are one here.
pub(super) fn instructions(blocks: Vec<Block>, losses: &mut Losses) -> Result<Option<Text>, Invalid> {
    let mut texts = Vec::with_capacity(blocks.len());
    for Block { origin, cache, kind } in blocks {
        lose_cache_point(&origin, cache.as_ref(), losses);
        let BlockKind::Text { text, citations } = kind else {
            let text = "instructions hold nothing but text at the backend of this model";
            return Err(Invalid::unprocessable(text, origin));
        };
        lose_citations(&origin, &citations, losses);
        texts.push(text);
    }
    Ok((!texts.is_empty()).then(|| Text::join(texts, "\n")))
}

/// A message of nothing but a text.
fn around(role: Role) -> Around {
    let before = match role {
        Role::User => r#"{"type":"message","role":"user","content":"#,
        Role::Assistant => r#"{"type":"message","role":"assistant","content":"#,
    };
    Around { before, behind: "}" }
}

/// The items of all turns.
pub(super) fn input(turns: Vec<Turn>, losses: &mut Losses) -> Result<(WrittenList, HasReasoning), Invalid> {
    let said = room_for(&turns);
    let mut items = Items { said, parts: Vec::new(), has_reasoning: HasReasoning::No };
    for Turn { role, blocks } in turns {
        match (only_text(blocks), role) {
            (Ok(text), role) => items.said.push_around(around(role), &text),
            (Err(blocks), Role::User) => {
                for block in blocks {
                    items.user(block, losses)?;
                }
                items.flush(Role::User);
            }
            (Err(mut blocks), Role::Assistant) => {
                // The API refuses reasoning that nothing follows; an answer that was cut off may end so.
                while let Some(block) = blocks.pop_if(|block| is_reasoning(block)) {
                    losses.push(loss(block.origin, LossKind::Thinking, Effect::Meaning));
                }
                for block in blocks {
                    items.assistant(block, losses)?;
                }
                items.flush(Role::Assistant);
            }
        }
    }
    Ok((items.said, items.has_reasoning))
}

fn is_reasoning(block: &Block) -> bool {
    matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
}

struct Items {
    said: WrittenList,
    /// Parts of the message that goes on. One that is nothing but a text is a string.
    parts: Vec<Value>,
    has_reasoning: HasReasoning,
}

impl Items {
    fn user(&mut self, block: Block, losses: &mut Losses) -> Result<(), Invalid> {
        let Block { origin, cache, kind } = block;
        lose_cache_point(&origin, cache.as_ref(), losses);
        match kind {
            BlockKind::ToolResult { id, content, is_error } => {
                self.flush(Role::User);
                let output = output(&origin, content, is_error, losses)?;
                self.said.push(&object!({"type": "function_call_output", "call_id": id, "output": output}));
            }
            kind => self.parts.push(input_part(origin, kind, losses)?),
        }
        Ok(())
    }

    fn assistant(&mut self, block: Block, losses: &mut Losses) -> Result<(), Invalid> {
        let Block { origin, cache, kind } = block;
        lose_cache_point(&origin, cache.as_ref(), losses);
        match kind {
            BlockKind::Text { text, citations } => {
                let annotations = annotations(&origin, &text, citations, losses);
                self.parts.push(match annotations.as_slice() {
                    [] => text.into(),
                    _ => object!({"type": "output_text", "text": text, "annotations": annotations}),
                });
            }
            BlockKind::Refusal { text } => self.parts.push(object!({"type": "refusal", "refusal": text})),
            BlockKind::Thinking { text, signature } => {
                match reasoning::request_item(&text.as_str(), signature.as_ref().map(Text::as_str).as_deref())
                {
                    Some(item) => {
                        self.flush(Role::Assistant);
                        self.said.push(&item);
                        self.has_reasoning = HasReasoning::Yes;
                    }
                    None => losses.push(loss(origin, LossKind::Thinking, Effect::Meaning)),
                }
            }
            // Only another provider can read it.
            BlockKind::RedactedThinking { data: _ } => {
                losses.push(loss(origin, LossKind::Thinking, Effect::Meaning));
            }
            BlockKind::ToolUse { id, name, input } => {
                self.flush(Role::Assistant);
                let arguments = Text::of_document(&input);
                self.said.push(
                    &object!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments}),
                );
            }
            BlockKind::Foreign { name: _, value: _ } => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            }
            BlockKind::Image { .. } | BlockKind::Document { .. } | BlockKind::Audio { .. } => {
                losses.push(loss(origin, LossKind::Media, Effect::Meaning));
            }
            BlockKind::ToolResult { .. } => {
                let text = "a tool result cannot stand in the model's message";
                return Err(Invalid::unprocessable(text, origin));
            }
        }
        Ok(())
    }

    /// Ends the message that goes on.
    fn flush(&mut self, role: Role) {
        match (role, self.parts.as_slice()) {
            (_, []) => return,
            (role, [Value::String(text)]) => self.said.push_around(around(role), text),
            (Role::User, _) => {
                let content = list_of_parts(self.parts.drain(..), input_text);
                self.said.push(&object!({"type": "message", "role": "user", "content": content}));
            }
            (Role::Assistant, _) => {
                let content = list_of_parts(self.parts.drain(..), output_text);
                self.said.push(&object!({
                    "type": "message",
                    // Parts of an answer stand in items with an id, which nobody looks up where nothing is kept.
                    "id": format!("msg_{:016x}", self.said.len()),
                    "status": "completed",
                    "role": "assistant",
                    "content": content,
                }));
            }
        }
        self.parts.clear();
    }
}

/// The pages on the web that a text rests on, which the model said before. Of files the API knows its own only.
fn annotations(origin: &Origin, text: &Text, citations: Vec<Citation>, losses: &mut Losses) -> Vec<Value> {
    let chars = if citations.is_empty() { 0 } else { text.as_str().chars().count() as u64 };
    let mut said = Vec::with_capacity(citations.len());
    for (index, mut citation) in citations.into_iter().enumerate() {
        if let CitedSource::Document { index: _, file, passage: _ } = &mut citation.source {
            *file = None;
        }
        said.extend(items::annotation(&format!("{origin}/citations/{index}"), citation, chars, losses));
    }
    said
}

/// What a function came to: a text, or a list of parts.
fn output(
    origin: &Origin,
    content: Vec<Block>,
    is_error: bool,
    losses: &mut Losses,
) -> Result<Value, Invalid> {
    let mut parts = Vec::with_capacity(content.len());
    let mut is_said = false;
    for Block { origin, cache, kind } in content {
        lose_cache_point(&origin, cache.as_ref(), losses);
        is_said |= matches!(&kind, BlockKind::Text { text, .. } if says_error(text));
        parts.push(input_part(origin, kind, losses)?);
    }
    if is_error && !is_said {
        losses.push(loss(format!("{origin}/is_error"), LossKind::ToolOption, Effect::Meaning));
    }
    Ok(match parts.as_mut_slice() {
        [] => "".into(),
        [text @ Value::String(_)] => text.take(),
        _ => list_of_parts(parts, input_text),
    })
}

fn input_text(text: Text) -> Value {
    object!({"type": "input_text", "text": text})
}

fn output_text(text: Text) -> Value {
    object!({"type": "output_text", "text": text, "annotations": Value::Array(Vec::new())})
}

/// A part of what a user says; one that is nothing but a text is a string.
fn input_part(origin: Origin, kind: BlockKind, losses: &mut Losses) -> Result<Value, Invalid> {
    match kind {
        BlockKind::Text { text, citations } => {
            lose_citations(&origin, &citations, losses);
            Ok(text.into())
        }
        BlockKind::Refusal { text } => Ok(text.into()),
        BlockKind::Image { source, detail } => {
            let mut image = Members::default();
            image.set("type", Some("input_image"));
            image.set("image_url", Some(image_url(source)));
            image.set("detail", Some(detail.unwrap_or_else(|| "auto".to_owned())));
            Ok(image.value())
        }
        BlockKind::Document { source, title, context, cites } => {
            if context.is_some() {
                losses.push(loss(format!("{origin}/context"), LossKind::Media, Effect::Meaning));
            }
            if cites {
                losses.push(loss(format!("{origin}/citations"), LossKind::Citation, Effect::Meaning));
            }
            Ok(document(source, title))
        }
        BlockKind::Audio { .. } => {
            Err(Invalid::unprocessable("the backend of this model takes no audio", origin))
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

fn document(source: DocumentSource, title: Option<String>) -> Value {
    let mut file = Members::default();
    file.set("type", Some("input_file"));
    match source {
        DocumentSource::Base64 { media_type, data } => {
            // The name is needed beside the data, and tells the format.
            file.set("filename", Some(title.unwrap_or_else(|| "document.pdf".to_owned())));
            file.set("file_data", Some(format!("data:{media_type};base64,{data}")));
        }
        DocumentSource::Url(url) => {
            file.set("filename", title);
            file.set("file_url", Some(url));
        }
        DocumentSource::File(id) => {
            file.set("filename", title);
            file.set("file_id", Some(id));
        }
        DocumentSource::Text(text) => {
            let text = title.map_or_else(|| text.clone(), |title| format!("{title}\n\n{text}").into());
            return text.into();
        }
    }
    file.value()
}
