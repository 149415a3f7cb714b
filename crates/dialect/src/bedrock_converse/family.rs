//! Whose model it is. `Converse` is the same for all, but what it has no member for goes to the model in the model's own words.

use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::ModelName;

use crate::fields::{Members, loss, object};

/// Families of models whose own words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Anthropic's.
    Claude,
    /// Amazon's own.
    Nova,
    /// OpenAI's open models.
    OpenAi,
    /// All others, and those that are hidden behind the name of an inference profile.
    Other,
}

impl Family {
    /// The family of a model, by its id or that of an inference profile, such as `eu.anthropic.claude-sonnet-4-5-20250929-v1:0`.
    pub(super) fn of(model: &ModelName) -> Self {
        if model.is_claude() {
            return Self::Claude;
        }
        let model = model.as_str();
        if model.contains("amazon.nova") {
            Self::Nova
        } else if model.contains("openai.") {
            Self::OpenAi
        } else {
            Self::Other
        }
    }

    /// The wish for so many most likely tokens to choose among, said in `additional`.
    pub(super) fn set_top_k(self, additional: &mut Members, top_k: Option<u64>) {
        match self {
            Self::Nova => {
                additional.set("inferenceConfig", top_k.map(|top_k| object!({"topK": top_k})));
            }
            Self::Claude | Self::OpenAi | Self::Other => additional.set("top_k", top_k),
        }
    }

    /// The wish for an effort. Claude's is said in `output`, the `outputConfig` of the API; the others' in `additional`.
    pub(super) fn set_effort(
        self,
        word: String,
        output: &mut Members,
        additional: &mut Members,
        losses: &mut Losses,
    ) {
        match self {
            Self::Claude => match word.as_str() {
                // No effort is no reasoning there.
                "none" => {
                    if !additional.map.contains_key("thinking") {
                        additional.set("thinking", Some(object!({"type": "disabled"})));
                    }
                }
                _ => {
                    let word = nearest(word, &["low", "medium", "high", "xhigh", "max"], losses);
                    output.set("effort", Some(word));
                }
            },
            Self::Nova if word == "none" => {
                additional.set("reasoningConfig", Some(object!({"type": "disabled"})));
            }
            Self::Nova => {
                let word = nearest(word, &["low", "medium", "high"], losses);
                let config = object!({"type": "enabled", "maxReasoningEffort": word});
                additional.set("reasoningConfig", Some(config));
            }
            Self::OpenAi => {
                let word = nearest(word, &["low", "medium", "high"], losses);
                additional.set("reasoning_effort", Some(word));
            }
            // As Envoy AI Gateway says it to all.
            Self::Other => additional.set("reasoning_config", Some(word)),
        }
    }
}

/// The word that is nearest to `word` among those that the model knows, from the least to the most. Words that nobody knows are
/// passed on, for the API to refuse.
fn nearest(word: String, known: &[&str], losses: &mut Losses) -> String {
    let end = match word.as_str() {
        word if known.contains(&word) => None,
        "none" | "minimal" => known.first(),
        "xhigh" | "max" => known.last(),
        _ => None,
    };
    let Some(end) = end else { return word };
    losses.push(loss("/reasoning_effort", LossKind::Thinking, Effect::Meaning));
    (*end).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_models_and_their_profiles() {
        for (model, family) in [
            ("anthropic.claude-3-sonnet-20240229-v1:0", Family::Claude),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", Family::Claude),
            ("us.amazon.nova-2-lite-v1:0", Family::Nova),
            ("openai.gpt-oss-120b-1:0", Family::OpenAi),
            ("meta.llama3-8b-instruct-v1:0", Family::Other),
            ("amazon.titan-text-express-v1", Family::Other),
        ] {
            assert_eq!(Family::of(&ModelName::parse(model).expect("a name")), family, "{model}");
        }
    }
}
