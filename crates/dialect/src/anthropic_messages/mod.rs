//! Anthropic's messages.

mod answer;
mod blocks;
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

pub(crate) use answer::{decode_answer, encode_answer};
pub(crate) use decode_request::decode_request;
pub(crate) use decode_stream::StreamDecoder;
pub(crate) use encode_request::encode_request;
pub(crate) use encode_stream::StreamEncoder;
pub(crate) use thinking::{decode_thinking, encode_thinking};
