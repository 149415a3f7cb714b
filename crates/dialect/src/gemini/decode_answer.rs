//! A whole answer of `generateContent`, read into the hub. The events of a stream have the same shape.
//!
//! Source: `google.genai.types.GenerateContentResponse`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tollgate_chat::{Answer, Block, BlockKind, Choice, Effect, LossKind, Losses, Origin, StopReason};
use tollgate_wire::json::{Map, Text, Value};

use super::citations::{self, Cited};
use super::logprobs::decode_logprobs;
use super::parts::{Part, part};
use super::stop::{Called, stop_reason};
use super::time;
use super::usage::decode_usage;
use crate::fields::{Fields, lose_members, loss, tells, told_members, wrong};
use crate::ruler::Ruler;
use crate::{Invalid, Unreadable};

/// The answer, or one event of a stream.
pub(super) struct Response {
    pub(super) candidates: Vec<Candidate>,
    pub(super) prompt_feedback: Option<Value>,
    pub(super) usage_metadata: Option<Value>,
    pub(super) response_id: Option<String>,
    pub(super) model_version: Option<String>,
    pub(super) create_time: Option<String>,
    pub(super) error: Option<Failure>,
    pub(super) rest: Map,
}

/// `google.rpc.Status`.
pub(super) struct Failure {
    pub(super) status: Option<String>,
    pub(super) message: Option<String>,
}

pub(super) struct Candidate {
    pub(super) index: Option<usize>,
    pub(super) content: Content,
    pub(super) finish_reason: Option<String>,
    pub(super) citation_metadata: Option<Value>,
    pub(super) grounding_metadata: Option<Value>,
    pub(super) logprobs_result: Option<Value>,
    pub(super) rest: Map,
}

#[derive(Default)]
pub(super) struct Content {
    pub(super) parts: Vec<Map>,
    pub(super) rest: Map,
}

impl Response {
    /// Takes a document apart.
    pub(super) fn of(mut told: Fields) -> Result<Self, Invalid> {
        let list = told.list("candidates")?;
        let mut candidates = Vec::with_capacity(list.len());
        for (place, told) in list.into_iter().enumerate() {
            candidates.push(Candidate::of(told, Origin::of_item("candidates", place))?);
        }
        Ok(Self {
            candidates,
            prompt_feedback: told.take("promptFeedback"),
            usage_metadata: told.take("usageMetadata"),
            response_id: told.text("responseId")?,
            model_version: told.text("modelVersion")?,
            create_time: told.text("createTime")?,
            error: told.object("error")?.map(Failure::of).transpose()?,
            rest: told.into_members(),
        })
    }
}

impl Failure {
    fn of(mut told: Fields) -> Result<Self, Invalid> {
        Ok(Self { status: told.text("status")?, message: told.text("message")? })
    }
}

impl Candidate {
    fn of(told: Value, pointer: Origin) -> Result<Self, Invalid> {
        let mut told = Fields::of(told, pointer)?;
        let index = told.count("index")?.map(usize::try_from).transpose();
        Ok(Self {
            index: index.map_err(|_| Invalid::bad_request(format!("{}: no such index", told.pointer)))?,
            content: told.object("content")?.map(Content::of).transpose()?.unwrap_or_default(),
            finish_reason: told.text("finishReason")?,
            citation_metadata: told.take("citationMetadata"),
            grounding_metadata: told.take("groundingMetadata"),
            logprobs_result: told.take("logprobsResult"),
            rest: told.into_members(),
        })
    }
}

impl Content {
    fn of(mut told: Fields) -> Result<Self, Invalid> {
        let list = told.list("parts")?;
        let mut parts = Vec::with_capacity(list.len());
        for part in list {
            let Value::Object(part) = part else { return Err(wrong(told.at("parts"), "an object", &part)) };
            parts.push(told_members(part));
        }
        Ok(Self { parts, rest: told.into_members() })
    }
}

/// Reads an answer, leniently. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_answer(body: &Bytes, losses: &mut Losses) -> Result<Answer, Unreadable> {
    let body = Response::of(Fields::read_answer(body, |_| false)?)?;
    lose_members("", &body.rest, &[], losses);
    let is_blocked = body.prompt_feedback.is_some_and(|feedback| blocked(&feedback, losses));
    let mut choices = Vec::with_capacity(body.candidates.len());
    for (place, candidate) in body.candidates.into_iter().enumerate() {
        choices.push(choice(place, candidate, losses)?);
    }
    choices.sort_by_key(|(index, _)| *index);
    let mut choices: Vec<Choice> = choices.into_iter().map(|(_, choice)| choice).collect();
    if choices.is_empty() {
        if !is_blocked {
            return Err(Unreadable("an answer without candidates".to_owned()));
        }
        choices.push(Choice { blocks: Vec::new(), stop: StopReason::Refusal, logprobs: None });
    }
    Ok(Answer {
        id: body.response_id.unwrap_or_default(),
        model: body.model_version.filter(|model| !model.is_empty()),
        created_s: body.create_time.and_then(|text| time::parse(&text)),
        choices,
        usage: body.usage_metadata.and_then(|told| decode_usage(&told, losses)),
        service_tier: None,
    })
}

/// Whether the prompt was refused.
pub(super) fn blocked(feedback: &Value, losses: &mut Losses) -> bool {
    let reason = feedback.get("blockReason").and_then(Value::as_str);
    let is_blocked = reason.is_some_and(|reason| reason != "BLOCKED_REASON_UNSPECIFIED");
    for (key, kind, effect) in [
        // The hub knows a refusal and not why.
        ("blockReasonMessage", LossKind::StopReason, Effect::Meaning),
        ("safetyRatings", LossKind::Metadata, Effect::Cost),
    ] {
        if feedback.get(key).is_some_and(tells) {
            losses.push_once(loss(format!("/promptFeedback/{key}"), kind, effect));
        }
    }
    is_blocked
}

fn choice(place: usize, candidate: Candidate, losses: &mut Losses) -> Result<(usize, Choice), Unreadable> {
    let Candidate {
        index,
        content,
        finish_reason,
        citation_metadata,
        grounding_metadata,
        logprobs_result,
        rest,
    } = candidate;
    let origin = Origin::of_item("candidates", place);
    lose_beside(&origin, &rest, losses);
    let mut blocks = Vec::new();
    let Content { parts, rest: beside_parts } = content;
    lose_members(&origin.member("content"), &beside_parts, &["role"], losses);
    let parts_at = origin.member("content/parts");
    // The blocks of texts, by their parts.
    let mut texts = BTreeMap::new();
    for (number, members) in parts.into_iter().enumerate() {
        let origin = parts_at.item(number);
        let Part { signature, kind } = part(&origin, members, losses)?;
        // The signature of a part stands before it, as reasoning without a text.
        let signature = signature
            .map(|signature| BlockKind::Thinking { text: Text::default(), signature: Some(signature) });
        for kind in signature.into_iter().chain(kind) {
            if let BlockKind::Text { .. } = kind {
                texts.insert(number as u64, blocks.len());
            }
            blocks.push(Block { origin: origin.clone(), cache: None, kind });
        }
    }
    let quoted = citation_metadata.map(|told| citations::decode_quoted(&origin, &told, losses));
    let found = grounding_metadata.map(|told| citations::decode_grounding(&origin, &told, losses));
    cite(&origin, (&mut blocks, &texts), quoted.into_iter().chain(found).flatten(), losses);
    let has_called = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolUse { .. }));
    let called = if has_called { Called::Functions } else { Called::Nothing };
    let stop = stop_reason(finish_reason.as_deref(), called);
    let logprobs = logprobs_result.and_then(|told| decode_logprobs(&origin, &told, losses));
    Ok((index.unwrap_or(place), Choice { blocks, stop, logprobs }))
}

/// Gives the texts their sources, which are told beside them: the part that is named, or the last text.
fn cite(
    origin: &Origin,
    (blocks, texts): (&mut [Block], &BTreeMap<u64, usize>),
    told: impl Iterator<Item = Cited>,
    losses: &mut Losses,
) {
    let mut rulers = BTreeMap::new();
    for cited in told {
        let at = texts.get(&cited.part.unwrap_or_default()).or_else(|| texts.values().next_back());
        let block = at.and_then(|at| Some((at, &mut blocks.get_mut(*at)?.kind)));
        let citation = match block {
            Some((at, BlockKind::Text { text, citations })) => {
                let ruler = rulers.entry(at).or_insert_with(|| Ruler::of(text));
                cited.of_text(ruler).map(|citation| citations.push(citation))
            }
            _ => None,
        };
        if citation.is_none() {
            let pointer = format!("{origin}/groundingMetadata/groundingSupports");
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
        }
    }
}

/// What a candidate tells beside its content.
pub(super) fn lose_beside(origin: &Origin, rest: &Map, losses: &mut Losses) {
    const KNOWN: [(&str, LossKind, Effect); 5] = [
        ("urlContextMetadata", LossKind::ServerTool, Effect::Meaning),
        ("finishMessage", LossKind::StopReason, Effect::Meaning),
        ("safetyRatings", LossKind::Metadata, Effect::Cost),
        ("avgLogprobs", LossKind::Logprobs, Effect::Cost),
        ("tokenCount", LossKind::Usage, Effect::Cost),
    ];
    for (key, kind, effect) in KNOWN {
        if rest.get(key).is_some_and(tells) {
            losses.push_once(loss(format!("{origin}/{key}"), kind, effect));
        }
    }
    lose_members(origin, rest, &KNOWN.map(|(key, ..)| key), losses);
}
