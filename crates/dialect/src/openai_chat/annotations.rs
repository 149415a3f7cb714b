//! Sources of texts, which both of OpenAI's dialects know: pages on the web, and files at a place that is counted in characters.
//!
//! Source: `openai.types.chat.chat_completion_message.Annotation`; `openai.types.responses.response_output_text.AnnotationURLCitation`
//! has the same with one object less, and `AnnotationFileCitation` is in responses alone.

use tollgate_chat::{Block, BlockKind, Citation, CitedSource, Effect, LossKind, Losses, Origin};
use tollgate_wire::json::{Map, Text, Value};

use crate::fields::{Members, loss, tells};

/// The annotations of a text, read into the hub. What it has no room for is recorded in `losses`.
pub(crate) fn decode_annotations(pointer: &Origin, told: &[Value], losses: &mut Losses) -> Vec<Citation> {
    let told = told.iter().enumerate();
    told.filter_map(|(index, told)| decode_annotation(&pointer.item(index), told, losses)).collect()
}

/// One of them.
pub(crate) fn decode_annotation(pointer: &Origin, told: &Value, losses: &mut Losses) -> Option<Citation> {
    let citation = read(told);
    if citation.is_none() {
        losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
    }
    citation
}

/// Gives the texts of a message what it says that they rest on. Places count through all of them; without a place it is the first.
/// What is told of no text is recorded in `losses`.
pub(super) fn annotate(pointer: &Origin, told: Value, blocks: &mut [Block], losses: &mut Losses) {
    let is_text = |block: &Block| matches!(block.kind, BlockKind::Text { .. });
    let told = match told {
        Value::Array(told) if told.is_empty() || blocks.iter().any(is_text) => told,
        told => {
            if tells(&told) {
                losses.push(loss(pointer, LossKind::Citation, Effect::Meaning));
            }
            return;
        }
    };
    let mut cited = decode_annotations(pointer, &told, losses);
    // The texts from the last one on: each takes what begins in it or behind it.
    let mut chars_before: u64 = blocks.iter().map(|block| chars(&block.kind)).sum();
    for block in blocks.iter_mut().rev() {
        chars_before = chars_before.saturating_sub(chars(&block.kind));
        let BlockKind::Text { citations, .. } = &mut block.kind else { continue };
        let start = |citation: &Citation| citation.span.as_ref().map_or(0, |span| span.start);
        let (taken, left) = cited.into_iter().partition(|citation| start(citation) >= chars_before);
        *citations = taken;
        for span in citations.iter_mut().filter_map(|citation| citation.span.as_mut()) {
            *span = span.start - chars_before..span.end.saturating_sub(chars_before);
        }
        cited = left;
    }
}

/// Characters of a text; no other block has any that are counted.
fn chars(kind: &BlockKind) -> u64 {
    match kind {
        BlockKind::Text { text, citations: _ } => text.as_str().chars().count() as u64,
        _ => 0,
    }
}

fn read(told: &Value) -> Option<Citation> {
    let cited = told.get("url_citation").unwrap_or(told);
    let text = |key: &str| cited.get(key).and_then(Value::as_text).map(Text::to_string);
    let count = |key: &str| cited.get(key).and_then(Value::as_u64);
    let (source, title, span) = match told.get("type")?.as_str()?.as_ref() {
        "url_citation" => {
            let span = count("start_index").zip(count("end_index")).map(|(start, end)| start..end);
            (CitedSource::Web { url: text("url")?, proof: None }, text("title"), span)
        }
        // Where it would be inserted is told: behind what rests on it.
        "file_citation" => {
            (CitedSource::File { id: text("file_id")? }, text("filename"), count("index").map(|at| at..at))
        }
        _ => return None,
    };
    Some(Citation { source, title, quote: None, span })
}

/// The page that a text rests on: where, what it is called, and which characters rest on it; none where it is no page. The block has
/// `chars` characters, of which all rest on it where no span is told, and `chars_before` stand before it.
pub(crate) fn encode_page(
    pointer: &str,
    citation: Citation,
    (chars_before, chars): (u64, u64),
    losses: &mut Losses,
) -> Option<Map> {
    let Citation { source, title, quote, span } = citation;
    let mut lose = |key: &str| {
        losses.push_once(loss(format!("{pointer}{key}"), LossKind::Citation, Effect::Meaning));
    };
    let url = match source {
        CitedSource::Web { url, proof } => {
            if proof.is_some() {
                lose("/encrypted_index");
            }
            url
        }
        CitedSource::File { id: _ }
        | CitedSource::Document { index: _, file: _, passage: _ }
        | CitedSource::SearchResult { index: _, source: _, blocks: _ } => {
            lose("");
            return None;
        }
    };
    if quote.is_some() {
        lose("/cited_text");
    }
    let span = span.unwrap_or(0..chars);
    let mut said = Members::default();
    said.set("start_index", Some(chars_before.saturating_add(span.start)));
    said.set("end_index", Some(chars_before.saturating_add(span.end)));
    // It has to be there.
    said.set("title", Some(title.unwrap_or_else(|| url.clone())));
    said.set("url", Some(url));
    Some(said.map)
}
