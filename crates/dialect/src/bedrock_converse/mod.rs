//! AWS Bedrock's `Converse` and `ConverseStream`. Only backends speak it.

mod answer;
mod citations;
mod decode_stream;
mod encode_blocks;
mod encode_request;
mod encode_tools;
pub(crate) mod error;
mod family;
mod media;
pub(crate) mod observe;
#[cfg(test)]
mod tests;

use crate::words::{BackendWords, Words};

use answer::decode_answer;
use decode_stream::StreamDecoder;
#[cfg(test)]
pub(crate) use encode_blocks::MESSAGES;
use encode_request::encode_request;

/// The words of this dialect.
pub(crate) const WORDS: Words = Words {
    client: None,
    backend: BackendWords {
        encode_request,
        decode_answer,
        decode_stream: || Box::new(StreamDecoder::default()),
    },
};
