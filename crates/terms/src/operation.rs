//! What a client wants, and the wire language it wants it in.

use serde::{Deserialize, Serialize};

/// A wire language: the shape of requests, answers, streams and errors.
///
/// Azure OpenAI speaks [`Dialect::OpenAiChat`] at another host; Claude on Bedrock speaks
/// [`Dialect::AnthropicMessages`]. Who serves a dialect is a *host* and not told here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Dialect {
    /// `/v1/chat/completions`.
    OpenAiChat,
    /// `/v1/completions`, the older text completions.
    OpenAiCompletions,
    /// `/v1/embeddings`.
    OpenAiEmbeddings,
    /// `/v1/responses`.
    OpenAiResponses,
    /// `/v1/images/generations`.
    OpenAiImages,
    /// `/v1/audio/*`.
    OpenAiAudio,
    /// `/v1/messages`.
    AnthropicMessages,
    /// Google's `generateContent` and `streamGenerateContent`.
    Gemini,
    /// `Converse` and `ConverseStream` of AWS Bedrock.
    BedrockConverse,
    /// Embeddings by `predict` of Google's Vertex AI.
    VertexEmbeddings,
    /// Google's `embedContent`.
    GeminiEmbeddings,
    /// Amazon's Titan, embeddings by `InvokeModel`.
    TitanEmbeddings,
    /// Cohere's embeddings, as AWS Bedrock serves them by `InvokeModel`.
    CohereEmbeddings,
    /// Cohere's `/v2/rerank`.
    CohereRerank,
    /// `/tokenize` as vLLM defines it.
    VllmTokenize,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::OpenAiImages,
        Self::OpenAiAudio,
        Self::AnthropicMessages,
        Self::Gemini,
        Self::BedrockConverse,
        Self::VertexEmbeddings,
        Self::GeminiEmbeddings,
        Self::TitanEmbeddings,
        Self::CohereEmbeddings,
        Self::CohereRerank,
        Self::VllmTokenize,
    ];

    /// Short, stable name, for metrics and between processes.
    pub fn label(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiCompletions => "openai_completions",
            Self::OpenAiEmbeddings => "openai_embeddings",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiImages => "openai_images",
            Self::OpenAiAudio => "openai_audio",
            Self::AnthropicMessages => "anthropic_messages",
            Self::Gemini => "gemini",
            Self::BedrockConverse => "bedrock_converse",
            Self::VertexEmbeddings => "vertex_embeddings",
            Self::GeminiEmbeddings => "gemini_embeddings",
            Self::TitanEmbeddings => "titan_embeddings",
            Self::CohereEmbeddings => "cohere_embeddings",
            Self::CohereRerank => "cohere_rerank",
            Self::VllmTokenize => "vllm_tokenize",
        }
    }
}

/// What the client wants done, whichever dialect says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// An answer to a conversation.
    Chat,
    /// A continuation of a text.
    Complete,
    /// Vectors for texts.
    Embed,
    /// The number of tokens of a conversation, without answering it.
    CountTokens,
    /// Speech from a text.
    Speak,
    /// A text from speech.
    Transcribe,
    /// An English text from speech in any language.
    Translate,
    /// Images from a text.
    Draw,
    /// Documents ordered by relevance.
    Rerank,
    /// The tokens of a text.
    Tokenize,
}

/// How the client wants the answer delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Delivery {
    /// One body.
    #[default]
    Whole,
    /// A stream of events.
    Stream,
}

/// How a backend frames its streamed answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFraming {
    /// Server-sent events.
    Sse,
    /// `ConverseStream`: each message is an event, whose type is in a header.
    AwsEvents,
    /// `InvokeModelWithResponseStream`: each message holds one JSON event of the model's own dialect, in base64.
    AwsChunks,
    /// `InvokeEndpointWithResponseStream`: each message holds a piece, cut anywhere, of the server-sent events of a model's container.
    AwsPayload,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Chat,
        Self::Complete,
        Self::Embed,
        Self::CountTokens,
        Self::Speak,
        Self::Transcribe,
        Self::Translate,
        Self::Draw,
        Self::Rerank,
        Self::Tokenize,
    ];

    /// The value of `gen_ai.operation.name` for this operation asked in `dialect`.
    ///
    /// The names are those of Envoy AI Gateway, so that existing dashboards keep working.
    pub fn metric_name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::Chat, Dialect::AnthropicMessages) => "messages",
            (Self::Chat, Dialect::OpenAiResponses) => "responses",
            (Self::Chat, _) => "chat",
            (Self::CountTokens, Dialect::OpenAiResponses) => "responses_input_tokens",
            (Self::CountTokens, _) => "count_tokens",
            (Self::Complete, _) => "completion",
            (Self::Embed, _) => "embeddings",
            (Self::Speak, _) => "speech",
            (Self::Transcribe, _) => "transcription",
            (Self::Translate, _) => "translation",
            (Self::Draw, _) => "image_generation",
            (Self::Rerank, _) => "rerank",
            (Self::Tokenize, _) => "tokenize",
        }
    }
}
