//! Log probabilities. OpenAI's shape is the one that clients know, so the hub gets that one.
//!
//! Source: `google.genai.types.LogprobsResult`; `openai.types.chat.chat_completion.ChoiceLogprobs`.

use tollgate_chat::{Effect, LossKind, Losses, Origin};
use tollgate_wire::json::Value;

use crate::fields::{loss, object};

/// The tokens with their probabilities, and the alternatives of each.
pub(super) fn decode_logprobs(origin: &Origin, told: &Value, losses: &mut Losses) -> Option<Value> {
    let content = decode_tokens(origin, told, losses)?;
    Some(object!({"content": content, "refusal": Value::Null}))
}

/// The same, as a list.
pub(super) fn decode_tokens(origin: &Origin, told: &Value, losses: &mut Losses) -> Option<Vec<Value>> {
    let list = |key: &str| told.get(key).and_then(Value::as_array);
    let chosen = list("chosenCandidates")?;
    let tops = list("topCandidates");
    if told.get("logProbabilitySum").is_some_and(Value::is_number) {
        let pointer = format!("{origin}/logprobsResult/logProbabilitySum");
        losses.push_once(loss(pointer, LossKind::Logprobs, Effect::Cost));
    }
    if chosen.iter().any(|token| token.get("tokenId").is_some()) {
        let pointer = format!("{origin}/logprobsResult/chosenCandidates");
        losses.push_once(loss(pointer, LossKind::Logprobs, Effect::Cost));
    }
    let content: Vec<Value> = chosen
        .iter()
        .enumerate()
        .filter_map(|(index, candidate)| {
            let mut entry = decode_token(candidate)?;
            let top = tops.and_then(|tops| tops.get(index)?.get("candidates")?.as_array());
            let top: Vec<Value> = top.into_iter().flatten().filter_map(decode_token).collect();
            entry.as_object_mut()?.insert("top_logprobs", top.into());
            Some(entry)
        })
        .collect();
    Some(content)
}

fn decode_token(candidate: &Value) -> Option<Value> {
    let token = candidate.get("token")?.as_str()?;
    let logprob = candidate.get("logProbability")?.as_f64()?;
    let bytes = token.as_bytes().to_vec();
    Some(object!({"token": token, "logprob": logprob, "bytes": bytes}))
}

/// The same, said.
pub(super) fn encode_logprobs(origin: &Origin, told: &Value, losses: &mut Losses) -> Option<Value> {
    let Some(content) = told.get("content").and_then(Value::as_array) else {
        losses.push_once(loss(format!("{origin}/logprobs"), LossKind::Logprobs, Effect::Meaning));
        return None;
    };
    Some(encode_tokens(content))
}

/// The same of a list of tokens.
pub(super) fn encode_tokens(content: &[Value]) -> Value {
    let chosen: Vec<Value> = content.iter().filter_map(encode_token).collect();
    let tops = content.iter().map(|entry| {
        let top = entry.get("top_logprobs").and_then(Value::as_array);
        let top: Vec<Value> = top.into_iter().flatten().filter_map(encode_token).collect();
        object!({"candidates": top})
    });
    let tops: Vec<Value> = tops.collect();
    object!({"chosenCandidates": chosen, "topCandidates": tops})
}

fn encode_token(entry: &Value) -> Option<Value> {
    Some(object!({"token": entry.get("token")?.clone(), "logProbability": entry.get("logprob")?.clone()}))
}
