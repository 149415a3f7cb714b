//! Requests whose backend speaks the client's dialect: the client's bytes, with pointed edits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use tollgate_terms::{Dialect, ModelName};
use tollgate_wire::json::{self, Edit, Map, Path, Value};
use tollgate_wire::multipart;

use crate::inspect::{Facts, ModelPlace, asks_for_usage};
use crate::openai_responses;

/// What to change.
#[derive(Debug, Clone)]
pub struct SpliceEdits<'a> {
    /// Another model.
    pub model: Option<&'a ModelName>,
    /// Ask for the usage of a stream.
    pub ask_usage: bool,
    /// What the host wants to be different.
    pub host: Vec<Edit>,
    /// A bound on the answer.
    pub bound: Option<Edit>,
    /// Top-level members to set, with the value as JSON text.
    pub body_set: &'a [(String, String)],
    /// Top-level members to remove.
    pub body_remove: &'a [String],
}

/// The body for the backend, as pieces of which all that did not change share `body`.
pub fn splice_request(dialect: Dialect, body: &Bytes, facts: &Facts, edits: SpliceEdits<'_>) -> Vec<Bytes> {
    if let (Some(part), Some(model)) = (&facts.model_part, edits.model) {
        return multipart::replace(body, part, Bytes::copy_from_slice(model.as_str().as_bytes()));
    }
    let Some(object) = &facts.json else { return vec![body.clone()] };
    let model = edits.model.filter(|_| facts.model_place == ModelPlace::Body);
    let model = model.map(|model| Edit::Set { path: Path::top("model"), value: quote(model.as_str()) });
    let asks_usage = edits.ask_usage && asks_for_usage(dialect);
    let usage = asks_usage.then(|| Edit::Set {
        path: Path::inner("stream_options", "include_usage"),
        value: Bytes::from_static(b"true"),
    });
    let of_body = body_edits(edits.body_set, edits.body_remove);
    let single = [&model, &usage, &edits.bound];
    if single.into_iter().all(Option::is_none) && edits.host.is_empty() && of_body.is_empty() {
        return vec![body.clone()];
    }
    let changes = model.into_iter().chain(usage).chain(edits.host).chain(edits.bound).chain(of_body);
    json::splice(body, object, changes)
}

/// The edit of a request in `dialect` that bounds its answer to `tokens`; `None` if it has no such bound.
pub fn bound_answer(dialect: Dialect, tokens: u64) -> Option<Edit> {
    let path = match dialect {
        Dialect::OpenAiChat => Path::top("max_completion_tokens"),
        Dialect::OpenAiCompletions | Dialect::AnthropicMessages => Path::top("max_tokens"),
        Dialect::OpenAiResponses => Path::top("max_output_tokens"),
        Dialect::Gemini => Path::inner("generationConfig", "maxOutputTokens"),
        Dialect::BedrockConverse => Path::inner("inferenceConfig", "maxTokens"),
        Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank
        | Dialect::VllmTokenize => return None,
    };
    let value = Bytes::copy_from_slice(itoa::Buffer::new().format(tokens).as_bytes());
    Some(Edit::Set { path, value })
}

/// The JSON body of a request with `edit` made.
pub fn edited(body: &Bytes, facts: &Facts, edit: Edit) -> Bytes {
    match &facts.json {
        Some(object) => tollgate_wire::join(&mut json::splice(body, object, [edit])),
        None => body.clone(),
    }
}

/// The edits that a configured body mutation makes: removals first, so that a member in both ends up set.
pub fn body_edits(set: &[(String, String)], remove: &[String]) -> Vec<Edit> {
    let removed = remove.iter().map(|key| Edit::Remove { path: Path::Top(key.clone().into()) });
    let added = set
        .iter()
        .map(|(key, value)| Edit::Set { path: Path::Top(key.clone().into()), value: json_value(value) });
    removed.chain(added).collect()
}

/// A configured value as JSON: as it is, or as a string where it is none.
fn json_value(text: &str) -> Bytes {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Bytes::copy_from_slice(text.as_bytes()),
        Err(_) => quote(text),
    }
}

/// `body` as the member `member` of another, with the name of its model.
pub fn wrap(mut body: Map, member: &str, model: &str) -> Map {
    body.insert("model", model.into());
    Map::from_iter([(member, Value::Object(body))])
}

/// An object that holds `body` at `path`, in base64.
pub fn as_blob(body: &[u8], path: &[&str]) -> Bytes {
    let blob = Value::from(STANDARD.encode(body));
    let within = |inner, key: &&str| Value::Object(Map::from_iter([(*key, inner)]));
    path.iter().rev().fold(blob, within).to_bytes()
}

/// What an answer in `dialect` repeats of its request, for [`AnswerContext`](crate::AnswerContext); empty where it repeats nothing.
pub fn repeated(dialect: Dialect, body: &Bytes, facts: &Facts) -> Bytes {
    if dialect == Dialect::OpenAiResponses { openai_responses::repeated(body, facts) } else { Bytes::new() }
}

fn quote(text: &str) -> Bytes {
    Bytes::from(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use tollgate_terms::Operation;

    use super::*;

    fn splice(body: &'static str, edits: SpliceEdits<'_>) -> String {
        let body = Bytes::from_static(body.as_bytes());
        let facts =
            crate::inspect(Dialect::OpenAiChat, Operation::Chat, None, None, &body).expect("a good body");
        let pieces = splice_request(Dialect::OpenAiChat, &body, &facts, edits);
        String::from_utf8(pieces.concat()).expect("UTF-8")
    }

    const NONE: SpliceEdits<'static> = SpliceEdits {
        model: None,
        ask_usage: false,
        host: Vec::new(),
        bound: None,
        body_set: &[],
        body_remove: &[],
    };

    #[test]
    fn changes_the_model_and_nothing_else() {
        let model = ModelName::parse("b").expect("a name");
        let edits = SpliceEdits { model: Some(&model), ..NONE };
        assert_eq!(
            splice(r#"{ "x":1.0, "model" : "a","y":[ ] }"#, edits),
            r#"{ "x":1.0, "model" : "b","y":[ ] }"#
        );
    }

    #[test]
    fn asks_for_usage_whatever_the_client_said() {
        let edits = SpliceEdits { ask_usage: true, ..NONE };
        for (body, expected) in [
            (
                r#"{"model":"a","stream":true}"#,
                r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"a","stream_options":{"include_usage":false}}"#,
                r#"{"model":"a","stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"a","stream_options":{"x":1}}"#,
                r#"{"model":"a","stream_options":{"x":1,"include_usage":true}}"#,
            ),
            (
                r#"{"model":"a","stream_options":null}"#,
                r#"{"model":"a","stream_options":{"include_usage":true}}"#,
            ),
        ] {
            assert_eq!(splice(body, edits.clone()), expected);
        }
    }

    #[test]
    fn mutates_the_body_as_configured() {
        let set =
            [("temperature".to_owned(), "0.5".to_owned()), ("note".to_owned(), "plain text".to_owned())];
        let remove = ["stop".to_owned(), "temperature".to_owned()];
        let edits = SpliceEdits { body_set: &set, body_remove: &remove, ..NONE };
        assert_eq!(
            splice(r#"{"stop":"x","model":"a","temperature":1}"#, edits),
            r#"{"model":"a","temperature":0.5,"note":"plain text"}"#
        );
    }
}
