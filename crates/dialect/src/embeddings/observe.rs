//! Embeddings, seen in passing: the tokens that were read.

use std::borrow::Cow;

use serde::Deserialize;
use tollgate_terms::Dialect;

use super::words;
use crate::observe::Tally;
use crate::openai_chat::usage::WireUsage;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// Sees a whole answer of OpenAI's.
pub(crate) fn openai_body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        tally.finish(read.usage.and_then(|usage| usage.usage()));
    }
}

/// Sees a whole answer of `dialect`.
pub(crate) fn body(tally: &mut Tally, dialect: Dialect, body: &[u8]) {
    // Where the answer does not tell the tokens, a header may have done so.
    if let Some(usage) = words(dialect).and_then(|words| (words.usage)(body)) {
        tally.finish(Some(usage));
    }
}
