//! What is answered, as it comes.

use tollgate_terms::Usage;
use tollgate_wire::json::{Text, Value};

use crate::answer::StopReason;
use crate::citation::Citation;

/// One event of a streamed answer. Choices and blocks are numbered from 0; a block is told between its start and stop, but for what its
/// text rests on, which may come until its choice stops.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id of it; empty where it has none.
        id: String,
        /// The model that gives it.
        model: Option<String>,
        /// When, Unix seconds.
        created_s: Option<u64>,
        /// Tokens as far as they are known.
        usage: Option<Usage>,
    },
    /// A block begins.
    BlockStart {
        /// Of which choice.
        choice: usize,
        /// Which block of the choice.
        block: usize,
        /// What it is.
        start: BlockStart,
    },
    /// More of a block.
    BlockDelta {
        /// Of which choice.
        choice: usize,
        /// Which block of the choice.
        block: usize,
        /// What.
        delta: Delta,
    },
    /// A block is complete.
    BlockStop {
        /// Of which choice.
        choice: usize,
        /// Which block of the choice.
        block: usize,
    },
    /// A choice is complete.
    Stop {
        /// Which.
        choice: usize,
        /// Why.
        reason: StopReason,
    },
    /// Tokens; the last event of this kind counts.
    Usage(Usage),
    /// Nothing, to keep the line alive.
    Ping,
    /// The answer breaks off.
    Error {
        /// Type, as the dialect names it.
        kind: String,
        /// What happened.
        message: String,
    },
    /// The answer is complete.
    End,
}

/// What a block that begins is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockStart {
    /// Text.
    Text,
    /// The model's own no.
    Refusal,
    /// Reasoning.
    Thinking,
    /// Reasoning that only the provider can read; complete.
    RedactedThinking {
        /// The provider's data.
        data: Text,
    },
    /// A call of a tool.
    ToolUse {
        /// Id of the call; empty where none is told.
        id: String,
        /// Name of the tool.
        name: String,
    },
    /// An element that only its own dialect has.
    Foreign {
        /// Its type, as the dialect names it.
        name: String,
    },
}

/// More of a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Text of an answer, a refusal or reasoning, as the block is.
    Text(Text),
    /// JSON text of a tool's arguments, cut anywhere.
    Input(Text),
    /// The signature of reasoning.
    Signature(Text),
    /// What a text rests on. One without a span may come before the text has, and any when its block has stopped.
    Citation(Citation),
    /// Log probabilities of the tokens of the text or refusal that comes next, in the shape of chat completions.
    Logprobs(Vec<Value>),
}
