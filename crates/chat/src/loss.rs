//! What could not be said in the other dialect. A loss is a value: counted, recorded, never silent.

use serde::{Deserialize, Serialize};

/// Something that the target dialect has no words for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loss {
    /// JSON pointer into the source body, such as `/messages/0/content/1/cache_control`.
    pub pointer: String,
    /// What kind of thing was lost.
    pub kind: LossKind,
    /// What the loss changes.
    pub effect: Effect,
}

/// The losses of one translation: bounded, since a request of a megabyte may hold a hundred thousand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    // Invariant: no more than `LOSSES_MAX`.
    list: Vec<Loss>,
}

/// Most losses that are told of one translation.
const LOSSES_MAX: usize = 100;

impl Losses {
    /// Records a loss. After the first hundred there is nothing new to learn, and the rest is left out.
    pub fn push(&mut self, loss: Loss) {
        if self.list.len() < LOSSES_MAX {
            self.list.push(loss);
        }
    }

    /// Records a loss of a stream, where the same one may come with every event.
    pub fn push_once(&mut self, loss: Loss) {
        if !self.list.contains(&loss) {
            self.push(loss);
        }
    }

    /// What has been lost, in the order in which it was.
    pub fn as_slice(&self) -> &[Loss] {
        &self.list
    }

    /// The same, to keep.
    pub fn into_vec(self) -> Vec<Loss> {
        self.list
    }
}

/// What a loss changes for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Only price or speed: a cache point, a service tier.
    Cost,
    /// The answer itself may differ.
    Meaning,
}

/// The kinds of loss: short, stable names for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// A prompt cache point.
    CachePoint,
    /// A sampling parameter: penalties, seed, `top_k`, `logit_bias` ...
    Sampling,
    /// More than one choice.
    Choices,
    /// Log probabilities.
    Logprobs,
    /// The demanded format of the answer.
    ResponseFormat,
    /// Reasoning text, its signature, or the demanded effort.
    Thinking,
    /// A citation or annotation.
    Citation,
    /// A tool that the provider itself runs.
    ServerTool,
    /// A property of a tool or of the choice among tools.
    ToolOption,
    /// An image, document, audio or video part.
    Media,
    /// Metadata: user, labels, storage.
    Metadata,
    /// A price or speed class.
    ServiceTier,
    /// A member that neither the hub nor the target knows.
    UnknownField,
    /// Why the model stopped.
    StopReason,
    /// A detail of the usage.
    Usage,
    /// An event of a stream that cannot be read.
    UnreadableEvent,
}

impl LossKind {
    /// The kind as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::CachePoint => "cache_point",
            Self::Sampling => "sampling",
            Self::Choices => "choices",
            Self::Logprobs => "logprobs",
            Self::ResponseFormat => "response_format",
            Self::Thinking => "thinking",
            Self::Citation => "citation",
            Self::ServerTool => "server_tool",
            Self::ToolOption => "tool_option",
            Self::Media => "media",
            Self::Metadata => "metadata",
            Self::ServiceTier => "service_tier",
            Self::UnknownField => "unknown_field",
            Self::StopReason => "stop_reason",
            Self::Usage => "usage",
            Self::UnreadableEvent => "unreadable_event",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(number: usize) -> Loss {
        Loss { pointer: format!("/{number}"), kind: LossKind::UnknownField, effect: Effect::Meaning }
    }

    #[test]
    fn keeps_the_first_hundred() {
        let mut losses = Losses::default();
        (0..1000).for_each(|number| losses.push(loss(number)));
        assert_eq!(losses.into_vec(), (0..100).map(loss).collect::<Vec<_>>());
    }

    #[test]
    fn tells_a_repeated_loss_once() {
        let mut losses = Losses::default();
        [1, 2, 1, 2].into_iter().for_each(|number| losses.push_once(loss(number)));
        assert_eq!(losses.as_slice(), [loss(1), loss(2)]);
    }
}
