//! Chat and text completions, seen in passing.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::usage::WireUsage;
use crate::observe::{Seen, Tally, string_length};

/// Beginnings of answer text in an event.
const TEXTS: [&[u8]; 6] = [
    b"\"content\":\"",
    b"\"text\":\"",
    b"\"arguments\":\"",
    b"\"reasoning_content\":\"",
    b"\"reasoning\":\"",
    b"\"refusal\":\"",
];

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
    tally.output(texts_length(body));
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        tally.finish(read.usage.and_then(|usage| usage.usage()));
    }
}

/// Sees one event.
pub(crate) fn event(tally: &mut Tally, data: &[u8]) -> Seen {
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        tally.is_complete = true;
        return Seen::Terminal;
    }
    if is_error(data) {
        return Seen::Error;
    }
    if tally.served_model.is_none() {
        let Ok(read) = serde_json::from_slice::<ModelEvent<'_>>(data) else { return Seen::Other };
        tally.serve(read.model.as_deref());
    }
    tally.output(texts_length(data));
    if has_value(data, b"\"finish_reason\":") {
        // Some servers end a stream without `[DONE]`; the answer is whole all the same.
        tally.is_complete = true;
    }
    if !has_value(data, b"\"usage\":") {
        return if data.starts_with(b"{") && data.ends_with(b"}") { Seen::Content } else { Seen::Other };
    }
    let Ok(read) = serde_json::from_slice::<UsageEvent>(data) else { return Seen::Other };
    // The last one told counts: some servers tell a growing usage with every event, none tells parts to be summed.
    tally.finish(read.usage.and_then(|usage| usage.usage()));
    let has_choices = read.choices.is_some_and(|choices| !choices.is_empty());
    if has_choices { Seen::Content } else { Seen::UsageOnly }
}

/// Whether the event is an error: OpenAI and its kin send an object with `error` and nothing of a chunk.
fn is_error(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ErrorEvent {
        error: Option<IgnoredAny>,
        choices: Option<IgnoredAny>,
    }
    memmem::find(data.get(..data.len().min(64)).unwrap_or_default(), b"\"error\"").is_some()
        && serde_json::from_slice::<ErrorEvent>(data)
            .is_ok_and(|event| event.error.is_some() && event.choices.is_none())
}

/// Whether `key` stands in `data` with a value that is not null.
fn has_value(data: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(data, key).any(|at| {
        let value = data.get(at + key.len()..).unwrap_or_default().trim_ascii_start();
        !value.starts_with(b"null")
    })
}

/// Bytes of answer text in `data`.
fn texts_length(data: &[u8]) -> usize {
    TEXTS
        .iter()
        .map(|begin| {
            memmem::find_iter(data, begin)
                .map(|at| string_length(data.get(at + begin.len()..).unwrap_or_default()))
                .sum::<usize>()
        })
        .sum()
}
