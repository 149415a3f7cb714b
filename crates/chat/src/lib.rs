//! The hub between wire languages: what any dialect can say in a conversation, an answer and a stream.
//!
//! The hub is the union of the dialects, not their intersection. It knows no JSON shape of any vendor and no HTTP. An encoder
//! takes these types apart without `..` and matches without `_`, so whatever is added here has to be said, or recorded
//! as a [`Loss`], by every dialect before it compiles.

mod answer;
mod block;
mod citation;
mod conversation;
mod event;
mod loss;
mod origin;

pub use answer::{Answer, Choice, StopReason};
pub use block::{Block, BlockKind, CachePoint, DocumentSource, ImageSource};
pub use citation::{Citation, CitedSource, Passage};
pub use conversation::{
    Conversation, Effort, Extension, Metadata, ResponseFormat, Role, Sampling, Thinking, Tool, ToolChoice,
    Turn, Wish,
};
pub use event::{BlockStart, Delta, Event};
pub use loss::{Effect, Loss, LossKind, Losses};
pub use origin::Origin;
