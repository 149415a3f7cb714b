//! OpenAI's audio, seen in passing: speech as events, transcripts as JSON or as events.
//!
//! Source: `openai.types.audio` (`Transcription`, `TranscriptionStreamEvent`, `SpeechAudioDoneEvent`).

use serde::Deserialize;

use crate::observe::{Seen, Tally, TypedEvent};
use crate::openai_responses::observe::WireUsage;

#[derive(Deserialize)]
struct Body {
    /// Tokens, or a duration, which is no token.
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// Sees a whole answer. Transcripts may also be plain text or subtitles, which tell nothing.
pub(crate) fn observe_body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body>(body) {
        tally.finish(read.usage.and_then(|usage| usage.usage()));
    }
}

/// Sees one event.
pub(crate) fn observe_event(tally: &mut Tally, data: &[u8]) -> Seen {
    if data == b"[DONE]" {
        tally.is_complete = true;
        return Seen::Terminal;
    }
    let Ok(event) = serde_json::from_slice::<TypedEvent<'_>>(data) else { return Seen::Other };
    match event.kind.as_ref() {
        "error" => Seen::Error,
        "transcript.text.done" | "speech.audio.done" => {
            let usage = event.usage.and_then(|usage| serde_json::from_str::<WireUsage>(usage.get()).ok());
            tally.finish(usage.and_then(|usage| usage.usage()));
            tally.is_complete = true;
            Seen::Terminal
        }
        "transcript.text.delta" => {
            tally.output(event.delta.map_or(0, |delta| delta.get().len().saturating_sub(2)));
            Seen::Content
        }
        "speech.audio.delta" => {
            tally.saw_output = true;
            Seen::Content
        }
        _ => Seen::Content,
    }
}
