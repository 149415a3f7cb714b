//! What a host wants to be different in the body of a request, whatever the dialect says.

use http::HeaderMap;
use serde_json::Value;
use tollgate_terms::{Dialect, Operation};

use crate::{Call, Schema, anthropic, bedrock, vertex};

/// Members to remove and to set; removals come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Members that this host does not take in the body.
    pub remove: Vec<&'static str>,
    /// Members that it wants, by their paths, with their values as JSON text.
    pub set: Vec<(&'static [&'static str], String)>,
    /// What the client asked for in a header and this host has no place for.
    pub refused: Vec<String>,
    /// The member that holds all the others, with the name of the model beside them.
    pub within: Option<(&'static str, String)>,
    /// The path of the member that holds the body, once everything is set in it, in base64.
    pub blob: Option<&'static [&'static str]>,
}

impl Envelope {
    fn set(mut self, path: &'static [&'static str], value: &Value) -> Self {
        self.set.push((path, value.to_string()));
        self
    }
}

/// Which version of a dialect the body names: the one that is configured, else this.
const BEDROCK_VERSION: &str = "bedrock-2023-05-31";
const VERTEX_VERSION: &str = "vertex-2023-10-16";

impl Schema {
    /// What this host wants to be different in the body of `call`. `headers` are the client's.
    pub fn envelope(&self, call: &Call<'_>, headers: &HeaderMap) -> Envelope {
        match (self, call.dialect, call.operation) {
            (Self::AwsAnthropic { version }, Dialect::AnthropicMessages, _) => {
                bedrock_messages(version.as_deref(), headers)
            }
            (Self::GcpAnthropic { version, .. }, Dialect::AnthropicMessages, operation) => {
                vertex_messages(version.as_deref(), call, operation)
            }
            (
                Self::AwsBedrock | Self::AwsAnthropic { .. },
                Dialect::BedrockConverse,
                Operation::CountTokens | Operation::Tokenize,
            ) if call.model.is_claude() => {
                let version =
                    if let Self::AwsAnthropic { version } = self { version.as_deref() } else { None };
                counted_messages(version, headers)
            }
            (Self::AwsBedrock, Dialect::BedrockConverse, _) if call.model.is_claude() => {
                with_betas(Envelope::default(), &["additionalModelRequestFields", "anthropic_beta"], headers)
            }
            // The endpoint serves one model; its own name for it is not the endpoint's.
            (Self::SageMaker, ..) => Envelope { remove: vec!["model"], ..without_betas(headers) },
            (Self::Gemini { .. }, Dialect::Gemini, Operation::CountTokens | Operation::Tokenize) => {
                // Beside the contents it counts instructions and tools only so.
                let within = Some(("generateContentRequest", format!("models/{}", call.model)));
                Envelope { within, ..without_betas(headers) }
            }
            // Betas are in their own header here.
            (Self::Anthropic { .. } | Self::GcpAnthropic { .. } | Self::Plain, ..) => Envelope::default(),
            _ => without_betas(headers),
        }
    }
}

/// For hosts that know nothing of Anthropic's betas.
fn without_betas(headers: &HeaderMap) -> Envelope {
    Envelope { refused: anthropic::betas(headers).map(str::to_owned).collect(), ..Envelope::default() }
}

/// Source: the Bedrock client of the `anthropic` package, and Bedrock's user guide, "Anthropic Claude Messages API".
fn bedrock_messages(version: Option<&str>, headers: &HeaderMap) -> Envelope {
    let envelope = Envelope { remove: vec!["model", "stream"], ..Envelope::default() }
        .set(&["anthropic_version"], &version_of(version));
    with_betas(envelope, &["anthropic_beta"], headers)
}

/// A request of InvokeModel, which `CountTokens` counts.
///
/// Source: botocore, `bedrock-runtime` service model, `InvokeModelTokensRequest`.
fn counted_messages(version: Option<&str>, headers: &HeaderMap) -> Envelope {
    let envelope = Envelope { blob: Some(&["input", "invokeModel", "body"]), ..Envelope::default() }
        .set(&["anthropic_version"], &version_of(version));
    with_betas(envelope, &["anthropic_beta"], headers)
}

fn version_of(configured: Option<&str>) -> Value {
    Value::from(configured.unwrap_or(BEDROCK_VERSION))
}

/// With the betas that Bedrock takes of those that the client asks for, at `path`.
fn with_betas(mut envelope: Envelope, path: &'static [&'static str], headers: &HeaderMap) -> Envelope {
    let (betas, refused) = bedrock::betas(headers);
    envelope.refused = refused;
    if betas.is_empty() { envelope } else { envelope.set(path, &Value::from(betas)) }
}

/// Source: the Vertex client of the `anthropic` package.
fn vertex_messages(version: Option<&str>, call: &Call<'_>, operation: Operation) -> Envelope {
    let version = Value::from(version.unwrap_or(VERTEX_VERSION));
    match operation {
        // All models are counted at one path, so the body names the model.
        Operation::CountTokens | Operation::Tokenize => Envelope::default()
            .set(&["model"], &Value::from(vertex::counted_model(call.model)))
            .set(&["anthropic_version"], &version),
        _ => Envelope { remove: vec!["model"], ..Envelope::default() }.set(&["anthropic_version"], &version),
    }
}
