//! Sources of texts. A text with sources is an element of another kind than one without, and a source belongs to all of it.
//!
//! Source: botocore, `bedrock-runtime` service model, `CitationsContentBlock` and `CitationsDelta`.

use std::ops::Range;

use tollgate_chat::{BlockKind, Citation, CitedSource, Effect, LossKind, Losses, Origin, Passage};
use tollgate_wire::json::{Text, Value};

use crate::fields::{Members, loss, object};
use crate::spans;

/// A text with its sources.
pub(super) fn decode(origin: &Origin, told: &Value, losses: &mut Losses) -> BlockKind {
    let list = |key: &str| told.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let citations = list("citations").iter().enumerate().filter_map(|(index, told)| {
        decode_one(&format!("{origin}/citationsContent/citations/{index}"), told, losses)
    });
    BlockKind::Text { text: joined(list("content")), citations: citations.collect() }
}

/// The texts of a list as one.
fn joined(list: &[Value]) -> Text {
    Text::join(list.iter().filter_map(|item| item.get("text")?.as_text().cloned()).collect(), "")
}

/// A source, whole or in a stream. One that is nowhere is recorded in `losses`.
pub(super) fn decode_one(pointer: &str, told: &Value, losses: &mut Losses) -> Option<Citation> {
    let text = |key: &str| told.get(key)?.as_str().filter(|text| !text.is_empty()).map(String::from);
    let Some(source) = told.get("location").and_then(|location| source(location, text("source"))) else {
        losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
        return None;
    };
    if !matches!(source, CitedSource::SearchResult { .. }) && text("source").is_some() {
        // What the document is called again, by the provider.
        losses.push_once(loss(format!("{pointer}/source"), LossKind::Citation, Effect::Cost));
    }
    let quote = told.get("sourceContent").and_then(Value::as_array).map(|list| joined(list));
    let quote = quote.filter(|quote| !quote.is_empty());
    Some(Citation { source, title: text("title"), quote, span: None })
}

/// Where a source is: one member of a union tells.
fn source(location: &Value, named: Option<String>) -> Option<CitedSource> {
    let place = |key: &str| location.get(key).filter(|place| place.is_object());
    let count = |place: &Value, key: &str| place.get(key).and_then(Value::as_u64);
    // The API leaves out what is 0.
    let range =
        |place: &Value| count(place, "start").unwrap_or_default()..count(place, "end").unwrap_or_default();
    if let Some(web) = place("web") {
        // Its domain stands in the address as well.
        return Some(CitedSource::Web { url: web.get("url")?.as_str()?.into_owned(), proof: None });
    }
    if let Some(result) = place("searchResultLocation") {
        let index = count(result, "searchResultIndex").unwrap_or_default();
        let source = named.unwrap_or_default();
        return Some(CitedSource::SearchResult { index, source, blocks: range(result) });
    }
    let (place, passage) = if let Some(place) = place("documentChar") {
        (place, Passage::Characters(range(place)))
    } else if let Some(place) = place("documentPage") {
        (place, Passage::Pages(range(place)))
    } else {
        let place = place("documentChunk")?;
        (place, Passage::Blocks(range(place)))
    };
    let index = count(place, "documentIndex").unwrap_or_default();
    Some(CitedSource::Document { index, file: None, passage })
}

/// A text that the model said before, with its sources, in as many elements as those need.
pub(super) fn encode(
    origin: &Origin,
    text: Text,
    citations: Vec<Citation>,
    losses: &mut Losses,
) -> Vec<Value> {
    let pieces = spans::cut(text, citations).into_iter();
    let element = |spans::Piece { text, citations }| {
        let said = citations.into_iter().filter_map(|(index, citation)| {
            encode_one(&format!("{origin}/citations/{index}"), citation, losses)
        });
        let said: Vec<Value> = said.collect();
        if said.is_empty() {
            return object!({"text": text});
        }
        let content = Value::Array(vec![object!({"text": text})]);
        object!({"citationsContent": object!({"content": content, "citations": said})})
    };
    pieces.map(element).collect()
}

/// Nothing where it is of a file that stands in no request.
fn encode_one(pointer: &str, citation: Citation, losses: &mut Losses) -> Option<Value> {
    let Citation { source, title, quote, span } = citation;
    let mut said = Members::default();
    said.set("title", title);
    let place = |kind: &'static str, index: u64, Range { start, end }: Range<u64>| {
        let mut place = Members::default();
        place.set(kind, Some(index));
        place.set("start", Some(start));
        place.set("end", Some(end));
        place.value()
    };
    let location = match source {
        CitedSource::Web { url, proof } => {
            if proof.is_some() {
                losses.push(loss(format!("{pointer}/encrypted_index"), LossKind::Citation, Effect::Meaning));
            }
            object!({"web": object!({"url": url})})
        }
        CitedSource::Document { index, file: _, passage } => {
            // The number tells which it is.
            match passage {
                Passage::Characters(range) => object!({"documentChar": place("documentIndex", index, range)}),
                Passage::Pages(range) => object!({"documentPage": place("documentIndex", index, range)}),
                Passage::Blocks(range) => object!({"documentChunk": place("documentIndex", index, range)}),
            }
        }
        CitedSource::File { id: _ } => {
            losses.push(loss(pointer, LossKind::Citation, Effect::Meaning));
            return None;
        }
        CitedSource::SearchResult { index, source, blocks } => {
            said.set("source", Some(source));
            object!({"searchResultLocation": place("searchResultIndex", index, blocks)})
        }
    };
    said.set("sourceContent", quote.map(|quote| Value::Array(vec![object!({"text": quote})])));
    said.set("location", Some(location));
    if span.is_some() {
        losses.push(loss(format!("{pointer}/start_index"), LossKind::Citation, Effect::Meaning));
    }
    Some(said.value())
}
