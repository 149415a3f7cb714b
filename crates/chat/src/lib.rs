//! The hub between wire languages: what any dialect can say in a conversation, an answer and a stream.
//!
//! The hub is the union of the dialects, not their intersection. It knows no JSON shape of any vendor and no HTTP.

mod loss;

pub use loss::{Effect, Loss, LossKind};
