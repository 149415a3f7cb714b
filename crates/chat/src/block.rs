//! The elements of a turn.

use tollgate_wire::json::{Text, Value};

use crate::citation::Citation;
use crate::origin::Origin;

/// One element of a turn, of a system prompt or of a tool's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Where it stood in the source body.
    pub origin: Origin,
    /// Whether the prompt up to here is to be cached.
    pub cache: Option<CachePoint>,
    /// What it is.
    pub kind: BlockKind,
}

/// A wish to cache the prompt up to a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePoint {
    /// For how long, as the dialects write it: `5m`, `1h`.
    pub ttl: Option<String>,
}

/// What a block is.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockKind {
    /// Text.
    Text {
        /// The text.
        text: Text,
        /// What it rests on.
        citations: Vec<Citation>,
    },
    /// The model's own no.
    Refusal {
        /// What it says.
        text: Text,
    },
    /// The model's reasoning.
    Thinking {
        /// The text; may be empty where only the signature is told.
        text: Text,
        /// Proof that it is the model's own; wanted back unchanged.
        signature: Option<Text>,
    },
    /// Reasoning that only the provider can read.
    RedactedThinking {
        /// The provider's data.
        data: Text,
    },
    /// The model calls a tool.
    ToolUse {
        /// Id of the call; empty where none is told.
        id: String,
        /// Name of the tool.
        name: String,
        /// Its arguments: a JSON object.
        input: Value,
    },
    /// What a tool came to.
    ToolResult {
        /// Id of the call.
        id: String,
        /// Text and images.
        content: Vec<Block>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// An image.
    Image {
        /// Where it is.
        source: ImageSource,
        /// How closely to look: `low`, `high`, `auto`.
        detail: Option<String>,
    },
    /// A document.
    Document {
        /// Where it is.
        source: DocumentSource,
        /// Its title or file name.
        title: Option<String>,
        /// What the model should know about it.
        context: Option<String>,
        /// Whether answers shall cite it.
        cites: bool,
    },
    /// Speech.
    Audio {
        /// Base64.
        data: Text,
        /// `wav`, `mp3` ...
        format: String,
    },
    /// An element that only its own dialect has.
    Foreign {
        /// Its type, as the dialect names it.
        name: String,
        /// All of it.
        value: Value,
    },
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// In the request.
    Base64 {
        /// `image/png` ...
        media_type: String,
        /// Base64.
        data: Text,
    },
    /// Elsewhere. The gateway passes the address on and never fetches it.
    Url(String),
}

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentSource {
    /// In the request, as a file.
    Base64 {
        /// `application/pdf` ...
        media_type: String,
        /// Base64.
        data: Text,
    },
    /// In the request, as text.
    Text(Text),
    /// Elsewhere.
    Url(String),
    /// At the provider, under an id.
    File(String),
}

impl Block {
    /// A text without anything else.
    pub fn text(origin: impl Into<Origin>, text: impl Into<Text>) -> Self {
        let kind = BlockKind::Text { text: text.into(), citations: Vec::new() };
        Self { origin: origin.into(), cache: None, kind }
    }
}
