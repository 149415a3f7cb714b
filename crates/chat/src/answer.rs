//! What is answered.

use tollgate_terms::Usage;
use tollgate_wire::json::Value;

use crate::block::Block;

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The provider's id of it; empty where it has none.
    pub id: String,
    /// The model that gave it; `None` where it does not say.
    pub model: Option<String>,
    /// When, Unix seconds.
    pub created_s: Option<u64>,
    /// The answers; more than one where several were wanted.
    pub choices: Vec<Choice>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// Price or speed class that it was served in.
    pub service_tier: Option<String>,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What the model says.
    pub blocks: Vec<Block>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Log probabilities, in the source's own shape.
    pub logprobs: Option<Value>,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It had said what it wanted to.
    EndOfTurn,
    /// It came to one of the texts that end the answer.
    StopSequence(Option<String>),
    /// It came to the bound on its answer.
    OutputLimit,
    /// It came to the end of its context window.
    ContextLimit,
    /// It waits for its tools.
    ToolUse,
    /// It, or a filter, refused.
    Refusal,
    /// It paused a long turn and wants to be asked to go on.
    Pause,
    /// A reason that the dialect has beside these.
    Other(String),
}
