//! Cohere: the API version is the first path segment.

use tollgate_terms::{Dialect, Operation};

pub(crate) fn path(version: &str, dialect: Dialect, operation: Operation) -> Option<String> {
    suffix(dialect, operation).map(|suffix| crate::call::join(version, suffix))
}

pub(crate) fn suffix(dialect: Dialect, operation: Operation) -> Option<&'static str> {
    match (dialect, operation) {
        (Dialect::CohereRerank, Operation::Rerank) => Some("rerank"),
        _ => None,
    }
}
