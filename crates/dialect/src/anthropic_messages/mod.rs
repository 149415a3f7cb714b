//! Anthropic's messages.

mod answer;
mod blocks;
mod citations;
mod decode_request;
mod decode_stream;
mod encode_blocks;
mod encode_request;
mod encode_stream;
pub(crate) mod error;
pub(crate) mod observe;
#[cfg(test)]
mod tests;
mod thinking;
pub(crate) mod usage;

use crate::words::{BackendWords, ClientWords, Words};

use answer::{decode_answer, encode_answer};
#[cfg(test)]
pub(crate) use decode_request::PLAIN;
use decode_request::decode_request;
use decode_stream::StreamDecoder;
#[cfg(test)]
pub(crate) use encode_blocks::MESSAGES;
pub(crate) use encode_request::OUTPUT_TOKENS_DEFAULT;
use encode_request::encode_request;
use encode_stream::StreamEncoder;
pub(crate) use thinking::{decode_thinking, encode_thinking};

/// The words of this dialect.
pub(crate) const WORDS: Words = Words {
    client: Some(ClientWords {
        decode_request,
        encode_answer,
        encode_stream: |context| Box::new(StreamEncoder::new(context)),
    }),
    backend: BackendWords { encode_request, decode_answer, decode_stream: || Box::new(StreamDecoder::new()) },
};
