//! An answer, said as a response of `generateContent`.
//!
//! Source: `google.genai.types.GenerateContentResponse`.

use std::collections::VecDeque;

use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Citation, Effect, ImageSource, LossKind, Losses, Origin,
};
use tollgate_wire::json::{Map, Text, Value};

use super::citations::Grounding;
use super::logprobs::encode_logprobs;
use super::stop::finish_reason;
use super::usage::encode_usage;
use super::{is_signature, redacted, time};
use crate::AnswerContext;
use crate::fields::{Members, loss, object, tells};
use crate::ids::CallIds;
use crate::ruler::Ruler;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_answer(answer: Answer, context: &AnswerContext, losses: &mut Losses) -> Map {
    let Answer { id, model, created_s, choices, usage, service_tier } = answer;
    if service_tier.is_some_and(|tier| tier != "default") {
        losses.push(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
    }
    let id = if id.is_empty() { context.fallback_id.clone() } else { id };
    let mut ids = CallIds::new(&id);
    let choices = choices.into_iter().enumerate();
    let candidates: Vec<Value> =
        choices.map(|(index, choice)| candidate(index, choice, &mut ids, losses)).collect();
    let mut body = Members::default();
    body.set("candidates", Some(candidates));
    body.set("usageMetadata", usage.map(|usage| encode_usage(usage, losses)));
    body.set("modelVersion", Some(model.unwrap_or_else(|| context.requested_model.as_str().to_owned())));
    body.set("createTime", created_s.map(time::format));
    body.set("responseId", Some(id));
    body.map
}

fn candidate(index: usize, choice: Choice, ids: &mut CallIds, losses: &mut Losses) -> Value {
    let Choice { blocks, stop, logprobs } = choice;
    let mut said = Said::default();
    for block in blocks {
        said.block(block, ids, losses);
    }
    let mut content = Members::default();
    content.set("role", Some("model"));
    said.flush();
    let Said { parts, signatures: _, grounding } = said;
    content.set("parts", (!parts.is_empty()).then_some(parts));
    let mut candidate = Members::default();
    candidate.set("content", Some(content.value()));
    candidate.set("finishReason", Some(finish_reason(stop, losses)));
    candidate.set("groundingMetadata", grounding.value());
    candidate.set("index", Some(index));
    candidate.set(
        "logprobsResult",
        logprobs.and_then(|told| encode_logprobs(&Origin::of_item("choices", index), &told, losses)),
    );
    candidate.value()
}

/// What has been said of a candidate.
#[derive(Default)]
struct Said {
    parts: Vec<Value>,
    /// Signatures that wait for their part; the oldest first.
    signatures: VecDeque<Text>,
    grounding: Grounding,
}

impl Said {
    fn block(&mut self, block: Block, ids: &mut CallIds, losses: &mut Losses) {
        let Block { origin, cache: _, kind } = block;
        match kind {
            BlockKind::Text { text, citations } => {
                self.cite(&origin, &text, citations, losses);
                self.text(text);
            }
            BlockKind::Refusal { text } => self.text(text),
            BlockKind::Thinking { text, signature } => self.think(&origin, text, signature, losses),
            BlockKind::RedactedThinking { data } => {
                self.flush();
                self.parts.push(redacted::encode(&data));
            }
            BlockKind::ToolUse { id, name, input } => {
                self.push(
                    object!({"functionCall": object!({"id": ids.next(id), "name": name, "args": input})}),
                );
            }
            BlockKind::Image { source: ImageSource::Base64 { media_type, data }, detail: _ } => {
                self.push(object!({"inlineData": object!({"mimeType": media_type, "data": data})}));
            }
            BlockKind::Foreign { name, value } if value.get(&name).is_some_and(tells) => self.push(value),
            BlockKind::Foreign { name: _, value: _ } => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            }
            BlockKind::Image { source: ImageSource::Url(_), detail: _ }
            | BlockKind::ToolResult { .. }
            | BlockKind::Document { .. }
            | BlockKind::Audio { .. } => losses.push(loss(origin, LossKind::Media, Effect::Meaning)),
        }
    }

    /// What the text rests on that is the next part.
    fn cite(&mut self, origin: &Origin, text: &Text, citations: Vec<Citation>, losses: &mut Losses) {
        if citations.is_empty() {
            return;
        }
        let (ruler, part) = (Ruler::of(text), self.parts.len());
        for (index, citation) in citations.into_iter().enumerate() {
            let pointer = format!("{origin}/citations/{index}");
            self.grounding.add(&pointer, citation, (&ruler, 0..ruler.chars(), part), losses);
        }
    }

    /// A text, unless it says nothing.
    fn text(&mut self, text: Text) {
        if !text.is_empty() {
            self.push(object!({"text": text}));
        }
    }

    /// A thought. A signature without a text is that of the part behind it.
    fn think(&mut self, origin: &Origin, text: Text, signature: Option<Text>, losses: &mut Losses) {
        let own = signature.filter(|signature| {
            let is_own = is_signature(signature);
            if !is_own {
                losses.push(loss(format!("{origin}/signature"), LossKind::Thinking, Effect::Meaning));
            }
            is_own
        });
        if text.is_empty() {
            self.signatures.extend(own);
            return;
        }
        self.flush();
        let mut part = Members::default();
        part.set("text", Some(text));
        part.set("thought", Some(true));
        part.set("thoughtSignature", own);
        self.parts.push(part.value());
    }

    fn push(&mut self, mut part: Value) {
        if !self.signatures.is_empty()
            && let Some(members) = part.as_object_mut()
        {
            members.insert("thoughtSignature", self.signatures.pop_front().into());
        }
        self.parts.push(part);
    }

    /// Signatures that no part came for stand in parts of their own, as the API itself tells them.
    fn flush(&mut self) {
        let alone = self.signatures.drain(..);
        self.parts.extend(alone.map(|signature| object!({"text": "", "thoughtSignature": signature})));
    }
}
