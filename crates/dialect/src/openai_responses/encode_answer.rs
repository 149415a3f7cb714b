//! An answer, said as a response.
//!
//! Source: `openai.types.responses.Response`. Texts that follow one another are parts of one message; everything else is an item of its own.

use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, StopReason};
use tollgate_wire::json::{Map, Text, Value};

use super::items::{self, Ending, Frame};
use super::reasoning;
use crate::AnswerContext;
use crate::fields::loss;
use crate::ids::CallIds;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_answer(answer: Answer, context: &AnswerContext, losses: &mut Losses) -> Map {
    let Answer { id, model, created_s, choices, usage, service_tier } = answer;
    if choices.len() > 1 {
        losses.push(loss("/choices/1", LossKind::Choices, Effect::Meaning));
    }
    let choice = choices.into_iter().next();
    let Choice { blocks, stop, logprobs } =
        choice.unwrap_or(Choice { blocks: Vec::new(), stop: StopReason::EndOfTurn, logprobs: None });
    let frame = Frame::new(id, model, created_s, context);
    let ending = Ending::of(&stop, losses);
    let mut output =
        Output { ids: CallIds::new(frame.id()), frame: &frame, items: Vec::new(), parts: Vec::new() };
    let mut logprobs = logprobs.and_then(|told| token_logprobs(&told, &blocks, losses));
    let count = blocks.len();
    for (index, block) in blocks.into_iter().enumerate() {
        let status = if index + 1 == count { ending.of_last_item() } else { "completed" };
        output.block(block, status, &mut logprobs, losses);
    }
    output.flush(ending.of_last_item());
    let items = output.items;
    frame.response(&ending, items, usage.as_ref(), service_tier)
}

/// The log probabilities of the one text, which chat completions tell beside it and responses in it.
fn token_logprobs(told: &Value, blocks: &[Block], losses: &mut Losses) -> Option<Vec<Value>> {
    let texts = blocks.iter().filter(|block| matches!(block.kind, BlockKind::Text { .. })).count();
    let tokens = told.get("content").and_then(Value::as_array).filter(|tokens| !tokens.is_empty());
    let of_refusal = told.get("refusal").and_then(Value::as_array).is_some_and(|told| !told.is_empty());
    let is_lost = match (&tokens, texts) {
        (Some(_), 1) => of_refusal,
        (Some(_), _) => true,
        (None, _) => of_refusal || told.get("content").is_none(),
    };
    if is_lost {
        losses.push(loss("/choices/0/logprobs", LossKind::Logprobs, Effect::Meaning));
    }
    let tokens = tokens.filter(|_| texts == 1)?;
    Some(tokens.iter().cloned().map(items::whole_logprob).collect())
}

struct Output<'a> {
    frame: &'a Frame,
    ids: CallIds,
    items: Vec<Value>,
    /// Parts of the message that goes on.
    parts: Vec<Value>,
}

impl Output<'_> {
    fn block(&mut self, block: Block, status: &str, logprobs: &mut Option<Vec<Value>>, losses: &mut Losses) {
        let Block { origin, cache: _, kind } = block;
        match kind {
            BlockKind::Text { text, citations } => {
                let chars = if citations.is_empty() { 0 } else { text.as_str().chars().count() as u64 };
                let annotations = citations.into_iter().enumerate().filter_map(|(index, citation)| {
                    items::annotation(&format!("{origin}/citations/{index}"), citation, chars, losses)
                });
                let annotations: Vec<Value> = annotations.collect();
                let logprobs = logprobs.take().unwrap_or_default();
                self.parts.push(items::text_part(text, annotations, logprobs));
            }
            BlockKind::Refusal { text } => self.parts.push(items::refusal_part(text)),
            // It tells nothing.
            BlockKind::Thinking { text, signature: None } if text.is_empty() => {}
            BlockKind::Thinking { text, signature } => {
                let id = self.next_id("rs");
                self.items.push(reasoning::answer_item(
                    id,
                    &text.as_str(),
                    signature.as_ref().map(Text::as_str).as_deref(),
                ));
            }
            BlockKind::RedactedThinking { data } => {
                let id = self.next_id("rs");
                self.items.push(reasoning::redacted_item(id, &data.as_str()));
            }
            BlockKind::ToolUse { id, name, input } => {
                let own = self.next_id("fc");
                let id = self.ids.next(id);
                self.items.push(items::call(&own, status, &id, &name, Text::of_document(&input)));
            }
            BlockKind::Foreign { name: _, value: _ } => {
                losses.push(loss(origin, LossKind::ServerTool, Effect::Meaning));
            }
            BlockKind::ToolResult { .. }
            | BlockKind::Image { .. }
            | BlockKind::Document { .. }
            | BlockKind::Audio { .. } => losses.push(loss(origin, LossKind::Media, Effect::Meaning)),
        }
    }

    /// The id of an item that begins.
    fn next_id(&mut self, kind: &str) -> String {
        self.flush("completed");
        self.frame.item_id(kind, self.items.len())
    }

    /// Ends the message that goes on.
    fn flush(&mut self, status: &str) {
        if !self.parts.is_empty() {
            let parts = std::mem::take(&mut self.parts);
            let id = self.frame.item_id("msg", self.items.len());
            self.items.push(items::message(&id, status, parts));
        }
    }
}
