//! OpenAI's responses: what is said stands in a list of items, and the reasoning of a model is an item of its own.
//!
//! The API can keep what was said and be asked to go on from there. The gateway holds no state, so it speaks the dialect as
//! one without memory: everything that was said comes with each request, reasoning in an encrypted form.

mod decode_answer;
mod decode_input;
mod decode_request;
mod decode_stream;
mod decode_tools;
mod echo;
mod encode_answer;
mod encode_input;
mod encode_request;
mod encode_stream;
mod items;
pub(crate) mod observe;
mod reasoning;
mod stream_parts;
#[cfg(test)]
mod tests;
mod usage;

use crate::words::{BackendWords, ClientWords, Words};

use decode_answer::decode_answer;
#[cfg(test)]
pub(crate) use decode_input::PLAIN;
use decode_request::decode_request;
use decode_stream::StreamDecoder;
pub(crate) use echo::repeated;
use encode_answer::encode_answer;
use encode_request::encode_request;
use encode_stream::StreamEncoder;

/// The words of this dialect.
pub(crate) const WORDS: Words = Words {
    client: Some(ClientWords {
        decode_request,
        encode_answer,
        encode_stream: |context| Box::new(StreamEncoder::new(context)),
    }),
    backend: BackendWords { encode_request, decode_answer, decode_stream: || Box::new(StreamDecoder::new()) },
};
