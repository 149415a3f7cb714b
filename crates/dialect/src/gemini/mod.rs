//! Google's Gemini: `generateContent` and `streamGenerateContent`. The model is named in the path, and whether to stream too.

mod citations;
mod decode_answer;
mod decode_config;
mod decode_parts;
mod decode_request;
mod decode_stream;
mod encode_answer;
mod encode_parts;
mod encode_request;
mod encode_stream;
pub(crate) mod error;
mod logprobs;
mod media;
mod model;
mod names;
pub(crate) mod observe;
mod parts;
mod redacted;
mod schema;
mod stop;
#[cfg(test)]
mod tests;
mod time;
mod usage;

use tollgate_wire::json::Text;

use crate::data::is_canonical_base64;
use crate::words::{BackendWords, ClientWords, Words};

use decode_answer::decode_answer;
#[cfg(test)]
pub(crate) use decode_parts::PLAIN;
use decode_request::decode_request;
use decode_stream::StreamDecoder;
use encode_answer::encode_answer;
#[cfg(test)]
pub(crate) use encode_parts::MESSAGES;
use encode_request::encode_request;
use encode_stream::StreamEncoder;

/// The words of this dialect.
pub(crate) const WORDS: Words = Words {
    client: Some(ClientWords {
        decode_request,
        encode_answer,
        encode_stream: |context| Box::new(StreamEncoder::new(context)),
    }),
    backend: BackendWords {
        encode_request,
        decode_answer,
        decode_stream: || Box::new(StreamDecoder::default()),
    },
};

/// Whether a text can be a signature: clients read it as base64 and write it again, so that only what comes back the same is one.
fn is_signature(text: &Text) -> bool {
    !text.is_empty() && is_canonical_base64(&text.as_str())
}
