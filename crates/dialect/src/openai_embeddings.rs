//! OpenAI's embeddings, seen in passing.

use std::borrow::Cow;

use serde::Deserialize;

use crate::observe::Tally;
use crate::openai_chat::usage::WireUsage;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// Sees a whole answer.
pub(crate) fn observe_body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        tally.finish(read.usage.and_then(|usage| usage.usage()));
    }
}
