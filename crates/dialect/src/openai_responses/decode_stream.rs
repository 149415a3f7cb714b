//! A streamed response, read into the hub event by event.
//!
//! Source: `openai.types.responses.ResponseStreamEvent`. Events are read member by member, since others than the known ones may have members
//! of the same name and another shape.

use std::borrow::Cow;

use tollgate_chat::{BlockStart, Effect, Event, LossKind, Losses};
use tollgate_wire::json::{Map, Text, Value};
use tollgate_wire::sse::Frame;

use super::decode_answer::stop_reason;
use super::stream_parts::{Parts, ReasoningText};
use super::usage::decode_usage;
use crate::Unreadable;
use crate::fields::{count, loss, tells};
use crate::translate::{lose_unreadable, read_object};
use crate::words::DecodeStream;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    has_begun: bool,
    has_ended: bool,
    parts: Parts,
}

impl StreamDecoder {
    /// A decoder for one stream.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl DecodeStream for StreamDecoder {
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        let data = frame.data();
        let data = data.trim_ascii();
        // Some servers end all of their streams as those of chat completions; here it says nothing.
        if self.has_ended || data == b"[DONE]" {
            return Ok(());
        }
        if data.is_empty() {
            out.push(Event::Ping);
            return Ok(());
        }
        let Some(Value::Object(event)) = read_object(frame) else {
            if frame.event().is_some_and(is_needed) {
                return Err(Unreadable("an event without its data".to_owned()));
            }
            lose_unreadable(losses);
            return Ok(());
        };
        self.event(&Wire(event), out, losses)
    }

    fn finish(&mut self, _: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_ended {
            Ok(())
        } else {
            Err(Unreadable("the stream ended before the response did".to_owned()))
        }
    }
}

/// Whether an answer may lack something without an event that is called so on its event line.
fn is_needed(event: &[u8]) -> bool {
    event.starts_with(b"response.") || event == b"error"
}

/// The members of an event.
struct Wire(Map);

impl Wire {
    fn text(&self, key: &str) -> Cow<'_, str> {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    fn value(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }

    /// A piece of text, which has to be there.
    fn delta(&self) -> Result<&Text, Unreadable> {
        let delta = self.0.get("delta").and_then(Value::as_text);
        delta.ok_or_else(|| Unreadable(format!("{} without a text", self.text("type"))))
    }
}

impl StreamDecoder {
    fn event(&mut self, event: &Wire, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        let output = event.number("output_index");
        let content = (output, event.number("content_index"));
        match event.text("type").as_ref() {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.begin(event.value("response"), out);
            }
            "response.output_item.added" => {
                self.begin(&Value::Null, out);
                self.parts.item_added(output, event.value("item"), out)?;
            }
            "response.output_item.done" => {
                self.begin(&Value::Null, out);
                self.parts.item_done(output, event.value("item"), out, losses)?;
            }
            "response.output_text.delta" => {
                self.begin(&Value::Null, out);
                let text = event.delta()?;
                if !text.is_empty() {
                    self.parts.logprobs(content, event.value("logprobs"), out)?;
                }
                self.parts.text(content, BlockStart::Text, text, out)?;
            }
            "response.refusal.delta" => {
                self.begin(&Value::Null, out);
                self.parts.text(content, BlockStart::Refusal, event.delta()?, out)?;
            }
            "response.output_text.annotation.added" => {
                self.parts.citation(content, event.value("annotation"), out, losses);
            }
            "response.content_part.done" => {
                self.begin(&Value::Null, out);
                self.parts.part_done(content, event.value("part"), out, losses)?;
            }
            "response.reasoning_summary_text.delta" => {
                self.begin(&Value::Null, out);
                let paragraph = (ReasoningText::Summary, event.number("summary_index"));
                self.parts.reasoning(output, paragraph, event.delta()?, out, losses)?;
            }
            "response.reasoning_text.delta" => {
                self.begin(&Value::Null, out);
                let paragraph = (ReasoningText::Content, event.number("content_index"));
                self.parts.reasoning(output, paragraph, event.delta()?, out, losses)?;
            }
            "response.function_call_arguments.delta" => self.parts.arguments(output, event.delta()?, out),
            "response.function_call_arguments.done" => {
                self.parts.arguments_done(output, event.value("arguments").as_text(), out);
            }
            // What they tell, other events tell as well.
            "response.content_part.added"
            | "response.output_text.done"
            | "response.refusal.done"
            | "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done"
            | "response.reasoning_text.done" => {}
            "response.completed" | "response.incomplete" => {
                self.end(event.value("response"), out, losses)?;
            }
            "response.failed" => self.fail(event.value("response"), out, losses),
            "error" => self.error(event.0.get("error").unwrap_or(&Value::Object(event.0.clone())), out),
            "" if event.value("error").is_object() => self.error(event.value("error"), out),
            "keepalive" => out.push(Event::Ping),
            // More of what has no words.
            _ if self.parts.is_foreign(output) => {}
            _ => losses.push_once(loss("", LossKind::UnknownField, Effect::Meaning)),
        }
        Ok(())
    }

    /// The answer begins with the first event that tells anything.
    fn begin(&mut self, response: &Value, out: &mut Vec<Event>) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        let text = |key: &str| {
            response.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(Cow::into_owned)
        };
        let created_s = response.get("created_at").and_then(count);
        let id = text("id").unwrap_or_default();
        out.push(Event::Start { id, model: text("model"), created_s, usage: None });
    }

    fn end(&mut self, response: &Value, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        self.begin(response, out);
        if response.get("service_tier").is_some_and(|tier| tells(tier) && tier != "default") {
            losses.push_once(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
        }
        let items = response.get("output").and_then(Value::as_array).map(Vec::as_slice);
        for (output, item) in (0..).zip(items.unwrap_or_default()) {
            self.parts.item_done(output, item, out, losses)?;
        }
        self.has_ended = true;
        self.parts.close(out);
        out.extend(response.get("usage").and_then(|usage| decode_usage(usage, losses)).map(Event::Usage));
        let status = response.get("status").and_then(Value::as_str);
        let reason = stop_reason(status.as_deref(), response.get("incomplete_details"), self.parts.called());
        out.push(Event::Stop { choice: 0, reason });
        out.push(Event::End);
        Ok(())
    }

    fn fail(&mut self, response: &Value, out: &mut Vec<Event>, losses: &mut Losses) {
        out.extend(response.get("usage").and_then(|usage| decode_usage(usage, losses)).map(Event::Usage));
        self.error(response.get("error").unwrap_or(&Value::Null), out);
    }

    fn error(&mut self, error: &Value, out: &mut Vec<Event>) {
        self.has_ended = true;
        let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        // The event itself is of the type `error`, which says nothing.
        let kind = text("type").filter(|kind| *kind != "error").or_else(|| text("code"));
        let kind = kind.unwrap_or("server_error".into()).into_owned();
        let message = text("message").unwrap_or("the response failed".into()).into_owned();
        out.push(Event::Error { kind, message });
    }
}
