//! OpenAI's chat completions, and the older text completions, whose answers have the same frame.

mod annotations;
mod decode_answer;
mod decode_messages;
mod decode_request;
mod decode_stream;
mod encode_answer;
mod encode_messages;
mod encode_request;
mod encode_stream;
pub(crate) mod error;
mod extensions;
mod json_end;
pub(crate) mod observe;
mod parts;
mod stream_calls;
#[cfg(test)]
mod tests;
pub(crate) mod usage;

use tollgate_wire::json::Text;

use crate::fields::tells;
use crate::words::{BackendWords, ClientWords, Words};

pub(crate) use annotations::{decode_annotation, decode_annotations, encode_page};
use decode_answer::decode_answer;
#[cfg(test)]
pub(crate) use decode_messages::PLAIN;
use decode_request::decode_request;
use decode_stream::StreamDecoder;
use encode_answer::encode_answer;
use encode_request::encode_request;
use encode_stream::StreamEncoder;
pub(crate) use parts::arguments;

/// The words of this dialect.
pub(crate) const WORDS: Words = Words {
    client: Some(ClientWords {
        decode_request,
        encode_answer,
        encode_stream: |context| Box::new(StreamEncoder::new(context)),
    }),
    backend: BackendWords { encode_request, decode_answer, decode_stream: || Box::new(StreamDecoder::new()) },
};

/// Whether a tool's text is a JSON object with a member `error`: this dialect has no other way to say that it failed.
/// One that tells nothing, such as `false`, is none.
pub(crate) fn says_error(text: &Text) -> bool {
    text.read_object().is_some_and(|map| map.get("error").is_some_and(tells))
}
