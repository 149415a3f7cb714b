//! Sources of an answer. The hub keeps citations in the source's own shape; those with an address can be said here.
//!
//! Source: `google.genai.types.Citation`.

use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_wire::json::Value;

use crate::fields::{Members, loss, object};

/// The citations of `citationMetadata`. Older models call them otherwise.
pub(super) fn decode(told: &Value) -> Vec<Value> {
    let list = told.get("citations").or_else(|| told.get("citationSources"));
    list.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// `citationMetadata` for citations of any dialect; none where none can be said.
pub(super) fn encode(origin: &str, citations: Vec<Value>, losses: &mut Losses) -> Option<Value> {
    let mut said = Vec::with_capacity(citations.len());
    for (index, citation) in citations.into_iter().enumerate() {
        match own(citation) {
            Some(citation) => said.push(citation),
            None => losses.push_once(loss(
                format!("{origin}/citations/{index}"),
                LossKind::Citation,
                Effect::Meaning,
            )),
        }
    }
    (!said.is_empty()).then(|| object!({"citations": said}))
}

/// A citation in this dialect's shape: as it is, or what OpenAI's `url_citation` and Anthropic's results of searches tell.
fn own(citation: Value) -> Option<Value> {
    let Some(kind) = citation.get("type").and_then(Value::as_str) else {
        return citation.get("uri").is_some().then_some(citation);
    };
    let inner = match kind.as_ref() {
        "url_citation" => citation.get("url_citation").unwrap_or(&citation),
        "web_search_result_location" => &citation,
        _ => return None,
    };
    let mut said = Members::default();
    said.set("startIndex", inner.get("start_index").cloned());
    said.set("endIndex", inner.get("end_index").cloned());
    said.set("uri", Some(inner.get("url")?.clone()));
    said.set("title", inner.get("title").filter(|title| title.is_string()).cloned());
    Some(said.value())
}
