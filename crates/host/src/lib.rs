//! Places that serve a dialect: their paths, the headers they require, how they take a credential.
//!
//! A host says *where* and *how to knock*; what is said once inside is the business of `dialect`. Everything here is
//! a pure function of the configuration and the model's name.

mod anthropic;
mod aws_profile;
mod azure;
mod cohere;
mod credential;
mod openai;
mod signature;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tollgate_terms::{Dialect, ModelName, Operation};

pub use aws_profile::{ProfileError, profile_keys};
pub use credential::{CannotShow, CredentialKind, Half, Proof};
pub use signature::{SigningKeys, Unsigned};

/// The API schema of a backend, with the meaning of `version` and `prefix` in its manifest resolved.
///
/// The schema names of the API join a dialect and a host; here they are taken apart again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    /// OpenAI and everything compatible.
    OpenAi {
        /// Path before `/chat/completions`, without slashes at the ends; `v1` by default.
        prefix: String,
    },
    /// Azure OpenAI.
    AzureOpenAi {
        /// The `api-version` query value.
        api_version: String,
    },
    /// Anthropic.
    Anthropic {
        /// Path before `/messages`; `v1` by default.
        prefix: String,
    },
    /// Cohere.
    Cohere {
        /// Path before `/rerank`; `v2` by default.
        version: String,
    },
    /// Whatever its clients speak: it serves no operation of a model, and plain routes alone send to it.
    Plain,
}

impl Schema {
    /// The value of `gen_ai.provider.name`.
    pub fn provider_name(&self) -> &'static str {
        match self {
            Self::OpenAi { .. } => "openai",
            Self::AzureOpenAi { .. } => "azure.openai",
            Self::Anthropic { .. } => "anthropic",
            Self::Cohere { .. } => "cohere",
            Self::Plain => "plain",
        }
    }

    /// Path and query at which `operation` in `dialect` is served, or `None` when this host does not serve it.
    ///
    /// `model` is the model asked of the backend; some hosts want it in the path.
    pub fn path(&self, dialect: Dialect, operation: Operation, model: &ModelName) -> Option<String> {
        match self {
            Self::OpenAi { prefix } => openai::path(prefix, dialect, operation),
            Self::AzureOpenAi { api_version } => azure::path(api_version, dialect, operation, model),
            Self::Anthropic { prefix } => anthropic::path(prefix, dialect, operation),
            Self::Cohere { version } => cohere::path(version, dialect, operation),
            Self::Plain => None,
        }
    }

    /// Whether `operation` in `dialect` is served here.
    pub fn serves(&self, dialect: Dialect, operation: Operation) -> bool {
        match self {
            Self::OpenAi { .. } => openai::suffix(dialect, operation).is_some(),
            Self::AzureOpenAi { .. } => azure::suffix(dialect, operation).is_some(),
            Self::Anthropic { .. } => anthropic::suffix(dialect, operation).is_some(),
            Self::Cohere { .. } => cohere::suffix(dialect, operation).is_some(),
            Self::Plain => false,
        }
    }

    /// The dialects in which a conversation can be held here, the preferred one first.
    pub fn chat_dialects(&self) -> &'static [Dialect] {
        match self {
            Self::OpenAi { .. } | Self::AzureOpenAi { .. } => &[Dialect::OpenAiChat],
            Self::Anthropic { .. } => &[Dialect::AnthropicMessages],
            Self::Cohere { .. } | Self::Plain => &[],
        }
    }

    /// The name of the service that requests to this host are signed for, where they are signed.
    ///
    /// OpenAI's dialect is served by Bedrock as well, and so may be any other through an address of one's own.
    pub fn signing_service(&self) -> &'static str {
        match self {
            Self::OpenAi { .. }
            | Self::AzureOpenAi { .. }
            | Self::Anthropic { .. }
            | Self::Cohere { .. }
            | Self::Plain => "bedrock",
        }
    }

    /// Adds the headers that this host requires and removes those that only another vendor understands.
    pub fn adjust_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::OpenAi { .. } | Self::AzureOpenAi { .. } | Self::Cohere { .. } => {
                anthropic::remove_headers(headers)
            }
            Self::Anthropic { .. } => anthropic::require_headers(headers),
            Self::Plain => {}
        }
    }
}

/// Joins a configured prefix, which may have slashes at its ends or be empty, and a suffix without them.
fn join(prefix: &str, suffix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => format!("/{suffix}"),
        prefix => format!("/{prefix}/{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(schema: &Schema, dialect: Dialect, operation: Operation) -> Option<String> {
        let model = ModelName::parse("gpt-4o/x").expect("a model name");
        schema.path(dialect, operation, &model)
    }

    #[test]
    fn places_the_prefix_before_the_operation() {
        let schema = Schema::OpenAi { prefix: "/v1beta/openai/".to_owned() };
        assert_eq!(
            path(&schema, Dialect::OpenAiChat, Operation::Chat).as_deref(),
            Some("/v1beta/openai/chat/completions")
        );
        let bare = Schema::OpenAi { prefix: String::new() };
        assert_eq!(path(&bare, Dialect::OpenAiEmbeddings, Operation::Embed).as_deref(), Some("/embeddings"));
    }

    #[test]
    fn counts_tokens_under_the_prefix_too() {
        let schema = Schema::Anthropic { prefix: "proxy/v1".to_owned() };
        assert_eq!(
            path(&schema, Dialect::AnthropicMessages, Operation::CountTokens).as_deref(),
            Some("/proxy/v1/messages/count_tokens")
        );
    }

    #[test]
    fn escapes_the_deployment_in_an_azure_path() {
        let schema = Schema::AzureOpenAi { api_version: "2025-01-01-preview".to_owned() };
        assert_eq!(
            path(&schema, Dialect::OpenAiChat, Operation::Chat).as_deref(),
            Some("/openai/deployments/gpt-4o%2Fx/chat/completions?api-version=2025-01-01-preview")
        );
        assert_eq!(
            path(&schema, Dialect::OpenAiResponses, Operation::CountTokens).as_deref(),
            Some("/openai/responses/input_tokens?api-version=2025-01-01-preview")
        );
    }

    #[test]
    fn serves_only_what_the_host_has() {
        let cohere = Schema::Cohere { version: "v2".to_owned() };
        assert!(cohere.serves(Dialect::CohereRerank, Operation::Rerank));
        assert!(!cohere.serves(Dialect::OpenAiChat, Operation::Chat));
        assert_eq!(path(&cohere, Dialect::OpenAiChat, Operation::Chat), None);
    }
}
