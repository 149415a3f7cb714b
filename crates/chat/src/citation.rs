//! Sources of what is said.

use std::ops::Range;

use tollgate_wire::json::Text;

/// A source of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Citation {
    /// Where it is.
    pub source: CitedSource,
    /// Its title.
    pub title: Option<String>,
    /// What it says itself.
    pub quote: Option<Text>,
    /// The part of the block's text that rests on it, in characters; `None` is all of it. It is empty where only its end is told.
    pub span: Option<Range<u64>>,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum CitedSource {
    /// On the web.
    Web {
        /// Its address.
        url: String,
        /// Proof that the provider found it there; wanted back unchanged.
        proof: Option<Text>,
    },
    /// A document of the request.
    Document {
        /// Its number among the documents, from 0.
        index: u64,
        /// Its id, where it is kept at the provider.
        file: Option<String>,
        /// Which part of it.
        passage: Passage,
    },
    /// A file that the provider keeps, and has searched.
    File {
        /// Its id there.
        id: String,
    },
    /// A result of a search that stands in the request.
    SearchResult {
        /// Its number among the results, from 0.
        index: u64,
        /// What the request calls its source.
        source: String,
        /// Which of its blocks, from 0.
        blocks: Range<u64>,
    },
}

/// A part of a document. The end is the first that is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Characters, from 0.
    Characters(Range<u64>),
    /// Pages, from 1.
    Pages(Range<u64>),
    /// Blocks, or the pieces that the provider cut it into, from 0.
    Blocks(Range<u64>),
}
