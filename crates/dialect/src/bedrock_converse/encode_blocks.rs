//! The system prompt and the messages of a `Converse` request.
//!
//! Source: botocore, `bedrock-runtime` service model, `SystemContentBlock`, `Message` and `ContentBlock`.

use std::collections::BTreeSet;

use tollgate_chat::{Block, BlockKind, CachePoint, Effect, LossKind, Losses, Origin, Role, Turn};
use tollgate_wire::json::{Around, Text, Value, WrittenList};

use super::citations;
use super::encode_tools::PastTools;
use super::media::{self, DocumentNames};
use crate::Invalid;
use crate::data::is_canonical_base64;
use crate::fields::{Members, lose_cache_point, lose_citations, loss, object};
use crate::ids::fingerprint;
use crate::messages::{MessageWords, Messages, SideWords, only_text, results_first};

/// Longest id of a call.
const CALL_ID_BYTES_MAX: usize = 64;

/// How messages are said. The API wants the two sides to alternate.
pub(crate) const MESSAGES: MessageWords = MessageWords {
    user: SideWords {
        role: "user",
        around: Around { before: r#"{"role":"user","content":[{"text":"#, behind: "}]}" },
    },
    model: SideWords {
        role: "assistant",
        around: Around { before: r#"{"role":"assistant","content":[{"text":"#, behind: "}]}" },
    },
    content: "content",
    part: |text| object!({"text": text}),
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
        lose_citations(&origin, &citations, losses);
        push(&mut said, &origin, says(text).map(MESSAGES.part), cache, losses);
    }
    Ok(said)
}

/// A text, unless it is blank: the API refuses those, and they say nothing.
fn says(text: Text) -> Option<Text> {
    (!text.is_blank()).then_some(text)
}

/// Adds an element, and behind it the cache point, which is an element of its own. Where there is none, there is nothing to cache.
fn push(
    said: &mut Vec<Value>,
    origin: &Origin,
    value: Option<Value>,
    cache: Option<CachePoint>,
    losses: &mut Losses,
) {
    let Some(value) = value else { return lose_cache_point(origin, cache.as_ref(), losses) };
    said.push(value);
    said.extend(cache.map(|cache| cache_point(origin, cache, losses)));
}

/// A cache point.
pub(super) fn cache_point(origin: &impl std::fmt::Display, cache: CachePoint, losses: &mut Losses) -> Value {
    let CachePoint { ttl } = cache;
    let known = ttl.as_deref().filter(|ttl| matches!(*ttl, "5m" | "1h"));
    if ttl.is_some() && known.is_none() {
        losses.push(loss(format!("{origin}/cache_control/ttl"), LossKind::CachePoint, Effect::Cost));
    }
    let mut point = Members::default();
    point.set("type", Some("default"));
    point.set("ttl", known);
    object!({"cachePoint": point.map})
}

/// What the elements of one request share.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    names: DocumentNames,
    called: BTreeSet<String>,
    has_results: bool,
}

impl Blocks {
    /// What the turns so far hold of tools.
    pub(super) fn past_tools(self) -> PastTools {
        if self.called.is_empty() && !self.has_results {
            PastTools::None
        } else {
            PastTools::Called(self.called)
        }
    }

    /// The messages.
    pub(super) fn turns(&mut self, turns: Vec<Turn>, losses: &mut Losses) -> Result<WrittenList, Invalid> {
        let mut messages = Messages::of(&turns, &MESSAGES);
        for Turn { role, blocks } in turns {
            match only_text(blocks) {
                Ok(text) if text.is_blank() => {}
                Ok(text) => messages.say_text(role, text),
                Err(blocks) => messages.say(role, self.turn(role, blocks, losses)?),
            }
        }
        Ok(messages.end())
    }

    fn turn(
        &mut self,
        role: Role,
        mut blocks: Vec<Block>,
        losses: &mut Losses,
    ) -> Result<Vec<Value>, Invalid> {
        if role == Role::User {
            results_first(&mut blocks);
        }
        let mut said = Vec::with_capacity(blocks.len());
        for Block { origin, cache, kind } in blocks {
            let value = match kind {
                BlockKind::Text { text, citations } if role == Role::Assistant && !text.is_blank() => {
                    said.extend(citations::encode(&origin, text, citations, losses));
                    said.pop()
                }
                kind => self.encode(&origin, kind, role, losses)?,
            };
            push(&mut said, &origin, value, cache, losses);
        }
        Ok(said)
    }

    /// One element; none where there are no words for it and the loss can be borne.
    fn encode(
        &mut self,
        origin: &Origin,
        kind: BlockKind,
        role: Role,
        losses: &mut Losses,
    ) -> Result<Option<Value>, Invalid> {
        Ok(match kind {
            BlockKind::Text { text, citations } => {
                lose_citations(origin, &citations, losses);
                says(text).map(MESSAGES.part)
            }
            BlockKind::Refusal { text } => says(text).map(MESSAGES.part),
            BlockKind::Thinking { text, signature: Some(signature) } => Some(
                object!({"reasoningContent": object!({"reasoningText": object!({"text": text, "signature": signature})})}),
            ),
            BlockKind::Thinking { text: _, signature: None } => {
                // Claude takes reasoning back only with its signature, and most of the others not at all.
                losses.push(loss(origin, LossKind::Thinking, Effect::Meaning));
                None
            }
            BlockKind::RedactedThinking { data } if is_canonical_base64(&data.as_str()) => {
                Some(object!({"reasoningContent": object!({"redactedContent": data})}))
            }
            BlockKind::RedactedThinking { data: _ } => {
                // It is not what the API has told.
                losses.push(loss(origin, LossKind::Thinking, Effect::Meaning));
                None
            }
            BlockKind::ToolUse { id, name, input } => {
                self.called.insert(name.clone());
                Some(object!({"toolUse": object!({"toolUseId": call_id(id), "name": name, "input": input})}))
            }
            BlockKind::ToolResult { id, content, is_error } => {
                self.has_results = true;
                let mut result = Members::default();
                result.set("toolUseId", Some(call_id(id)));
                result.set("content", Some(self.result(content, losses)?));
                result.set("status", is_error.then_some("error"));
                Some(object!({"toolResult": result.map}))
            }
            BlockKind::Image { source, detail } => {
                if detail.is_some_and(|detail| detail != "auto") {
                    losses.push(loss(format!("{origin}/image_url/detail"), LossKind::Media, Effect::Cost));
                }
                Some(media::image(origin, source)?)
            }
            BlockKind::Document { source, title, context, cites } => {
                let mut document = self.names.document(origin, source, title)?;
                document.set("context", context);
                document.set("citations", cites.then(|| object!({"enabled": true})));
                Some(object!({"document": document.map}))
            }
            BlockKind::Audio { data, format } => Some(media::audio(origin, data, &format)?),
            BlockKind::Foreign { name: _, value: _ } if role == Role::Assistant => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
                None
            }
            BlockKind::Foreign { name, value: _ } => {
                let message = format!("the backend of this model has no element {name:?}");
                return Err(Invalid::unprocessable(message, origin));
            }
        })
    }

    /// What a tool came to. It takes no cache points.
    fn result(&mut self, content: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
        let mut said = Vec::with_capacity(content.len());
        for Block { origin, cache, kind } in content {
            lose_cache_point(&origin, cache.as_ref(), losses);
            match kind {
                BlockKind::Text { .. }
                | BlockKind::Refusal { .. }
                | BlockKind::Image { .. }
                | BlockKind::Document { .. } => {
                    said.extend(self.encode(&origin, kind, Role::User, losses)?)
                }
                BlockKind::Thinking { .. }
                | BlockKind::RedactedThinking { .. }
                | BlockKind::ToolUse { .. }
                | BlockKind::ToolResult { .. }
                | BlockKind::Audio { .. }
                | BlockKind::Foreign { .. } => {
                    let message =
                        "the backend of this model takes text, images and documents in a tool's result";
                    return Err(Invalid::unprocessable(message, origin));
                }
            }
        }
        Ok(said)
    }
}

/// The id of a call. One that the API would refuse gets another, in the call and in its result alike.
fn call_id(id: String) -> String {
    let is_fit = (1..=CALL_ID_BYTES_MAX).contains(&id.len())
        && id.chars().all(|character| character.is_ascii_alphanumeric() || "_.:-".contains(character));
    if is_fit { id } else { format!("call_{:016x}", fingerprint(&id)) }
}
