//! The number of tokens of a conversation, asked in one dialect and counted in another.
//!
//! A request is the conversation itself in the words of the chat, less what has no place in a count; an answer is one number.

use bytes::Bytes;
use tollgate_chat::{Block, Conversation, Losses, Role, Turn};
use tollgate_terms::{Dialect, ModelName};
use tollgate_wire::json::Value;

use crate::Invalid;
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
) -> Result<Bytes, Invalid> {
    let untold = || Invalid::unprocessable("tokens cannot be counted by the backend of this model", "");
    let decode = speech(client).and_then(words).and_then(|words| words.client.as_ref());
    let decode = decode.ok_or_else(untold)?.decode_request;
    let encode = speech(backend).and_then(words).ok_or_else(untold)?.backend.encode_request;
    let members = counted(backend).ok_or_else(untold)?;
    let conversation = match prompt(client, body)? {
        Some(text) => one_turn(text),
        None => decode(body, losses)?,
    };
    let said = encode(conversation, model, losses)?;
    let said = Fields::read(&said)?.into_members().into_iter();
    let kept = said.filter(|(key, _)| members.iter().any(|member| key == member));
    let mut kept = Value::Object(kept.collect());
    if backend == Dialect::BedrockConverse {
        kept = object!({"input": object!({"converse": kept})});
    }
    Ok(error::encode(&kept))
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
