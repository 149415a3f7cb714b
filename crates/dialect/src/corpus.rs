//! For tests: documents as providers and clients write them, `tests/corpus/<dialect>-<kind>*.json`, read and said again.
//!
//! Whatever such a document tells has to stand in the same place afterwards, or be recorded as a loss. Add a document where
//! a provider says something new.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use tollgate_chat::{Loss, Losses};
use tollgate_terms::{Dialect, ModelName};

use crate::AnswerContext;
use crate::fields::tells;
use crate::words::words;

/// Members that are said anew, or that only say what kind of object they stand in.
const FRAMING: &[(&str, &str)] = &[
    ("openai_chat-request", "/model"),
    ("anthropic_messages-request", "/model"),
    // The gateway's own wish decides over it.
    ("openai_chat-request", "/stream_options/include_usage"),
    ("openai_responses-request", "/model"),
    // The gateway keeps no items, so they need no names.
    ("openai_responses-request", "/input/1/id"),
    ("openai_responses-request", "/input/2/id"),
    ("openai_responses-request", "/input/2/status"),
    ("openai_responses-request", "/input/2/caller/type"),
    ("openai_responses-request", "/input/3/id"),
    ("openai_responses-request", "/input/3/status"),
    ("openai_responses-request", "/input/4/id"),
    ("openai_responses-request", "/input/4/status"),
    ("openai_responses-request", "/input/7/status"),
    ("openai_responses-request", "/input/7/content/0/prompt_cache_breakpoint/mode"),
    ("openai_responses-answer", "/output/1/id"),
    ("openai_responses-answer", "/output/2/id"),
    ("openai_responses-answer", "/completed_at"),
    // Sources are said as grounding, wherever they were told.
    ("gemini-answer", "/candidates/0/citationMetadata/citations/0/startIndex"),
    ("gemini-answer", "/candidates/0/citationMetadata/citations/0/endIndex"),
    ("gemini-answer", "/candidates/0/citationMetadata/citations/0/uri"),
    ("gemini-answer", "/candidates/0/citationMetadata/citations/0/title"),
];

fn said_again(name: &str, body: &Bytes, losses: &mut Losses) -> Value {
    let model = ModelName::parse("served").expect("a name");
    let context = AnswerContext {
        requested_model: model.clone(),
        created_s: 7,
        fallback_id: "fallback".to_owned(),
        usage_wanted: true,
        vectors: crate::VectorEncoding::Float,
        repeated: Bytes::new(),
    };
    let (dialect, kind) = name.split_once('-').expect("a dialect and a kind");
    let dialect = Dialect::ALL.into_iter().find(|known| known.label() == dialect).expect("a dialect");
    let words = words(dialect).expect("a dialect of conversations");
    let client = words.client.as_ref().expect("a dialect that clients speak");
    let said = match kind.split('_').next() {
        Some("request") => {
            let read = (client.decode_request)(body.into(), losses).expect("a request");
            (words.backend.encode_request)(read, &model, losses).expect("words for all of it").to_bytes()
        }
        Some("answer") => {
            let read = (words.backend.decode_answer)(body, losses).expect("an answer");
            (client.encode_answer)(read, &context, losses).to_bytes()
        }
        other => panic!("{other:?}: a request or an answer?"),
    };
    serde_json::from_slice(&said).expect("JSON")
}

/// Every pointer to a value that holds no other and tells something.
fn leaves(pointer: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                leaves(&format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), value, out);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(&format!("{pointer}/{index}"), value, out);
            }
        }
        plain if tells(&crate::fold::value(plain.clone())) => out.push((pointer.to_owned(), plain.clone())),
        _ => {}
    }
}

/// Whether `loss` tells that what stands at `pointer` is not said.
fn covers(loss: &Loss, pointer: &str) -> bool {
    // An encoder names them as the other dialect does.
    let plain = |pointer: &str| {
        pointer.replace("/content/citations", "/annotations").replace("/citations", "/annotations")
    };
    let (pointer, lost) = (plain(pointer), plain(&loss.pointer));
    !lost.is_empty()
        && pointer.strip_prefix(&lost).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn what_a_document_tells_is_said_again_or_recorded_as_lost() {
    let mut silent = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for entry in fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("a document").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let body = Bytes::from(fs::read(&path).expect("a document"));
        let mut losses = Losses::default();
        let said = said_again(name, &body, &mut losses);
        let mut told = Vec::new();
        leaves("", &serde_json::from_slice(&body).expect("JSON"), &mut told);
        for (pointer, value) in told {
            let is_lost = losses.as_slice().iter().any(|loss| covers(loss, &pointer));
            let is_framing = FRAMING.contains(&(name, &pointer));
            if said.pointer(&pointer) != Some(&value) && !is_lost && !is_framing {
                silent.push(format!("{name}: {pointer} = {value}, said {:?}", said.pointer(&pointer)));
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
