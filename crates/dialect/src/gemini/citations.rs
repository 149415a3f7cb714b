//! Sources of an answer, which stand beside it: what was found on the web and which places of the text rest on it (the grounding), and
//! where texts are quoted from. Places are counted in bytes of a part, or of all text in a stream.
//!
//! Source: `google.genai.types.GroundingMetadata`, `Segment` and `Citation`.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use tollgate_chat::{Citation, CitedSource, Effect, LossKind, Losses, Origin};
use tollgate_wire::json::{Map, Value};

use crate::fields::{Members, lose_members, loss, object};
use crate::ruler::Ruler;

/// Most sources of one answer: a few bytes may name one again.
const CITED_MAX: usize = 4096;

/// A source, and the place of a text that rests on it in bytes.
pub(super) struct Cited {
    /// The source, without its span.
    pub(super) citation: Citation,
    /// Which part of the content it is in, where that is told.
    pub(super) part: Option<u64>,
    /// From where to where; `None` is all of the text.
    pub(super) bytes: Option<(u64, u64)>,
}

impl Cited {
    /// The citation of a text; nothing where the place is not in it.
    pub(super) fn of_text(self, ruler: &Ruler) -> Option<Citation> {
        let mut citation = self.citation;
        if let Some((start, end)) = self.bytes {
            citation.span = Some(ruler.char_of(start)?..ruler.char_of(end)?);
        }
        Some(citation)
    }
}

/// The sources of `groundingMetadata`. What the hub has no room for is recorded in `losses`.
pub(super) fn decode_grounding(origin: &Origin, told: &Value, losses: &mut Losses) -> Vec<Cited> {
    let origin = format!("{origin}/groundingMetadata");
    let Some(members) = told.as_object() else { return Vec::new() };
    lose_members(&origin, members, &["groundingChunks", "groundingSupports"], losses);
    let list = |key: &str| members.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chunks: Vec<Option<Citation>> = list("groundingChunks")
        .iter()
        .enumerate()
        .map(|(index, told)| {
            let citation = chunk(told);
            if citation.is_none() {
                let pointer = format!("{origin}/groundingChunks/{index}");
                losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            }
            citation
        })
        .collect();
    let mut cited = Vec::new();
    let mut is_used = vec![false; chunks.len()];
    for (number, support) in list("groundingSupports").iter().enumerate() {
        if let Some(members) = support.as_object() {
            let pointer = format!("{origin}/groundingSupports/{number}");
            lose_members(&pointer, members, &["segment", "groundingChunkIndices"], losses);
        }
        let segment = support.get("segment");
        let count = |key: &str| segment.and_then(|segment| segment.get(key)?.as_u64());
        let indices = support.get("groundingChunkIndices").and_then(Value::as_array);
        for index in indices.into_iter().flatten().filter_map(Value::as_u64) {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(Some(citation)) = chunks.get(index) else { continue };
            if cited.len() == CITED_MAX {
                let pointer = format!("{origin}/groundingSupports");
                losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
                return cited;
            }
            is_used.get_mut(index).into_iter().for_each(|is_used| *is_used = true);
            // What is 0 is left out.
            let bytes = count("endIndex").map(|end| (count("startIndex").unwrap_or_default(), end));
            cited.push(Cited { citation: citation.clone(), part: count("partIndex"), bytes });
        }
    }
    let unused = chunks.into_iter().zip(is_used).filter(|(_, is_used)| !is_used);
    cited.extend(
        unused.filter_map(|(citation, _)| Some(Cited { citation: citation?, part: None, bytes: None })),
    );
    cited
}

/// What was found; nothing where it has no address.
fn chunk(told: &Value) -> Option<Citation> {
    let found = ["web", "retrievedContext", "maps"].into_iter().find_map(|key| told.get(key))?;
    let text = |key: &str| found.get(key).and_then(Value::as_text).filter(|text| !text.is_empty()).cloned();
    let source = CitedSource::Web { url: text("uri")?.into_string(), proof: None };
    let title = text("title").map(|title| title.into_string());
    Some(Citation { source, title, quote: text("text"), span: None })
}

/// The sources of `citationMetadata`, which older models call otherwise. Those without an address are recorded in `losses`.
pub(super) fn decode_quoted(origin: &Origin, told: &Value, losses: &mut Losses) -> Vec<Cited> {
    let list = ["citations", "citationSources"].into_iter().find_map(|key| told.get(key)?.as_array());
    let mut cited = Vec::new();
    for (index, told) in list.into_iter().flatten().enumerate() {
        if cited.len() == CITED_MAX {
            let pointer = format!("{origin}/citationMetadata/citations");
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            break;
        }
        let pointer = format!("{origin}/citationMetadata/citations/{index}");
        let text = |key: &str| told.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(url) = text("uri") else {
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            continue;
        };
        let known = ["uri", "title", "startIndex", "endIndex"];
        told.as_object().into_iter().for_each(|told| lose_members(&pointer, told, &known, losses));
        let source = CitedSource::Web { url: url.into_owned(), proof: None };
        let title = text("title").map(|title| title.into_owned());
        let count = |key: &str| told.get(key).and_then(Value::as_u64);
        let bytes = count("endIndex").map(|end| (count("startIndex").unwrap_or_default(), end));
        cited.push(Cited {
            citation: Citation { source, title, quote: None, span: None },
            part: None,
            bytes,
        });
    }
    cited
}

/// `groundingMetadata` as it grows.
#[derive(Debug, Default)]
pub(super) struct Grounding {
    /// What was found, each once.
    chunks: Vec<Value>,
    /// The number of each, by how it is written.
    known: BTreeMap<Bytes, usize>,
    supports: Vec<Value>,
}

impl Grounding {
    /// Adds what a text rests on: `chars` of what `ruler` measures, which is all that counts as one part.
    pub(super) fn add(
        &mut self,
        pointer: &str,
        citation: Citation,
        (ruler, chars, part): (&Ruler, Range<u64>, usize),
        losses: &mut Losses,
    ) {
        let Citation { source, title, quote, span } = citation;
        let mut found = Members::default();
        let kind = match source {
            CitedSource::Web { url, proof } => {
                if proof.is_some() {
                    let pointer = format!("{pointer}/encrypted_index");
                    losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
                }
                if quote.is_some() {
                    losses.push_once(loss(
                        format!("{pointer}/cited_text"),
                        LossKind::Citation,
                        Effect::Meaning,
                    ));
                }
                found.set("uri", Some(url));
                "web"
            }
            // What is no address stands among what is known of it beside that.
            CitedSource::File { id } => {
                let id = object!({"key": "file_id", "stringValue": id});
                found.set("customMetadata", Some(Value::Array(vec![id])));
                "retrievedContext"
            }
            // Which part of the document it is has no words.
            CitedSource::Document { index: _, file: _, passage: _ } => {
                losses.push_once(loss(format!("{pointer}/location"), LossKind::Citation, Effect::Meaning));
                "retrievedContext"
            }
            CitedSource::SearchResult { index: _, source, blocks: _ } => {
                losses.push_once(loss(format!("{pointer}/location"), LossKind::Citation, Effect::Meaning));
                found.set("uri", Some(source));
                "retrievedContext"
            }
        };
        found.set("title", title);
        found.set("text", quote.filter(|_| kind != "web"));
        let chunk = Value::Object(Map::from_iter([(kind, found.value())]));
        let next = self.chunks.len();
        let index = *self.known.entry(chunk.to_bytes()).or_insert(next);
        if index == next {
            self.chunks.push(chunk);
        }
        let before = chars.start;
        let span =
            span.map_or(chars, |span| before.saturating_add(span.start)..before.saturating_add(span.end));
        let place = |character: u64| ruler.byte_of(character.min(ruler.chars()));
        let (Some(start), Some(end)) = (place(span.start), place(span.end)) else {
            losses.push_once(loss(format!("{pointer}/start_index"), LossKind::Citation, Effect::Meaning));
            return;
        };
        let mut segment = Members::default();
        segment.set("partIndex", (part > 0).then_some(part));
        segment.set("startIndex", (start > 0).then_some(start));
        segment.set("endIndex", Some(end));
        let indices = Value::Array(vec![index.into()]);
        self.supports.push(object!({"segment": segment.value(), "groundingChunkIndices": indices}));
    }

    /// The object; none where nothing was added.
    pub(super) fn value(self) -> Option<Value> {
        let Self { chunks, known: _, supports } = self;
        (!chunks.is_empty()).then(|| object!({"groundingChunks": chunks, "groundingSupports": supports}))
    }
}
