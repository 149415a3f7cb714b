//! Who has taken what.

use std::collections::BTreeMap;

/// What became of one type at one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// Whether the Envoy has taken everything of this type that is wanted.
    pub in_sync: bool,
    /// What it said when it last rejected something, until it takes what comes next.
    pub error: Option<String>,
}

/// One stream of an Envoy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The id that the Envoy gives itself.
    pub node: String,
    /// By type URL.
    pub types: BTreeMap<String, TypeStatus>,
}

impl Status {
    /// Whether it has asked for the types that it needs to serve, and taken everything of them.
    pub fn in_sync(&self) -> bool {
        !self.types.is_empty() && self.types.values().all(|status| status.in_sync)
    }
}

/// What was sent so far, over all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Responses.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of these resources.
    pub bytes: u64,
    /// Responses that were rejected.
    pub rejections: u64,
}
