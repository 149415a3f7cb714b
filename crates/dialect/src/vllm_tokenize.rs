//! vLLM's `/tokenize`: the count is its usage.

use serde::Deserialize;
use tollgate_terms::Usage;

use crate::observe::Count;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    count: Count,
}

/// The usage of an answer.
pub(crate) fn usage(body: &[u8]) -> Option<Usage> {
    let count = serde_json::from_slice::<Body>(body).ok()?.count.value()?;
    Some(Usage { input_tokens: count, ..Usage::default() })
}
