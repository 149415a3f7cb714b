//! Places that serve a dialect: their paths, the headers they require, how they take a credential.
//!
//! A host says *where* and *how to knock*; what is said once inside is the business of `dialect`. Everything here is
//! a pure function of the configuration and the model's name.

mod anthropic;
mod aws_profile;
mod azure;
mod bedrock;
mod call;
mod cohere;
mod credential;
mod envelope;
mod openai;
mod sagemaker;
mod signature;
mod vertex;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use tollgate_terms::{Dialect, ModelName, Operation, StreamFraming};

pub use aws_profile::{AwsProfile, ProfileError, profile_keys};
pub use call::Call;
pub use credential::{CannotShow, CredentialKind, Half, Proof};
pub use envelope::Envelope;
pub use signature::{SigningKeys, Unsigned};
pub use vertex::Location;

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
    /// OpenAI and whoever serves its responses: everything is asked there, chats of other dialects too.
    OpenAiResponses {
        /// Path before `/responses`; `v1` by default.
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
    /// AWS Bedrock: Converse, embeddings of Titan and Cohere.
    AwsBedrock,
    /// Claude on AWS Bedrock, by InvokeModel.
    AwsAnthropic {
        /// `anthropic_version` in the body, where another than the usual one is wanted.
        version: Option<String>,
    },
    /// Gemini and embeddings on Google's Vertex AI.
    GcpVertexAi {
        /// Whose quota is taken; `None` where a key says it.
        location: Option<Location>,
    },
    /// Claude on Google's Vertex AI, by rawPredict.
    GcpAnthropic {
        /// `anthropic_version` in the body, where another than the usual one is wanted.
        version: Option<String>,
        /// Whose quota is taken.
        location: Option<Location>,
    },
    /// Google's Gemini API, which takes a key.
    Gemini {
        /// Path before `/models/...`; `v1beta` by default.
        prefix: String,
    },
    /// An endpoint of AWS SageMaker with an OpenAI-compatible container.
    SageMaker,
    /// Whatever its clients speak: it serves no operation of a model, and plain routes alone send to it.
    Plain,
}

impl Schema {
    /// What the schema and the credential of a backend settle together: whose quota is taken of Google's Vertex AI, and in which
    /// header its keys are shown.
    pub fn settle(&mut self, kind: &mut CredentialKind) {
        match self {
            Self::GcpVertexAi { location } | Self::GcpAnthropic { location, .. } => match kind {
                CredentialKind::GoogleToken { project, region } => {
                    *location = Some(Location { project: project.clone(), region: region.clone() });
                }
                CredentialKind::ApiKey => *kind = CredentialKind::GoogleApiKey,
                _ => {}
            },
            Self::Gemini { .. } if *kind == CredentialKind::ApiKey => *kind = CredentialKind::GoogleApiKey,
            _ => {}
        }
    }

    /// The value of `gen_ai.provider.name`.
    pub fn provider_name(&self) -> &'static str {
        match self {
            Self::OpenAi { .. } | Self::OpenAiResponses { .. } => "openai",
            Self::AzureOpenAi { .. } => "azure.openai",
            Self::Anthropic { .. } => "anthropic",
            Self::Cohere { .. } => "cohere",
            Self::AwsBedrock => "aws.bedrock",
            Self::AwsAnthropic { .. } => "aws.anthropic",
            Self::GcpVertexAi { .. } => "gcp.vertex_ai",
            Self::GcpAnthropic { .. } => "gcp.anthropic",
            Self::Gemini { .. } => "gcp.gemini",
            Self::SageMaker => "aws.sagemaker",
            Self::Plain => "plain",
        }
    }

    /// Path and query of `call`, or `None` when this host does not serve it.
    pub fn path(&self, call: &Call<'_>) -> Option<String> {
        match self {
            Self::OpenAi { prefix } => openai::path(prefix, call.dialect, call.operation),
            Self::OpenAiResponses { prefix } => openai::responses_path(prefix, call.dialect, call.operation),
            Self::AzureOpenAi { api_version } => azure::path(api_version, call),
            Self::Anthropic { prefix } => anthropic::path(prefix, call.dialect, call.operation),
            Self::Cohere { version } => cohere::path(version, call.dialect, call.operation),
            Self::AwsBedrock => bedrock::action(call).map(|action| bedrock::path(call.model, action)),
            Self::AwsAnthropic { .. } => {
                bedrock::claude_action(call).map(|action| bedrock::path(call.model, action))
            }
            Self::GcpVertexAi { location } => vertex::gemini_path(location.as_ref(), call),
            Self::GcpAnthropic { location, .. } => vertex::claude_path(location.as_ref(), call),
            Self::Gemini { prefix } => vertex::gemini_api_path(prefix, call),
            Self::SageMaker => sagemaker::path(call),
            Self::Plain => None,
        }
    }

    /// Whether `call` is served here.
    pub fn serves(&self, call: &Call<'_>) -> bool {
        match self {
            Self::OpenAi { .. } => openai::suffix(call.dialect, call.operation).is_some(),
            Self::AzureOpenAi { .. } => azure::suffix(call.dialect, call.operation).is_some(),
            Self::Anthropic { .. } => anthropic::suffix(call.dialect, call.operation).is_some(),
            Self::Cohere { .. } => cohere::suffix(call.dialect, call.operation).is_some(),
            Self::SageMaker => sagemaker::serves(call.dialect, call.operation),
            Self::OpenAiResponses { .. } => openai::serves_responses(call.dialect, call.operation),
            Self::AwsBedrock => bedrock::action(call).is_some(),
            Self::AwsAnthropic { .. } => bedrock::claude_action(call).is_some(),
            Self::GcpVertexAi { .. } => vertex::gemini_action(call).is_some(),
            Self::GcpAnthropic { .. } => vertex::claude_action(call).is_some(),
            Self::Gemini { .. } => vertex::serves_gemini_api(call),
            Self::Plain => false,
        }
    }

    /// The dialects in which `operation` of `model` can be asked here, the preferred one first.
    pub fn dialects(&self, operation: Operation, model: &ModelName) -> &'static [Dialect] {
        use Dialect::{
            AnthropicMessages, BedrockConverse, CohereEmbeddings, CohereRerank, Gemini, GeminiEmbeddings,
            OpenAiChat, OpenAiEmbeddings, OpenAiResponses, TitanEmbeddings, VertexEmbeddings, VllmTokenize,
        };
        let counts = matches!(operation, Operation::CountTokens | Operation::Tokenize);
        match (self, operation) {
            (Self::OpenAi { .. }, _) if counts => &[OpenAiResponses, VllmTokenize],
            (
                Self::OpenAi { .. } | Self::AzureOpenAi { .. } | Self::SageMaker | Self::Gemini { .. },
                Operation::Embed,
            ) => &[OpenAiEmbeddings],
            (Self::OpenAi { .. } | Self::AzureOpenAi { .. }, _) => &[OpenAiChat, OpenAiResponses],
            (Self::OpenAiResponses { .. }, _) => &[OpenAiResponses],
            (Self::SageMaker, _) => &[OpenAiChat],
            (Self::AwsBedrock, Operation::Embed) if bedrock::embeds_as_cohere(model) => &[CohereEmbeddings],
            (Self::AwsBedrock, Operation::Embed) => &[TitanEmbeddings],
            (Self::AwsBedrock, _) => &[BedrockConverse],
            (Self::AwsAnthropic { .. }, _) => &[AnthropicMessages, BedrockConverse],
            (Self::GcpVertexAi { .. }, Operation::Embed) if vertex::embeds_content(model) => {
                &[GeminiEmbeddings]
            }
            (Self::GcpVertexAi { .. }, Operation::Embed) => &[VertexEmbeddings],
            (Self::GcpVertexAi { .. } | Self::Gemini { .. }, _) => &[Gemini],
            (Self::Anthropic { .. } | Self::GcpAnthropic { .. }, _) => &[AnthropicMessages],
            (Self::Cohere { .. }, _) => &[CohereRerank],
            (Self::Plain, _) => &[],
        }
    }

    /// How this host frames the streamed answer to a request in `dialect`.
    pub fn framing(&self, dialect: Dialect) -> StreamFraming {
        match (self, dialect) {
            (Self::AwsBedrock, Dialect::BedrockConverse) => StreamFraming::AwsEvents,
            (Self::AwsAnthropic { .. }, Dialect::AnthropicMessages) => StreamFraming::AwsChunks,
            (Self::SageMaker, _) => StreamFraming::AwsPayload,
            _ => StreamFraming::Sse,
        }
    }

    /// The name of the service that requests to this host are signed for, where they are signed.
    ///
    /// OpenAI's dialect is served by Bedrock as well, and so may be any other through an address of one's own.
    pub fn signing_service(&self) -> &'static str {
        match self {
            Self::SageMaker => "sagemaker",
            Self::OpenAi { .. }
            | Self::OpenAiResponses { .. }
            | Self::AzureOpenAi { .. }
            | Self::Anthropic { .. }
            | Self::Cohere { .. }
            | Self::AwsBedrock
            | Self::AwsAnthropic { .. }
            | Self::GcpVertexAi { .. }
            | Self::GcpAnthropic { .. }
            | Self::Gemini { .. }
            | Self::Plain => "bedrock",
        }
    }

    /// Adds the headers that this host requires and removes those that only another vendor understands.
    pub fn adjust_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::OpenAi { .. }
            | Self::OpenAiResponses { .. }
            | Self::AzureOpenAi { .. }
            | Self::Cohere { .. } => anthropic::remove_headers(headers),
            Self::AwsBedrock
            | Self::AwsAnthropic { .. }
            | Self::GcpVertexAi { .. }
            | Self::Gemini { .. }
            | Self::SageMaker => {
                anthropic::remove_headers(headers);
                remove_steering(headers);
            }
            Self::Anthropic { .. } => anthropic::require_headers(headers),
            Self::GcpAnthropic { .. } => {
                // The version is in the body; betas stay in their header.
                anthropic::remove_version(headers);
                remove_steering(headers);
            }
            Self::Plain => {}
        }
    }
}

/// Takes away what steers an account of a cloud: whose quota is taken, which guardrail, which variant of an endpoint. The account
/// is the gateway's, and its operator's to steer, by headers of the configuration.
fn remove_steering(headers: &mut HeaderMap) {
    let steers = |name: &&HeaderName| {
        let name = name.as_str();
        let is_key = name == "x-goog-api-key";
        !is_key && ["x-amz-", "x-amzn-", "x-goog-"].iter().any(|prefix| name.starts_with(prefix))
    };
    let names: Vec<HeaderName> = headers.keys().filter(steers).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use tollgate_terms::Delivery;

    use super::*;

    fn path(schema: &Schema, dialect: Dialect, operation: Operation) -> Option<String> {
        path_of(schema, dialect, operation, Delivery::Whole, "gpt-4o/x")
    }

    fn path_of(
        schema: &Schema,
        dialect: Dialect,
        operation: Operation,
        delivery: Delivery,
        model: &str,
    ) -> Option<String> {
        let model = ModelName::parse(model).expect("a model name");
        schema.path(&Call { dialect, operation, delivery, model: &model })
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
        assert!(path(&cohere, Dialect::CohereRerank, Operation::Rerank).is_some());
        assert_eq!(path(&cohere, Dialect::OpenAiChat, Operation::Chat), None);
    }

    #[test]
    fn whoever_has_a_path_serves() {
        let location = Some(Location { project: "p".to_owned(), region: "r".to_owned() });
        let schemas = [
            Schema::OpenAi { prefix: "v1".to_owned() },
            Schema::OpenAiResponses { prefix: "v1".to_owned() },
            Schema::AzureOpenAi { api_version: "v1".to_owned() },
            Schema::Anthropic { prefix: "v1".to_owned() },
            Schema::Cohere { version: "v2".to_owned() },
            Schema::AwsBedrock,
            Schema::AwsAnthropic { version: None },
            Schema::GcpVertexAi { location: location.clone() },
            Schema::GcpAnthropic { version: None, location },
            Schema::Gemini { prefix: "v1beta".to_owned() },
            Schema::SageMaker,
            Schema::Plain,
        ];
        let model = ModelName::parse("m").expect("a model name");
        for schema in &schemas {
            for (dialect, operation) in Dialect::ALL
                .into_iter()
                .flat_map(|dialect| Operation::ALL.into_iter().map(move |operation| (dialect, operation)))
            {
                let call = Call { dialect, operation, delivery: Delivery::Whole, model: &model };
                assert_eq!(schema.path(&call).is_some(), schema.serves(&call), "{schema:?} {call:?}");
            }
        }
    }

    fn at(project: &str, region: &str) -> Option<Location> {
        Some(Location { project: project.to_owned(), region: region.to_owned() })
    }

    #[test]
    fn places_models_of_aws_in_paths() {
        use Delivery::{Stream, Whole};
        use Dialect::{AnthropicMessages, BedrockConverse, CohereEmbeddings, OpenAiChat};
        use Operation::{Chat, CountTokens, Embed};
        let (bedrock, claude) = (Schema::AwsBedrock, Schema::AwsAnthropic { version: None });
        let profile = "arn:aws:bedrock:us-east-1:1:inference-profile/us.nova:0";
        let escaped = "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.nova:0/converse-stream";
        for (schema, dialect, operation, delivery, model, expected) in [
            (&bedrock, BedrockConverse, Chat, Stream, profile, escaped),
            (
                &bedrock,
                BedrockConverse,
                CountTokens,
                Whole,
                "eu.a.claude:0",
                "/model/a.claude:0/count-tokens",
            ),
            (&bedrock, CohereEmbeddings, Embed, Whole, "cohere.v4:0", "/model/cohere.v4:0/invoke"),
            (&claude, AnthropicMessages, Chat, Stream, "a.c", "/model/a.c/invoke-with-response-stream"),
            (&Schema::SageMaker, OpenAiChat, Chat, Stream, "e", "/endpoints/e/invocations-response-stream"),
        ] {
            let found = path_of(schema, dialect, operation, delivery, model);
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn places_models_of_google_in_paths() {
        use Delivery::{Stream, Whole};
        use Dialect::{AnthropicMessages, Gemini, GeminiEmbeddings, OpenAiEmbeddings, VertexEmbeddings};
        use Operation::{Chat, CountTokens, Embed};
        let vertex = Schema::GcpVertexAi { location: at("p", "r") };
        let express = Schema::GcpVertexAi { location: None };
        let claude = Schema::GcpAnthropic { version: None, location: at("p", "r") };
        let api = Schema::Gemini { prefix: "v1beta".to_owned() };
        let within = "/v1/projects/p/locations/r/publishers";
        for (schema, dialect, operation, delivery, model, expected) in [
            (
                &vertex,
                Gemini,
                Chat,
                Stream,
                "g",
                format!("{within}/google/models/g:streamGenerateContent?alt=sse"),
            ),
            (
                &vertex,
                VertexEmbeddings,
                Embed,
                Whole,
                "e-005",
                format!("{within}/google/models/e-005:predict"),
            ),
            (
                &vertex,
                GeminiEmbeddings,
                Embed,
                Whole,
                "gemini-e",
                format!("{within}/google/models/gemini-e:embedContent"),
            ),
            (
                &claude,
                AnthropicMessages,
                Chat,
                Whole,
                "c@1",
                format!("{within}/anthropic/models/c@1:rawPredict"),
            ),
            (
                &claude,
                AnthropicMessages,
                CountTokens,
                Whole,
                "c@1",
                format!("{within}/anthropic/models/count-tokens:rawPredict"),
            ),
            (&express, Gemini, Chat, Whole, "g", "/v1/publishers/google/models/g:generateContent".to_owned()),
            (&api, OpenAiEmbeddings, Embed, Whole, "g", "/v1beta/openai/embeddings".to_owned()),
        ] {
            let found = path_of(schema, dialect, operation, delivery, model);
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn clients_do_not_steer_the_account_of_a_cloud() {
        for schema in [Schema::AwsBedrock, Schema::SageMaker, Schema::GcpVertexAi { location: None }] {
            let mut headers = HeaderMap::new();
            for name in ["x-amzn-bedrock-guardrailidentifier", "x-goog-user-project", "x-mine"] {
                headers.insert(name, http::HeaderValue::from_static("1"));
            }
            schema.adjust_headers(&mut headers);
            assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"], "{schema:?}");
        }
    }

    #[test]
    fn a_body_names_its_model_where_no_path_does() {
        let model = ModelName::parse("claude-x@default").expect("a model name");
        let claude = Schema::GcpAnthropic { version: None, location: at("p", "r") };
        for operation in [Operation::CountTokens, Operation::Tokenize] {
            let (dialect, delivery) = (Dialect::AnthropicMessages, Delivery::Whole);
            let call = Call { dialect, operation, delivery, model: &model };
            let envelope = claude.envelope(&call, &HeaderMap::new());
            assert!(envelope.set.contains(&(&["model"], "\"claude-x\"".to_owned())), "{envelope:?}");
            assert!(envelope.remove.is_empty(), "{envelope:?}");
        }
    }

    #[test]
    fn the_newer_api_of_azure_has_the_model_in_the_body() {
        let azure = Schema::AzureOpenAi { api_version: "v1".to_owned() };
        let found = path(&azure, Dialect::OpenAiChat, Operation::Chat);
        assert_eq!(found.as_deref(), Some("/openai/v1/chat/completions"));
    }
}
