//! AWS Bedrock's `Converse` and `ConverseStream`. Only backends speak it.

pub(crate) mod error;
pub(crate) mod observe;
