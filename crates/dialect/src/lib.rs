//! Wire languages, one folder each: requests, answers, streams, errors and usage.
//!
//! A request and its answer go through untouched but for pointed edits where client and backend speak the same
//! dialect ([`splice_request`], [`Observer`]), and through the hub where they do not ([`translate_request`] and its
//! kin). This crate knows no address and no credential: who serves a dialect is the business of `host`.

#[cfg(test)]
mod corpus;
mod counting;
mod data;
mod embeddings;
mod endpoint;
mod error;
mod extensions;
mod fields;
#[cfg(test)]
mod fold;
mod framing;
mod ids;
mod inspect;
#[cfg(test)]
mod laws;
mod messages;
mod models;
mod mould;
mod observe;
mod plain;
mod ruler;
mod sampling;
mod spans;
mod splice;
mod texts;
mod translate;
mod with_rest;
mod words;

mod anthropic_messages;
mod bedrock_converse;
mod cohere_rerank;
mod gemini;
mod openai_audio;
mod openai_chat;
mod openai_images;
mod openai_responses;
mod vllm_tokenize;

pub use embeddings::VectorEncoding;
pub use endpoint::{Endpoint, EndpointPath, PathFacts, Prefixes, endpoint, endpoint_paths, error_dialect};
pub use error::{
    BackendError, ErrorBody, answer_id_header, encode_error, encode_stream_error, knows_status,
    request_id_header, reshape_error,
};
pub use framing::{Corrupt, Reframer};
pub use inspect::{Facts, Invalid, InvalidKind, inspect};
pub use models::{ModelEntry, encode_model, encode_models};
pub use observe::{Observer, Seen, is_whole};
pub use splice::{SpliceEdits, as_blob, body_edits, bound_answer, edited, repeated, splice_request, wrap};
pub use translate::{
    AnswerContext, Encoded, StreamTranslator, TranslatedAnswer, Unreadable, can_translate, translate_answer,
    translate_request, translated_bytes,
};
