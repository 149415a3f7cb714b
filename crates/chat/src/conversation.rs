//! What is asked.

use tollgate_terms::Delivery;
use tollgate_wire::json::{Text, Value};

use crate::block::{Block, CachePoint};
use crate::origin::Origin;

/// A request for an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// Instructions that stand before everything.
    pub system: Vec<Block>,
    /// The turns so far, oldest first.
    pub turns: Vec<Turn>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which tool it must call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tools: Option<bool>,
    /// Longest answer, tokens.
    pub output_tokens_max: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How to choose the next token.
    pub sampling: Sampling,
    /// The demanded format of the answer.
    pub format: Option<ResponseFormat>,
    /// Reasoning before the answer.
    pub thinking: Option<Thinking>,
    /// How hard to try.
    pub effort: Option<Effort>,
    /// How long-winded the answer is to be: `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// How the answer is wanted.
    pub delivery: Delivery,
    /// Who asks, and what to remember of it.
    pub metadata: Metadata,
    /// Price or speed class.
    pub service_tier: Option<String>,
    /// Wishes that few dialects have words for.
    pub extensions: Vec<Extension>,
    /// A name for prompts that begin alike, so that they find the same cache.
    pub cache_key: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user, or a tool on the user's side.
    User,
    /// The model.
    Assistant,
}

/// What one side says before the other speaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub blocks: Vec<Block>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Where it stood.
    pub origin: Origin,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<Text>,
    /// JSON schema of its arguments.
    pub schema: Option<Value>,
    /// Whether arguments must follow the schema to the letter.
    pub strict: Option<bool>,
    /// Whether the prompt up to here is to be cached.
    pub cache: Option<CachePoint>,
}

/// Whether and which tool must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// Some tool.
    Required,
    /// None.
    Forbidden,
    /// This one.
    Named(String),
}

/// How to choose the next token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// Temperature.
    pub temperature: Option<f64>,
    /// Nucleus.
    pub top_p: Option<f64>,
    /// Most likely tokens to choose among.
    pub top_k: Option<u64>,
    /// Penalty on tokens by how often they stood.
    pub frequency_penalty: Option<f64>,
    /// Penalty on tokens that stood at all.
    pub presence_penalty: Option<f64>,
    /// Seed of the dice.
    pub seed: Option<i64>,
    /// Weights of single tokens, in the source's own shape.
    pub logit_bias: Option<Value>,
    /// Whether to tell log probabilities.
    pub logprobs: Option<bool>,
    /// Of how many alternatives.
    pub top_logprobs: Option<u64>,
    /// How many answers.
    pub choices: Option<u64>,
}

/// The demanded format of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema {
        /// A name for it.
        name: Option<String>,
        /// What it is.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// To the letter.
        strict: Option<bool>,
    },
    /// One of these texts, and nothing else.
    Choice(Vec<String>),
    /// A text that a regular expression matches.
    Pattern(String),
}

/// Reasoning before the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinking {
    /// With this many tokens at most.
    Enabled {
        /// Tokens.
        budget_tokens: Option<u64>,
        /// How to show it: `summarized`, `omitted`.
        display: Option<String>,
    },
    /// As the model sees fit.
    Adaptive {
        /// How to show it.
        display: Option<String>,
    },
    /// Only between calls of tools.
    BetweenTools,
    /// None.
    Disabled,
}

/// How hard to try: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effort(pub String);

/// A wish that few dialects have words for.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// Where it stood.
    pub origin: Origin,
    /// What is wished.
    pub wish: Wish,
}

/// What such a wish is. Values are in the shape of the dialect that has words of its own for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// Thresholds of the provider's filters.
    Safety(Value),
    /// How closely to look at all images and documents.
    MediaResolution(String),
    /// A tool that the provider itself runs.
    ServerTool {
        /// Its name.
        name: String,
        /// Its options.
        options: Value,
    },
}

/// Who asks, and what to remember of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Opaque id of the end user.
    pub user: Option<String>,
    /// Labels, in the source's own shape.
    pub labels: Option<Value>,
}
