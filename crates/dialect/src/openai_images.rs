//! OpenAI's images, seen in passing.
//!
//! Source: `openai.types.ImagesResponse`, `ImageGenStreamEvent`.

use serde::Deserialize;

use crate::observe::{Seen, Tally, TypedEvent};
use crate::openai_responses::observe::WireUsage;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// Sees a whole answer.
pub(crate) fn observe_body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body>(body) {
        tally.finish(read.usage.and_then(|usage| usage.usage()));
    }
}

/// Sees one event.
pub(crate) fn observe_event(tally: &mut Tally, data: &[u8]) -> Seen {
    let Ok(event) = serde_json::from_slice::<TypedEvent<'_>>(data) else { return Seen::Other };
    match event.kind.as_ref() {
        "error" => Seen::Error,
        "image_generation.completed" => {
            let usage = event.usage.and_then(|usage| serde_json::from_str::<WireUsage>(usage.get()).ok());
            tally.finish(usage.and_then(|usage| usage.usage()));
            tally.saw_output = true;
            tally.is_complete = true;
            Seen::Terminal
        }
        "image_generation.partial_image" => {
            tally.saw_output = true;
            Seen::Content
        }
        _ => Seen::Other,
    }
}
