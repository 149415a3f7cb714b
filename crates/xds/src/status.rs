//! Who has taken what.

use std::collections::BTreeMap;

use crate::set::Version;

/// What became of one type at one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// What was sent last.
    pub sent: Option<Version>,
    /// What was accepted last.
    pub accepted: Option<Version>,
    /// What the node said when it rejected something, until that is no longer wanted, or was replaced by something that it accepts.
    pub error: Option<String>,
}

/// What a node said when it rejected something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What it was about.
    pub type_url: String,
    /// Its words.
    pub error: String,
}

/// One stream of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// The id that the node gives itself.
    pub node: String,
    /// The cluster of nodes to which it says that it belongs.
    pub cluster: String,
    /// The last set of which it has accepted every resource.
    pub acknowledged: Option<Version>,
    /// By type URL.
    pub types: BTreeMap<String, TypeStatus>,
    /// What it rejected last, also when that is no longer wanted.
    pub last_rejection: Option<Rejection>,
}

/// What is wanted, and how far each connected node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The set that was published last.
    pub published: Option<Version>,
    /// One for each stream, in the order in which they began.
    pub nodes: Vec<NodeStatus>,
}

/// What happened so far, over all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams that began.
    pub streams: u64,
    /// Responses.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of these resources.
    pub bytes: u64,
    /// Responses that were accepted.
    pub acceptances: u64,
    /// Responses that were rejected.
    pub rejections: u64,
    /// Answers to something else than the last response.
    pub stale: u64,
}

/// What happened so far with one type, over all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// Responses.
    pub responses: u64,
    /// Responses that were accepted.
    pub acceptances: u64,
    /// Responses that were rejected.
    pub rejections: u64,
    /// Bytes of responses.
    pub bytes: u64,
}

/// Most of what a node says about a rejection that is kept.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// What a node said, in a bounded length.
pub(crate) fn words(said: &str) -> String {
    let mut end = said.len().min(WORDS_BYTES_MAX);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    said.get(..end).unwrap_or_default().to_owned()
}
