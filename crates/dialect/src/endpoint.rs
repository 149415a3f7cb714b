//! What a client's path asks for.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use tollgate_terms::{Delivery, Dialect, Operation};

/// A client that sends this header speaks Anthropic's dialect, also where the path leaves it open.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Where the APIs begin on the gateway.
#[derive(Debug, Clone)]
pub struct Prefixes {
    /// Before everything, without a slash at its end.
    pub root: String,
    /// Before `/v1/...` of OpenAI.
    pub openai: String,
    /// Before `/v1/...` of Anthropic.
    pub anthropic: String,
    /// Before `/v2/...` of Cohere.
    pub cohere: String,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            root: String::new(),
            openai: String::new(),
            anthropic: "/anthropic".to_owned(),
            cohere: "/cohere".to_owned(),
        }
    }
}

/// A path, and what it asks for.
type Path = (&'static str, Dialect, Operation);

const OPENAI: [Path; 10] = [
    ("/v1/chat/completions", Dialect::OpenAiChat, Operation::Chat),
    ("/v1/completions", Dialect::OpenAiCompletions, Operation::Complete),
    ("/v1/embeddings", Dialect::OpenAiEmbeddings, Operation::Embed),
    ("/v1/responses", Dialect::OpenAiResponses, Operation::Chat),
    ("/v1/responses/input_tokens", Dialect::OpenAiResponses, Operation::CountTokens),
    ("/v1/images/generations", Dialect::OpenAiImages, Operation::Draw),
    ("/v1/audio/speech", Dialect::OpenAiAudio, Operation::Speak),
    ("/v1/audio/transcriptions", Dialect::OpenAiAudio, Operation::Transcribe),
    ("/v1/audio/translations", Dialect::OpenAiAudio, Operation::Translate),
    ("/tokenize", Dialect::VllmTokenize, Operation::Tokenize),
];

const ANTHROPIC: [Path; 2] = [
    ("/v1/messages", Dialect::AnthropicMessages, Operation::Chat),
    ("/v1/messages/count_tokens", Dialect::AnthropicMessages, Operation::CountTokens),
];

const COHERE: [Path; 1] = [("/v2/rerank", Dialect::CohereRerank, Operation::Rerank)];

/// The list of models, and all paths below it but the one that ends with a slash, as a regular expression.
const MODELS: &str = "/v1/models(/.+)?";

/// The paths of Google's dialect, of the Gemini API and of Vertex AI, as regular expressions: two, since Envoy takes none that is large.
const GEMINI: [&str; 2] = [
    "/v1(beta1?)?/(projects/.+/)?models/.+:(streamG|g)enerateContent",
    "/v1(beta1?)?/(projects/.+/)?models/.+:countTokens",
];

const GEMINI_VERSIONS: [&str; 3] = ["/v1/", "/v1beta/", "/v1beta1/"];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An operation of a model.
    Operation {
        /// The client's dialect.
        dialect: Dialect,
        /// The operation.
        operation: Operation,
        /// What the path tells of the request, where that is not for the body to say.
        told: Option<PathFacts>,
    },
    /// The models that there are, or one of them.
    Models {
        /// The client's dialect.
        dialect: Dialect,
        /// The model, if one is asked for.
        id: Option<String>,
    },
}

/// What a path tells of a request: Google's dialect has the model and the delivery there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFacts {
    /// The model, as it stands there, without escapes.
    pub model: String,
    /// How the answer is wanted.
    pub delivery: Delivery,
}

/// Finds what `path`, without a query, asks for. Paths match exactly: no dot segments, no doubled slashes, no escapes.
pub fn endpoint(path: &str, headers: &HeaderMap, prefixes: &Prefixes) -> Option<Endpoint> {
    let path = path.strip_prefix(&prefixes.root)?;
    let speaks_anthropic = headers.contains_key(ANTHROPIC_VERSION);
    let under = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    if let Some(found) = under(&prefixes.anthropic).and_then(anthropic) {
        return Some(found);
    }
    if let Some(found) = under(&prefixes.cohere).and_then(|rest| operation(&COHERE, rest)) {
        return Some(found);
    }
    if let Some(found) = gemini(path) {
        return Some(found);
    }
    if let Some(found) = under(&prefixes.openai).and_then(|rest| openai(rest, speaks_anthropic)) {
        return Some(found);
    }
    // SDKs of Anthropic append `/v1/messages` to a base URL that often is the gateway's root.
    operation(&ANTHROPIC, path)
}

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPath {
    /// The very same path.
    Exact(String),
    /// A regular expression (RE2 syntax) over the whole path.
    Pattern(String),
}

/// All paths for which [`endpoint`] finds something, for those who route by themselves. Prefixes have nothing in them that needs an
/// escape.
pub fn endpoint_paths(prefixes: &Prefixes) -> Vec<EndpointPath> {
    let Prefixes { root, openai, anthropic, cohere } = prefixes;
    let under = |prefix: &str, paths: &[Path]| {
        paths
            .iter()
            .map(|(path, ..)| EndpointPath::Exact(format!("{root}{prefix}{path}")))
            .collect::<Vec<_>>()
    };
    let exact =
        [under(openai, &OPENAI), under("", &ANTHROPIC), under(anthropic, &ANTHROPIC), under(cohere, &COHERE)];
    let models = [openai, anthropic].map(|prefix| EndpointPath::Pattern(format!("{root}{prefix}{MODELS}")));
    let gemini = GEMINI.map(|pattern| EndpointPath::Pattern(format!("{root}{pattern}")));
    exact.into_iter().flatten().chain(models).chain(gemini).collect()
}

/// The dialect to tell errors in, whatever the path.
pub fn error_dialect(path: &str, headers: &HeaderMap) -> Dialect {
    let prefixes = Prefixes::default();
    match endpoint(path, headers, &prefixes) {
        Some(Endpoint::Operation { dialect, .. } | Endpoint::Models { dialect, .. }) => dialect,
        None if path.starts_with(&prefixes.anthropic) || headers.contains_key(ANTHROPIC_VERSION) => {
            Dialect::AnthropicMessages
        }
        None if path.starts_with(&prefixes.cohere) => Dialect::CohereRerank,
        None => Dialect::OpenAiChat,
    }
}

fn openai(path: &str, speaks_anthropic: bool) -> Option<Endpoint> {
    let dialect = if speaks_anthropic { Dialect::AnthropicMessages } else { Dialect::OpenAiChat };
    operation(&OPENAI, path).or_else(|| models(path, dialect))
}

fn anthropic(path: &str) -> Option<Endpoint> {
    operation(&ANTHROPIC, path).or_else(|| models(path, Dialect::AnthropicMessages))
}

fn operation(paths: &[Path], path: &str) -> Option<Endpoint> {
    let (_, dialect, operation) = paths.iter().find(|(known, ..)| *known == path)?;
    Some(Endpoint::Operation { dialect: *dialect, operation: *operation, told: None })
}

fn gemini(path: &str) -> Option<Endpoint> {
    let (path, action) = path.rsplit_once(':')?;
    let (operation, delivery) = match action {
        "generateContent" => (Operation::Chat, Delivery::Whole),
        "streamGenerateContent" => (Operation::Chat, Delivery::Stream),
        "countTokens" => (Operation::CountTokens, Delivery::Whole),
        _ => return None,
    };
    let rest = GEMINI_VERSIONS.iter().find_map(|version| path.strip_prefix(version))?;
    let rest = rest.strip_prefix("projects/").map_or(Some(rest), |rest| {
        // Whose quota is taken is for the gateway to say.
        let (project, rest) = rest.split_once("/locations/")?;
        let (location, rest) = rest.split_once("/publishers/google/")?;
        (!project.contains('/') && !location.contains('/')).then_some(rest)
    })?;
    let model = rest.strip_prefix("models/")?;
    let model = percent_decode_str(model).decode_utf8().ok()?.into_owned();
    (!model.is_empty()).then_some(Endpoint::Operation {
        dialect: Dialect::Gemini,
        operation,
        told: Some(PathFacts { model, delivery }),
    })
}

fn models(path: &str, dialect: Dialect) -> Option<Endpoint> {
    let rest = path.strip_prefix("/v1/models")?;
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some(Endpoint::Models { dialect, id: None }),
        // Names such as `meta-llama/Llama-3` have slashes, which clients escape or not.
        Some(id) if !id.is_empty() => {
            Some(Endpoint::Models { dialect, id: Some(id.replace("%2F", "/").replace("%2f", "/")) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn find(path: &str) -> Option<Endpoint> {
        endpoint(path, &HeaderMap::new(), &Prefixes::default())
    }

    #[test]
    fn knows_messages_with_and_without_a_prefix() {
        for path in ["/v1/messages", "/anthropic/v1/messages"] {
            let expected = Endpoint::Operation {
                dialect: Dialect::AnthropicMessages,
                operation: Operation::Chat,
                told: None,
            };
            assert_eq!(find(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn reads_the_model_out_of_googles_paths() {
        for (path, model, delivery) in [
            ("/v1beta/models/gemini-3-pro:generateContent", "gemini-3-pro", Delivery::Whole),
            ("/v1/models/llama3:8b:streamGenerateContent", "llama3:8b", Delivery::Stream),
            (
                "/v1beta1/projects/p/locations/eu/publishers/google/models/meta%2Fllama:streamGenerateContent",
                "meta/llama",
                Delivery::Stream,
            ),
        ] {
            let told = Some(PathFacts { model: model.to_owned(), delivery });
            let expected = Endpoint::Operation { dialect: Dialect::Gemini, operation: Operation::Chat, told };
            assert_eq!(find(path), Some(expected), "{path}");
        }
        for path in [
            "/v1beta/models/:generateContent",
            "/v1beta/models/x:predict",
            "/v2/models/x:generateContent",
            "/v1/projects/p/models/x:generateContent",
        ] {
            assert!(!matches!(find(path), Some(Endpoint::Operation { .. })), "{path}");
        }
    }

    #[test]
    fn tells_all_paths() {
        let all = endpoint_paths(&Prefixes::default());
        for path in &all {
            let example = match path {
                EndpointPath::Exact(path) => path.clone(),
                EndpointPath::Pattern(pattern) => pattern
                    .replace("(/.+)?", "/x")
                    .replace("(beta1?)?", "beta")
                    .replace("(projects/.+/)?", "")
                    .replace(".+:", "m:")
                    .replace("(streamG|g)", "g"),
            };
            assert!(find(&example).is_some(), "{example}");
        }
        assert_eq!(all.len(), OPENAI.len() + 2 * ANTHROPIC.len() + COHERE.len() + 4);
        assert!(all.contains(&EndpointPath::Exact("/anthropic/v1/messages".to_owned())));
    }

    #[test]
    fn matches_paths_exactly() {
        for path in
            ["/v1/chat;x/completions", "//v1/chat/completions", "/v1/chat/completions/", "/V1/embeddings", ""]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn lists_models_in_the_dialect_of_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        let asked = endpoint("/v1/models", &headers, &Prefixes::default());
        assert_eq!(asked, Some(Endpoint::Models { dialect: Dialect::AnthropicMessages, id: None }));
        let one =
            Endpoint::Models { dialect: Dialect::OpenAiChat, id: Some("meta-llama/Llama-3".to_owned()) };
        assert_eq!(find("/v1/models/meta-llama%2FLlama-3"), Some(one));
    }
}
