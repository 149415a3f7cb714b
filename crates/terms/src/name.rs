//! Newtypes for the names that travel through the gateway, so that one cannot be handed in for another.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest model name accepted from a client, in bytes.
///
/// A model name ends up in headers, metric labels, log lines and URL paths, so it has to be short and visible.
const MODEL_NAME_BYTES_MAX: usize = 256;

/// The name of a model as a client asks for it or a backend answers with it.
///
/// Invariant: 1 to 256 bytes of visible ASCII (0x21 to 0x7e), so it is safe in headers, labels and paths.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(Arc<str>);

/// Why a text is not a [`ModelName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelNameError {
    /// The name is the empty string.
    #[error("model is empty")]
    Empty,
    /// The name is longer than 256 bytes.
    #[error("model is longer than 256 bytes")]
    TooLong,
    /// The name has a space, a control character or a character outside ASCII.
    #[error("model has a character that is not visible ASCII")]
    NotVisible,
}

impl ModelName {
    /// Proves that `text` can be a model name.
    ///
    /// # Errors
    /// When it is empty, longer than 256 bytes, or has anything but visible ASCII.
    pub fn parse(text: &str) -> Result<Self, ModelNameError> {
        match text.len() {
            0 => Err(ModelNameError::Empty),
            1..=MODEL_NAME_BYTES_MAX if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(text.into()))
            }
            1..=MODEL_NAME_BYTES_MAX => Err(ModelNameError::NotVisible),
            _ => Err(ModelNameError::TooLong),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a Claude, by its id or that of an inference profile, such as `eu.anthropic.claude-sonnet-4-5-20250929-v1:0`.
    /// Profiles with names of their own hide whose model it is.
    pub fn is_claude(&self) -> bool {
        self.0.contains("anthropic.") || self.0.contains("claude")
    }
}

impl TryFrom<String> for ModelName {
    type Error = ModelNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// Writes a newtype over `Arc<str>` for names that come from the configuration.
macro_rules! configured_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as the configuration resolved it.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
        }

        name_traits!($name);
    };
}

/// Text, display and debug of a name are the text itself.
macro_rules! name_traits {
    ($name:ident) => {
        impl $name {
            /// The text of the name, shared and not copied.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_traits!(ModelName);
configured_name! {
    /// A configured upstream: `namespace/name` of its AIServiceBackend.
    BackendName
}
configured_name! {
    /// A configured route: `namespace/name` of its AIGatewayRoute.
    RouteName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_model_names_that_could_forge_a_header_or_label() {
        assert_eq!(ModelName::parse(""), Err(ModelNameError::Empty));
        assert_eq!(ModelName::parse("a\r\nx: y"), Err(ModelNameError::NotVisible));
        assert_eq!(ModelName::parse("gpt 4"), Err(ModelNameError::NotVisible));
        assert_eq!(ModelName::parse("modèle"), Err(ModelNameError::NotVisible));
        assert_eq!(ModelName::parse(&"x".repeat(257)), Err(ModelNameError::TooLong));
    }

    #[test]
    fn accepts_names_of_every_provider() {
        for name in
            ["gpt-4o", "arn:aws:bedrock:us-east-1::foundation-model/x", "meta-llama/Llama-3.1-8B", "m@latest"]
        {
            assert_eq!(ModelName::parse(name).map(|parsed| parsed.to_string()), Ok(name.to_owned()));
        }
    }
}
