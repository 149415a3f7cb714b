//! Which Gemini a model is: how reasoning is asked for differs between them.
//!
//! Source: Google's guide to thinking ("thinking levels and budgets") and its guide to compatibility with OpenAI, which
//! says how many tokens each effort is for models with a budget.

use tollgate_chat::{Effect, Effort, LossKind, Losses, Thinking};
use tollgate_terms::ModelName;

use crate::fields::{Members, loss};

/// A model, as far as requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gemini {
    generation: Generation,
    size: Size,
}

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// Not at all.
    BeforeThinking,
    /// With a budget of tokens.
    Budgets,
    /// With levels, of which the first such model of its size does not know `MEDIUM`.
    FirstLevels,
    /// With levels.
    Levels,
}

/// The large models cannot be told not to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Pro,
    Flash,
}

impl Gemini {
    /// The model by its name. One without a version, such as `gemini-flash-latest` or a tuned one, counts as new.
    pub(super) fn of(model: &ModelName) -> Self {
        let name = model.as_str();
        let size = if name.split(['-', '/']).any(|word| word == "pro") { Size::Pro } else { Size::Flash };
        let generation = match version(name) {
            Some((0 | 1, _) | (2, 0..=4)) => Generation::BeforeThinking,
            Some((2, _)) => Generation::Budgets,
            Some((3, 0)) => Generation::FirstLevels,
            Some(_) | None => Generation::Levels,
        };
        Self { generation, size }
    }

    /// Whether the model wants signatures back, and takes media in the results of tools and a resolution for each image.
    pub(super) fn has_levels(self) -> bool {
        matches!(self.generation, Generation::FirstLevels | Generation::Levels)
    }

    /// `thinkingConfig`. A budget decides over an effort.
    pub(super) fn thinking(
        self,
        thinking: Option<Thinking>,
        effort: Option<Effort>,
        losses: &mut Losses,
    ) -> Option<Members> {
        if self.generation == Generation::BeforeThinking {
            let asks = |thinking: &Thinking| *thinking != Thinking::Disabled;
            if thinking.as_ref().is_some_and(asks) {
                losses.push(loss("/thinking", LossKind::Thinking, Effect::Meaning));
            }
            if effort.is_some_and(|Effort(word)| word != "none") {
                lose_effort(losses);
            }
            return None;
        }
        let mut config = Members::default();
        let is_open = self.set_thinking(&mut config, thinking, losses);
        match effort {
            Some(Effort(word)) if is_open == Open::Yes => self.set_effort(&mut config, &word, losses),
            Some(_) => lose_effort(losses),
            // Small models with budgets do not think unless they are told to.
            None if self.generation == Generation::Budgets
                && is_open == Open::Yes
                && !config.map.is_empty() =>
            {
                config.set("thinkingBudget", Some(-1));
            }
            None => {}
        }
        (!config.map.is_empty()).then_some(config)
    }

    fn set_thinking(self, config: &mut Members, thinking: Option<Thinking>, losses: &mut Losses) -> Open {
        let includes = |display: Option<String>| display.as_deref() != Some("omitted");
        match thinking {
            None => Open::Yes,
            Some(Thinking::Enabled { budget_tokens: Some(tokens), display }) => {
                config.set("includeThoughts", Some(includes(display)));
                config.set("thinkingBudget", Some(tokens));
                Open::No
            }
            Some(Thinking::Enabled { budget_tokens: None, display } | Thinking::Adaptive { display }) => {
                config.set("includeThoughts", Some(includes(display)));
                Open::Yes
            }
            Some(Thinking::BetweenTools) => {
                losses.push(loss("/thinking", LossKind::Thinking, Effect::Meaning));
                Open::Yes
            }
            Some(Thinking::Disabled) => {
                if self.size == Size::Pro {
                    losses.push(loss("/thinking", LossKind::Thinking, Effect::Meaning));
                }
                self.set_least(config);
                Open::No
            }
        }
    }

    /// As little thinking as the model can.
    fn set_least(self, config: &mut Members) {
        match (self.has_levels(), self.size) {
            (true, Size::Flash) => config.set("thinkingLevel", Some("MINIMAL")),
            (true, Size::Pro) => config.set("thinkingLevel", Some("LOW")),
            (false, Size::Flash) => config.set("thinkingBudget", Some(0)),
            (false, Size::Pro) => config.set("thinkingBudget", Some(128)),
        }
    }

    fn set_effort(self, config: &mut Members, word: &str, losses: &mut Losses) {
        let is_exact = match word {
            "none" => {
                self.set_least(config);
                self.size == Size::Flash
            }
            "minimal" if self.has_levels() => {
                self.set_least(config);
                self.size == Size::Flash
            }
            "minimal" | "low" => {
                self.set_step(config, "LOW", 1024);
                true
            }
            "medium" if self.generation == Generation::FirstLevels && self.size == Size::Pro => {
                config.set("thinkingLevel", Some("HIGH"));
                false
            }
            "medium" => {
                self.set_step(config, "MEDIUM", 8192);
                true
            }
            "high" => {
                self.set_step(config, "HIGH", 24_576);
                true
            }
            // The API has a word for more, but no model that is documented takes it.
            "xhigh" | "max" => {
                self.set_step(config, "HIGH", 24_576);
                false
            }
            // For the API to refuse.
            _ if self.has_levels() => {
                config.set("thinkingLevel", Some(word.to_ascii_uppercase()));
                true
            }
            _ => false,
        };
        if !is_exact {
            lose_effort(losses);
        }
    }

    fn set_step(self, config: &mut Members, level: &str, tokens: u64) {
        if self.has_levels() {
            config.set("thinkingLevel", Some(level));
        } else {
            config.set("thinkingBudget", Some(tokens));
        }
    }
}

/// Whether an effort can still be said beside what has been said of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

fn lose_effort(losses: &mut Losses) {
    losses.push(loss("/reasoning_effort", LossKind::Thinking, Effect::Meaning));
}

/// The version in a name: the first word behind `gemini` that is a number of one or two digits, with a number behind a dot
/// or without. `001` and `1206` are a revision and a day.
fn version(name: &str) -> Option<(u32, u32)> {
    let (_, behind) = name.split_once("gemini-")?;
    behind.split('-').find_map(|word| {
        let (major, minor) = word.split_once('.').unwrap_or((word, "0"));
        Some((small_number(major)?, small_number(minor)?))
    })
}

fn small_number(digits: &str) -> Option<u32> {
    let is_small = matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = digits.len() == 2 && digits.starts_with('0');
    if is_small && !is_padded { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_and_not_any_digit() {
        for (name, generation, size) in [
            ("gemini-1.5-pro-003", Generation::BeforeThinking, Size::Pro),
            ("gemini-2.0-flash-001", Generation::BeforeThinking, Size::Flash),
            ("gemini-2.5-pro", Generation::Budgets, Size::Pro),
            ("google/gemini-2.5-flash-preview-09-2025", Generation::Budgets, Size::Flash),
            ("gemini-live-2.5-flash", Generation::Budgets, Size::Flash),
            ("gemini-3-pro-preview", Generation::FirstLevels, Size::Pro),
            ("gemini-3.1-pro", Generation::Levels, Size::Pro),
            ("gemini-4-flash", Generation::Levels, Size::Flash),
            ("gemini-flash-latest", Generation::Levels, Size::Flash),
            ("gemini-exp-1206", Generation::Levels, Size::Flash),
            ("projects/3/endpoints/3", Generation::Levels, Size::Flash),
        ] {
            let model = ModelName::parse(name).expect("a name");
            assert_eq!(Gemini::of(&model), Gemini { generation, size }, "{name}");
        }
    }
}
