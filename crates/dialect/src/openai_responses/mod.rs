//! OpenAI's responses.

pub(crate) mod observe;
