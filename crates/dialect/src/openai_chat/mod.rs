//! OpenAI's chat completions, and the older text completions, whose answers have the same frame.

pub(crate) mod error;
pub(crate) mod observe;
pub(crate) mod usage;
