//! The number of tokens of a conversation, asked in one dialect and counted in another.
//!
//! A request is the conversation itself in the words of the chat, less what has no place in a count; an answer is one number.

use bytes::Bytes;
use tollgate_chat::{Block, Conversation, Losses, Role, Turn};
use tollgate_terms::{Dialect, ModelName};
use tollgate_wire::json::{Map, Value};

use crate::Invalid;
use crate::anthropic_messages::OUTPUT_TOKENS_DEFAULT;
use crate::error;
use crate::fields::{self, Fields, object};
use crate::translate::Unreadable;
use crate::words::words;

/// Whether a count asked in `client` can be asked in `backend`.
pub(crate) fn can_translate(client: Dialect, backend: Dialect) -> bool {
    client != backend && speech(client).is_some() && counted(backend).is_some()
}

/// The dialect of the conversation that a request in `dialect` holds.
fn speech(dialect: Dialect) -> Option<Dialect> {
    match dialect {
        Dialect::AnthropicMessages
        | Dialect::OpenAiResponses
        | Dialect::Gemini
        | Dialect::BedrockConverse => Some(dialect),
        Dialect::VllmTokenize => Some(Dialect::OpenAiChat),
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank => None,
    }
}

/// The members of a conversation that are counted in `backend`.
fn counted(backend: Dialect) -> Option<&'static [&'static str]> {
    match backend {
        Dialect::AnthropicMessages => {
            Some(&["model", "system", "messages", "tools", "tool_choice", "thinking", "output_config"])
        }
        Dialect::OpenAiResponses => Some(&[
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "text",
        ]),
        Dialect::Gemini => Some(&["contents", "systemInstruction", "tools", "generationConfig"]),
        Dialect::BedrockConverse => {
            Some(&["messages", "system", "toolConfig", "additionalModelRequestFields"])
        }
        Dialect::VllmTokenize => Some(&["model", "messages", "tools"]),
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank => None,
    }
}

/// Says a request for a count in the dialect of `backend`.
///
/// # Errors
/// When it cannot be understood, or asks for what that dialect has no words for.
pub(crate) fn translate_request(
    client: Dialect,
    backend: Dialect,
    body: &Bytes,
    model: &ModelName,
    losses: &mut Losses,
) -> Result<Map, Invalid> {
    if backend == Dialect::BedrockConverse && model.is_claude() {
        return translate_for_claude(client, body, model, losses);
    }
    let untold = || Invalid::unprocessable("tokens cannot be counted by the backend of this model", "");
    let decode = speech(client).and_then(words).and_then(|words| words.client.as_ref());
    let decode = decode.ok_or_else(untold)?.decode_request;
    let encode = speech(backend).and_then(words).ok_or_else(untold)?.backend.encode_request;
    let members = counted(backend).ok_or_else(untold)?;
    let conversation = match prompt(client, body)? {
        Some(text) => one_turn(text),
        None => decode(body.into(), losses)?,
    };
    let mut said = encode(conversation, model, losses)?;
    said.retain(|key, _| members.iter().any(|member| key == member));
    if backend == Dialect::BedrockConverse {
        let input = object!({"converse": said});
        return Ok(Map::from_iter([("input", input)]));
    }
    Ok(said)
}

/// Claude on Bedrock counts the body of a request in its own words, so that nothing of them is lost that Converse has no words for. It stands
/// here as it is; the host makes the blob of it that the API wants, once it has set what it wants in it.
fn translate_for_claude(
    client: Dialect,
    body: &Bytes,
    model: &ModelName,
    losses: &mut Losses,
) -> Result<Map, Invalid> {
    let mut said = match client {
        Dialect::AnthropicMessages => members_of(body)?,
        _ => translate_request(client, Dialect::AnthropicMessages, body, model, losses)?,
    };
    // The path names the model, and a count is never a stream.
    said.remove("model");
    said.remove("stream");
    let bound = said.remove("max_tokens").filter(|bound| !bound.is_null());
    let bound = bound.unwrap_or_else(|| bound_for(&said).into());
    said.insert("max_tokens", bound);
    Ok(said)
}

fn members_of(body: &Bytes) -> Result<Map, Invalid> {
    match fields::read(body)? {
        Value::Object(members) => Ok(members),
        other => Err(fields::wrong("", "an object", &other)),
    }
}

/// A bound on the answer, which is no part of a request for a count, but of any other.
fn bound_for(said: &Map) -> u64 {
    let thinking = said.get("thinking").and_then(|thinking| thinking.get("budget_tokens"));
    OUTPUT_TOKENS_DEFAULT.saturating_add(thinking.and_then(fields::count).unwrap_or_default())
}

/// The text of vLLM's shorter form, which holds no conversation.
fn prompt(client: Dialect, body: &Bytes) -> Result<Option<String>, Invalid> {
    if client != Dialect::VllmTokenize {
        return Ok(None);
    }
    Fields::read(body)?.text("prompt")
}

/// A text that a user says.
fn one_turn(text: String) -> Conversation {
    let turns = vec![Turn { role: Role::User, blocks: vec![Block::text("/prompt", text)] }];
    Conversation { turns, ..Conversation::default() }
}

/// Says a count in the client's words.
///
/// # Errors
/// When the answer holds none.
pub(crate) fn translate_answer(client: Dialect, backend: Dialect, body: &[u8]) -> Result<Bytes, Unreadable> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    let member = match backend {
        Dialect::BedrockConverse => "inputTokens",
        Dialect::Gemini => "totalTokens",
        Dialect::VllmTokenize => "count",
        _ => "input_tokens",
    };
    let count = answer.get(member).and_then(fields::count);
    let count = count.ok_or_else(|| Unreadable(format!("no {member}")))?;
    Ok(error::encode(&match client {
        Dialect::OpenAiResponses => object!({"object": "response.input_tokens", "input_tokens": count}),
        Dialect::VllmTokenize => object!({"count": count}),
        Dialect::Gemini => object!({"totalTokens": count}),
        _ => object!({"input_tokens": count}),
    }))
}
