//! Chat and text completions, seen in passing.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_wire::json;

use super::usage::WireUsage;
use crate::observe::{Seen, Tally, string_bytes, text_bytes};

/// Members that hold answer text, in an event or a body.
pub(crate) const TEXTS: [&[u8]; 6] =
    [b"content", b"text", b"arguments", b"reasoning_content", b"reasoning", b"refusal"];

/// The frame of a whole answer.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// An event that tells usage.
#[derive(Deserialize)]
struct UsageEvent {
    #[serde(default)]
    choices: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// An event, read for its model only.
#[derive(Deserialize)]
struct ModelEvent<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// Sees a whole answer.
pub(crate) fn body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        note(tally, read.usage);
    }
    if !tally.usage_is_final {
        tally.output(text_bytes(body, &TEXTS));
    }
}

fn note(tally: &mut Tally, told: Option<WireUsage>) {
    let Some(told) = told else { return };
    if told.tells_answer() { tally.finish(told.usage()) } else { tally.begin(told.usage()) }
}

/// Sees one event.
pub(crate) fn event(tally: &mut Tally, data: &[u8]) -> Seen {
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        tally.is_complete = true;
        return Seen::Terminal;
    }
    let glance = Glance::at(data);
    if glance.error && is_error(data) {
        return Seen::Error;
    }
    if tally.served_model.is_none() {
        let Ok(read) = serde_json::from_slice::<ModelEvent<'_>>(data) else { return Seen::Other };
        tally.serve(read.model.as_deref());
    }
    tally.output(glance.text_bytes);
    if glance.finish {
        // Some servers end a stream without `[DONE]`; the answer is whole all the same.
        tally.is_complete = true;
    }
    if !glance.usage {
        return if data.starts_with(b"{") && data.ends_with(b"}") { Seen::Content } else { Seen::Other };
    }
    let Ok(read) = serde_json::from_slice::<UsageEvent>(data) else { return Seen::Other };
    // The last one told counts: some servers tell a growing usage with every event, none tells parts to be summed.
    note(tally, read.usage);
    let has_choices = read.choices.is_some_and(|choices| !choices.is_empty());
    // What ends the answer is more than usage, wherever it stands.
    if has_choices || glance.finish { Seen::Content } else { Seen::UsageOnly }
}

/// What a walk over the members of an event tells: whether it needs a closer look.
#[derive(Default)]
struct Glance {
    text_bytes: usize,
    /// Whether these members stand anywhere with a value that is not null.
    error: bool,
    finish: bool,
    usage: bool,
}

impl Glance {
    fn at(data: &[u8]) -> Self {
        let mut glance = Self::default();
        for (key, value) in json::members(data) {
            let told = !value.starts_with(b"null");
            match key {
                b"error" => glance.error |= told,
                b"finish_reason" => glance.finish |= told,
                b"usage" => glance.usage |= told,
                // Those of `TEXTS`, which a match finds faster.
                b"content" | b"text" | b"arguments" | b"reasoning_content" | b"reasoning" | b"refusal" => {
                    glance.text_bytes += string_bytes(value);
                }
                _ => {}
            }
        }
        glance
    }
}

/// Whether the event is an error: OpenAI and its kin send an object with `error` and nothing of a chunk.
fn is_error(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ErrorEvent {
        error: Option<IgnoredAny>,
        choices: Option<IgnoredAny>,
    }
    serde_json::from_slice::<ErrorEvent>(data)
        .is_ok_and(|event| event.error.is_some() && event.choices.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_counted() {
        for text in TEXTS {
            let data = format!(r#"{{"choices":[{{"delta":{{"{}":"four"}}}}]}}"#, text.escape_ascii());
            assert_eq!(Glance::at(data.as_bytes()).text_bytes, 4, "{data}");
        }
    }

    /// Who is not told usage must still be told that the answer is over, however strangely that is said.
    #[test]
    fn an_event_that_ends_the_answer_is_more_than_usage() {
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
        for (members, expected) in [
            (r#""choices":[],"#, Seen::UsageOnly),
            ("", Seen::UsageOnly),
            (r##""#hoices":[{"delta":{},"finish_reason":"length"}],"##, Seen::Content),
        ] {
            let mut tally = Tally::default();
            let data = format!("{{\"model\":\"m\",{members}{usage}}}");
            assert_eq!(event(&mut tally, data.as_bytes()), expected, "{data}");
        }
    }
}
