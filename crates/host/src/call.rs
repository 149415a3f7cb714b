//! What is asked of a host, and how a model stands in a path.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};

/// One request to a host: what its path depends on.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The wire language of the request.
    pub dialect: Dialect,
    /// What is wanted.
    pub operation: Operation,
    /// How the answer is wanted.
    pub delivery: Delivery,
    /// The model asked for.
    pub model: &'a ModelName,
}

/// Everything that cannot stand in one path segment or in a query value.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// `text` as one path segment or query value.
pub(crate) fn segment(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, SEGMENT).into()
}

/// Joins a configured prefix, which may have slashes at its ends or be empty, and a suffix without them.
pub(crate) fn join(prefix: &str, suffix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => ["/", suffix].concat(),
        prefix => ["/", prefix, "/", suffix].concat(),
    }
}
