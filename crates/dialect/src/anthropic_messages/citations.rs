//! Sources of texts. One belongs to all of its block.
//!
//! Source: `anthropic.types.TextCitation` and `TextCitationParam`.

use std::ops::Range;

use tollgate_chat::{Citation, CitedSource, Effect, LossKind, Losses, Origin, Passage};
use tollgate_wire::json::{Text, Value};

use crate::fields::{Members, loss};

/// The citations of a text, read into the hub. What it has no room for is recorded in `losses`.
pub(super) fn decode(pointer: &Origin, told: Vec<Value>, losses: &mut Losses) -> Vec<Citation> {
    let told = told.into_iter().enumerate();
    told.filter_map(|(index, citation)| decode_one(&format!("{pointer}/{index}"), &citation, losses))
        .collect()
}

/// One of them.
pub(super) fn decode_one(pointer: &str, told: &Value, losses: &mut Losses) -> Option<Citation> {
    let citation = read(told);
    if citation.is_none() {
        losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
    }
    citation
}

fn read(told: &Value) -> Option<Citation> {
    let text = |key: &str| told.get(key).and_then(Value::as_text).filter(|text| !text.is_empty()).cloned();
    let string = |key: &str| text(key).map(Text::into_string);
    let count = |key: &str| told.get(key).and_then(Value::as_u64);
    let range = |from: &str, to: &str| Some(count(from)?..count(to)?);
    let document = |passage| {
        Some(CitedSource::Document { index: count("document_index")?, file: string("file_id"), passage })
    };
    let (source, title) = match told.get("type")?.as_str()?.as_ref() {
        "char_location" => (
            document(Passage::Characters(range("start_char_index", "end_char_index")?))?,
            string("document_title"),
        ),
        "page_location" => (
            document(Passage::Pages(range("start_page_number", "end_page_number")?))?,
            string("document_title"),
        ),
        "content_block_location" => (
            document(Passage::Blocks(range("start_block_index", "end_block_index")?))?,
            string("document_title"),
        ),
        "web_search_result_location" => {
            (CitedSource::Web { url: string("url")?, proof: text("encrypted_index") }, string("title"))
        }
        "search_result_location" => {
            let source = CitedSource::SearchResult {
                index: count("search_result_index")?,
                source: string("source").unwrap_or_default(),
                blocks: range("start_block_index", "end_block_index")?,
            };
            (source, string("title"))
        }
        _ => return None,
    };
    Some(Citation { source, title, quote: text("cited_text"), span: None })
}

/// A citation, said: of all of a text. Where it is of a part, or of a file that stands in no request, that is recorded in `losses`.
pub(super) fn encode(pointer: &str, citation: Citation, losses: &mut Losses) -> Option<Value> {
    let Citation { source, title, quote, span } = citation;
    let mut said = Members::default();
    let range =
        |said: &mut Members, from: &'static str, to: &'static str, Range { start, end }: Range<u64>| {
            said.set(from, Some(start));
            said.set(to, Some(end));
        };
    match source {
        CitedSource::Web { url, proof } => {
            said.set("type", Some("web_search_result_location"));
            said.set("url", Some(url));
            said.set("title", Some(title));
            // Both have to be there.
            said.set("encrypted_index", Some(proof.unwrap_or_default()));
        }
        CitedSource::Document { index, file, passage } => {
            let (kind, from, to, place) = match passage {
                Passage::Characters(place) => ("char_location", "start_char_index", "end_char_index", place),
                Passage::Pages(place) => ("page_location", "start_page_number", "end_page_number", place),
                Passage::Blocks(place) => {
                    ("content_block_location", "start_block_index", "end_block_index", place)
                }
            };
            said.set("type", Some(kind));
            said.set("document_index", Some(index));
            said.set("document_title", Some(title));
            said.set("file_id", file);
            range(&mut said, from, to, place);
        }
        CitedSource::File { id: _ } => {
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            return None;
        }
        CitedSource::SearchResult { index, source, blocks } => {
            said.set("type", Some("search_result_location"));
            said.set("search_result_index", Some(index));
            said.set("source", Some(source));
            said.set("title", Some(title));
            range(&mut said, "start_block_index", "end_block_index", blocks);
        }
    }
    if span.is_some() {
        losses.push_once(loss(format!("{pointer}/start_index"), LossKind::Citation, Effect::Meaning));
    }
    said.set("cited_text", Some(quote.unwrap_or_default()));
    Some(said.value())
}

/// The citations of a text that the model said before. The API takes those back that it can check: not what another found on the web.
pub(super) fn encode_past(
    origin: &Origin,
    citations: Vec<Citation>,
    losses: &mut Losses,
) -> Option<Vec<Value>> {
    let mut said = Vec::with_capacity(citations.len());
    for (index, mut citation) in citations.into_iter().enumerate() {
        let pointer = format!("{origin}/citations/{index}");
        match &mut citation.source {
            CitedSource::Web { url: _, proof: None } => {
                losses.push(loss(pointer, LossKind::Citation, Effect::Meaning));
                continue;
            }
            // Answers tell it, and requests have no member for it.
            CitedSource::Document { index: _, file, passage: _ } => *file = None,
            CitedSource::Web { .. } | CitedSource::File { .. } | CitedSource::SearchResult { .. } => {}
        }
        said.extend(encode(&pointer, citation, losses));
    }
    (!said.is_empty()).then_some(said)
}
