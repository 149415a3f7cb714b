//! The instructions and the contents of a request.
//!
//! Source: `google.genai.types.Content` and `Part`; Google's guide to thought signatures.

use std::collections::{HashMap, VecDeque};

use tollgate_chat::{Block, BlockKind, Effect, LossKind, Losses, Origin, Role, Turn};
use tollgate_wire::json::{Around, Text, Value, WrittenList};

use super::model::Gemini;
use super::{is_signature, media};
use crate::Invalid;
use crate::fields::{Members, lose_cache_point, lose_citations, loss, object, tells};
use crate::messages::{MessageWords, Messages, SideWords, only_text, results_first};

/// What a call says that was made by another model: newer ones refuse calls without a signature, and Google's guide
/// names this one for them.
pub(super) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// How contents are said. The API wants the two sides to alternate.
pub(crate) const MESSAGES: MessageWords = MessageWords {
    user: SideWords {
        role: "user",
        around: Around { before: r#"{"role":"user","parts":[{"text":"#, behind: "}]}" },
    },
    model: SideWords {
        role: "model",
        around: Around { before: r#"{"role":"model","parts":[{"text":"#, behind: "}]}" },
    },
    content: "parts",
    part: |text| object!({"text": text}),
};

/// Instructions.
pub(super) fn system_parts(blocks: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
    let mut said = Vec::with_capacity(blocks.len());
    for Block { origin, cache, kind } in blocks {
        lose_cache_point(&origin, cache.as_ref(), losses);
        let BlockKind::Text { text, citations } = kind else {
            return Err(Invalid::unprocessable(
                "instructions hold nothing but text at the backend of this model",
                origin,
            ));
        };
        lose_citations(&origin, &citations, losses);
        // The API refuses empty texts.
        if !text.is_empty() {
            said.push((MESSAGES.part)(text));
        }
    }
    Ok(said)
}

/// What the parts of one request share.
pub(super) struct Parts {
    gemini: Gemini,
    /// The names of the functions that were called, by the ids of the calls.
    names: HashMap<String, String>,
}

impl Parts {
    pub(super) fn new(gemini: Gemini) -> Self {
        Self { gemini, names: HashMap::new() }
    }

    /// The contents.
    pub(super) fn contents(&mut self, turns: Vec<Turn>, losses: &mut Losses) -> Result<WrittenList, Invalid> {
        let mut contents = Messages::of(&turns, &MESSAGES);
        for Turn { role, blocks } in turns {
            match (only_text(blocks), role) {
                (Ok(text), role) => contents.say_text(role, text),
                (Err(blocks), Role::User) => contents.say(role, self.user(blocks, losses)?),
                (Err(blocks), Role::Assistant) => contents.say(role, self.model(blocks, losses)?),
            }
        }
        Ok(contents.end())
    }

    fn user(&self, mut blocks: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
        results_first(&mut blocks);
        let mut said = Vec::with_capacity(blocks.len());
        let mut beside = Vec::new();
        for Block { origin, cache, kind } in blocks {
            lose_cache_point(&origin, cache.as_ref(), losses);
            match kind {
                BlockKind::ToolResult { id, content, is_error } => {
                    let (result, media) = self.result(&origin, id, content, is_error, losses)?;
                    said.push(result);
                    beside.extend(media);
                }
                BlockKind::Text { text, citations: _ } if text.is_empty() => {}
                kind => {
                    said.append(&mut beside);
                    said.push(self.part(origin, kind, losses)?);
                }
            }
        }
        said.append(&mut beside);
        Ok(said)
    }

    /// A part that either side can say.
    fn part(&self, origin: Origin, kind: BlockKind, losses: &mut Losses) -> Result<Value, Invalid> {
        match kind {
            BlockKind::Text { text, citations } => {
                lose_citations(&origin, &citations, losses);
                Ok((MESSAGES.part)(text))
            }
            BlockKind::Refusal { text } => Ok((MESSAGES.part)(text)),
            BlockKind::Image { source, detail } => {
                let mut part = media::image(&origin, source)?;
                let resolution = detail.as_deref().and_then(media::resolution);
                match (resolution, part.as_object_mut()) {
                    (Some(resolution), Some(part)) if self.gemini.has_levels() => {
                        part.insert("mediaResolution", resolution);
                    }
                    _ if detail.is_some_and(|detail| detail != "auto") => {
                        let pointer = format!("{origin}/image_url/detail");
                        losses.push(loss(pointer, LossKind::Media, Effect::Cost));
                    }
                    _ => {}
                }
                Ok(part)
            }
            BlockKind::Document { source, title, context, cites } => {
                if context.is_some() {
                    losses.push(loss(format!("{origin}/context"), LossKind::Media, Effect::Meaning));
                }
                if cites {
                    losses.push(loss(format!("{origin}/citations"), LossKind::Citation, Effect::Meaning));
                }
                media::document(&origin, source, title)
            }
            BlockKind::Audio { data, format } => Ok(media::audio(data, &format)),
            BlockKind::Foreign { name, value: _ } => {
                let message = format!("the backend of this model has no element {name:?}");
                Err(Invalid::unprocessable(message, origin))
            }
            BlockKind::Thinking { .. }
            | BlockKind::RedactedThinking { .. }
            | BlockKind::ToolUse { .. }
            | BlockKind::ToolResult { .. } => {
                Err(Invalid::unprocessable("this element cannot stand here", origin))
            }
        }
    }

    /// The result of a call, and media that can only stand beside it.
    fn result(
        &self,
        origin: &Origin,
        id: String,
        content: Vec<Block>,
        is_error: bool,
        losses: &mut Losses,
    ) -> Result<(Value, Vec<Value>), Invalid> {
        let name = self.names.get(&id).ok_or_else(|| {
            let message = format!("{origin}: the result of {id:?} follows no call of it");
            Invalid::unprocessable(message, origin)
        })?;
        let (mut texts, mut media) = (Vec::new(), Vec::new());
        for Block { origin, cache, kind } in content {
            lose_cache_point(&origin, cache.as_ref(), losses);
            match kind {
                BlockKind::Text { text, citations } => {
                    lose_citations(&origin, &citations, losses);
                    texts.push(text);
                }
                kind => {
                    let part = self.part(origin.clone(), kind, losses)?;
                    if !self.gemini.has_levels() {
                        losses.push(loss(origin, LossKind::Media, Effect::Meaning));
                    }
                    media.push(part);
                }
            }
        }
        let mut result = Members::default();
        result.set("id", (!id.is_empty()).then_some(id));
        result.set("name", Some(name.as_str()));
        result.set("response", Some(response(Text::join(texts, "\n"), is_error)));
        // Newer models take media within the result.
        let (within, beside) =
            if self.gemini.has_levels() { (media, Vec::new()) } else { (Vec::new(), media) };
        result.set("parts", (!within.is_empty()).then_some(within));
        Ok((object!({"functionResponse": result.map}), beside))
    }

    /// What the model said. A signature without a text is that of the part behind it.
    fn model(&mut self, blocks: Vec<Block>, losses: &mut Losses) -> Result<Vec<Value>, Invalid> {
        let mut turn = ModelTurn { has_called: false, said: Vec::new(), signatures: VecDeque::new() };
        let mut blocks = blocks.into_iter().peekable();
        while let Some(Block { origin, cache, kind }) = blocks.next() {
            lose_cache_point(&origin, cache.as_ref(), losses);
            match kind {
                // It says nothing.
                BlockKind::Text { text, .. } if text.is_empty() => {}
                kind @ (BlockKind::Text { .. } | BlockKind::Refusal { .. }) => {
                    let calls_next =
                        matches!(blocks.peek(), Some(Block { kind: BlockKind::ToolUse { .. }, .. }));
                    let part = self.part(origin, kind, losses)?;
                    // Dialects that tell signatures apart from parts do not say whose they are; newer models want that of
                    // the first call.
                    if calls_next && self.gemini.has_levels() && turn.signatures.len() == 1 {
                        turn.said.push(part);
                    } else {
                        turn.push(part);
                    }
                }
                BlockKind::Thinking { text, signature } => turn.think(&origin, text, signature, losses),
                BlockKind::RedactedThinking { data: _ } => {
                    // It is not what this provider has told.
                    losses.push(loss(origin, LossKind::Thinking, Effect::Meaning));
                }
                BlockKind::ToolUse { id, name, input } => {
                    self.names.insert(id.clone(), name.clone());
                    let mut call = Members::default();
                    call.set("id", (!id.is_empty()).then_some(id));
                    call.set("name", Some(name));
                    call.set("args", Some(input));
                    turn.call(object!({"functionCall": call.map}), self.gemini);
                }
                BlockKind::Foreign { name, value } => turn.foreign(&origin, &name, value, losses),
                kind @ (BlockKind::Image { .. } | BlockKind::Document { .. } | BlockKind::Audio { .. }) => {
                    let part = self.part(origin, kind, losses)?;
                    turn.push(part);
                }
                BlockKind::ToolResult { .. } => {
                    let message = "a tool result cannot stand in the model's message";
                    return Err(Invalid::unprocessable(message, origin));
                }
            }
        }
        turn.flush();
        Ok(turn.said)
    }
}

/// What has been said of a turn of the model.
struct ModelTurn {
    said: Vec<Value>,
    /// Signatures that wait for their part; the oldest first.
    signatures: VecDeque<Text>,
    has_called: bool,
}

impl ModelTurn {
    fn push(&mut self, mut part: Value) {
        if !self.signatures.is_empty()
            && let Some(members) = part.as_object_mut()
        {
            members.insert("thoughtSignature", self.signatures.pop_front().into());
        }
        self.said.push(part);
    }

    fn call(&mut self, part: Value, gemini: Gemini) {
        let is_first = !std::mem::replace(&mut self.has_called, true);
        if is_first && gemini.has_levels() && self.signatures.is_empty() {
            self.signatures.push_back(NO_SIGNATURE.into());
        }
        self.push(part);
    }

    /// A thought. A signature that the API could not read is let go.
    fn think(&mut self, origin: &Origin, text: Text, signature: Option<Text>, losses: &mut Losses) {
        let has_signature = signature.is_some();
        let own = signature.filter(is_signature);
        if has_signature && own.is_none() {
            losses.push(loss(format!("{origin}/signature"), LossKind::Thinking, Effect::Meaning));
        }
        if text.is_empty() {
            self.signatures.extend(own);
            return;
        }
        self.flush();
        let mut part = Members::default();
        part.set("text", Some(text));
        part.set("thought", Some(true));
        part.set("thoughtSignature", own);
        self.said.push(part.value());
    }

    /// What only this dialect says is said as it was; what only others say is lost.
    fn foreign(&mut self, origin: &Origin, name: &str, value: Value, losses: &mut Losses) {
        if value.get(name).is_some_and(tells) {
            self.push(value);
        } else {
            losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
        }
    }

    /// Signatures that no part came for stand in parts of their own, as the API itself tells them.
    fn flush(&mut self) {
        for signature in self.signatures.drain(..) {
            self.said.push(object!({"text": "", "thoughtSignature": signature}));
        }
    }
}

/// A result as the object that the API wants. A text that is one already is taken as it is.
fn response(text: Text, is_error: bool) -> Value {
    match (text.read_object(), is_error) {
        (Some(object), false) => Value::Object(object),
        (Some(object), true) if object.get("error").is_some_and(tells) => Value::Object(object),
        (_, true) => object!({"error": text}),
        (None, false) => object!({"output": text}),
    }
}
