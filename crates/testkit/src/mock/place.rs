//! Whom a request is for: each provider has paths of its own, and some name the model there.

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// OpenAI, and whoever is compatible.
    OpenAi,
    /// The same, asked for a response: its streams tell errors in another way.
    Responses,
    /// OpenAI's models at Azure.
    Azure,
    Anthropic,
    /// AWS Bedrock: Converse, InvokeModel and CountTokens.
    Bedrock,
    SageMaker,
    /// Claude on Google's Vertex AI.
    VertexClaude,
    /// Gemini on Google's Vertex AI.
    VertexGemini,
    /// The Gemini API, which takes a key.
    Gemini,
}

/// A path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) provider: Provider,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
    /// What is to be done: the end of the path.
    pub(super) action: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        if let Some(rest) = path.strip_prefix("/model/") {
            return Self::with_model(Provider::Bedrock, rest.rsplit_once('/'));
        }
        if let Some(rest) = path.strip_prefix("/endpoints/") {
            return Self::with_model(Provider::SageMaker, rest.rsplit_once('/'));
        }
        if let Some(rest) = path.strip_prefix("/openai/deployments/") {
            return Self::with_model(Provider::Azure, rest.split_once('/'));
        }
        for (part, provider) in [
            ("/publishers/anthropic/models/", Provider::VertexClaude),
            ("/publishers/google/models/", Provider::VertexGemini),
            ("/v1beta/models/", Provider::Gemini),
        ] {
            if let Some((_, rest)) = path.split_once(part) {
                return Self::with_model(provider, rest.rsplit_once(':'));
            }
        }
        let is_anthropic = path.ends_with("/messages") || path.ends_with("/count_tokens");
        let provider = match path {
            _ if path.starts_with("/openai/v1/") => Provider::Azure,
            _ if is_anthropic => Provider::Anthropic,
            _ if path.ends_with("/responses") => Provider::Responses,
            _ => Provider::OpenAi,
        };
        Self { provider, model: None, action: path }
    }

    /// Whether it is asked to go on with a conversation.
    pub(super) fn is_chat(&self) -> bool {
        let ends = ["/completions", "/messages", "/responses", "converse", "converse-stream"];
        ends.iter().chain(&["generateContent", "streamGenerateContent"]).any(|end| self.action.ends_with(end))
    }

    fn with_model(provider: Provider, parts: Option<(&'a str, &'a str)>) -> Self {
        let (model, action) = parts.unwrap_or_default();
        Self { provider, model: Some(unescaped(model)), action }
    }
}

/// A segment of a path without its escapes (RFC 3986).
fn unescaped(segment: &str) -> String {
    let mut pieces = segment.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let byte = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(byte);
        bytes.extend(piece.bytes().skip(if byte.is_some() { 2 } else { 0 }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> (Provider, Option<String>, &str) {
        let Place { provider, model, action } = Place::of(path);
        (provider, model, action)
    }

    #[test]
    fn finds_the_model_in_the_path() {
        let some = |model: &str| Some(model.to_owned());
        assert_eq!(
            place("/model/arn%3Aaws%2Fa:0/converse-stream"),
            (Provider::Bedrock, some("arn:aws/a:0"), "converse-stream")
        );
        assert_eq!(place("/endpoints/e/invocations"), (Provider::SageMaker, some("e"), "invocations"));
        assert_eq!(
            place("/openai/deployments/gpt/chat/completions"),
            (Provider::Azure, some("gpt"), "chat/completions")
        );
        assert_eq!(
            place("/v1/projects/p/locations/l/publishers/anthropic/models/c@1:rawPredict"),
            (Provider::VertexClaude, some("c@1"), "rawPredict")
        );
        assert_eq!(
            place("/v1beta/models/gemini:generateContent"),
            (Provider::Gemini, some("gemini"), "generateContent")
        );
        assert_eq!(place("/v1/messages"), (Provider::Anthropic, None, "/v1/messages"));
    }
}
