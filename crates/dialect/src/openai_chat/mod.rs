//! OpenAI's chat completions, and the older text completions, whose answers have the same frame.

mod decode_request;
pub(crate) mod error;
pub(crate) mod observe;
mod parts;
pub(crate) mod usage;
