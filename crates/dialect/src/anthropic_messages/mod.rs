//! Anthropic's messages.

pub(crate) mod error;
pub(crate) mod observe;
pub(crate) mod usage;
