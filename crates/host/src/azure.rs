//! Azure OpenAI: the model is a deployment in the path, the API version a query parameter. In the newer API, version `v1` or
//! `preview`, the model is in the body as everywhere.
//!
//! Source: Azure OpenAI REST reference, data plane inference.

use tollgate_terms::{Dialect, Operation};

use crate::call::{Call, segment};

pub(crate) fn path(version: &str, call: &Call<'_>) -> Option<String> {
    let suffix = suffix(call.dialect, call.operation)?;
    match version {
        "v1" => return Some(format!("/openai/v1/{suffix}")),
        "preview" | "latest" => return Some(format!("/openai/v1/{suffix}?api-version={version}")),
        _ => {}
    }
    let version = segment(version);
    Some(match call.dialect {
        // The Responses API takes the deployment in the body, unlike the rest.
        Dialect::OpenAiResponses => format!("/openai/{suffix}?api-version={version}"),
        _ => {
            let deployment = segment(call.model.as_str());
            format!("/openai/deployments/{deployment}/{suffix}?api-version={version}")
        }
    })
}

pub(crate) fn suffix(dialect: Dialect, operation: Operation) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiResponses
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio => crate::openai::suffix(dialect, operation),
        _ => None,
    }
}
