//! AWS SageMaker: endpoints whose containers speak OpenAI's API, whichever operation, at one path. The model is the endpoint.
//!
//! Source: botocore, `sagemaker-runtime` service model.

use tollgate_terms::{Delivery, Dialect, Operation};

use crate::call::{Call, segment};

pub(crate) fn path(call: &Call<'_>) -> Option<String> {
    if !serves(call.dialect, call.operation) {
        return None;
    }
    let action = match call.delivery {
        Delivery::Whole => "invocations",
        Delivery::Stream => "invocations-response-stream",
    };
    Some(format!("/endpoints/{}/{action}", segment(call.model.as_str())))
}

pub(crate) fn serves(dialect: Dialect, operation: Operation) -> bool {
    matches!(
        (dialect, operation),
        (Dialect::OpenAiChat, Operation::Chat)
            | (Dialect::OpenAiCompletions, Operation::Complete)
            | (Dialect::OpenAiEmbeddings, Operation::Embed)
    )
}
