//! Google's Gemini: `generateContent` and `streamGenerateContent`. The model is named in the path, and whether to stream too.

mod citations;
mod decode_answer;
mod decode_stream;
mod encode_parts;
mod encode_request;
pub(crate) mod error;
mod logprobs;
mod media;
mod model;
pub(crate) mod observe;
mod parts;
mod stop;
mod time;
mod usage;

use crate::words::{BackendWords, Words};

use decode_answer::decode_answer;
use decode_stream::StreamDecoder;
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
