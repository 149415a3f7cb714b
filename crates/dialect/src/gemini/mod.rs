//! Google's Gemini: `generateContent` and `streamGenerateContent`.

pub(crate) mod error;
pub(crate) mod observe;
