//! Azure OpenAI: the model is a deployment in the path, the API version a query parameter.
//!
//! Source: Azure OpenAI REST reference, data plane inference.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tollgate_terms::{Dialect, ModelName, Operation};

/// Everything that cannot stand in one path segment or in a query value.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

pub(crate) fn path(
    version: &str,
    dialect: Dialect,
    operation: Operation,
    model: &ModelName,
) -> Option<String> {
    let suffix = suffix(dialect, operation)?;
    let version = utf8_percent_encode(version, SEGMENT);
    Some(match dialect {
        // The Responses API takes the deployment in the body, unlike the rest.
        Dialect::OpenAiResponses => format!("/openai/{suffix}?api-version={version}"),
        _ => {
            let deployment = utf8_percent_encode(model.as_str(), SEGMENT);
            format!("/openai/deployments/{deployment}/{suffix}?api-version={version}")
        }
    })
}

pub(crate) fn suffix(dialect: Dialect, operation: Operation) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiEmbeddings | Dialect::OpenAiResponses => {
            crate::openai::suffix(dialect, operation)
        }
        _ => None,
    }
}
