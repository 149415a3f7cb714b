//! Which model a name means: names as they are, and patterns that names match.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use tollgate_terms::FastMap;

/// Largest compiled regular expression, in bytes of automaton.
const REGULAR_EXPRESSION_BYTES_MAX: usize = 1 << 18;

/// A condition on a name, as it is written. Names are compared in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum WrittenPattern {
    /// The very name.
    Equals(String),
    /// Something else.
    Other(OtherPattern),
}

/// A condition that is not the very name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherPattern {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(String),
    Any(Vec<WrittenPattern>),
    All(Vec<WrittenPattern>),
    Not(Box<WrittenPattern>),
}

/// A condition on a name.
#[derive(Debug, Clone)]
enum Pattern {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(Regex),
    Any(Vec<Pattern>),
    All(Vec<Pattern>),
    Not(Box<Pattern>),
}

/// Finds the first of a list of models that a name means.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// The first model that each of these names means: what is called by its name, as nearly all are, is found at once.
    exact: FastMap<String, usize>,
    /// The other conditions with their models. Invariant: models ascend.
    patterns: Vec<(usize, Pattern)>,
}

impl Names {
    /// Adds the next model, which `written` is for.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub(super) fn add(&mut self, model: usize, written: &[WrittenPattern]) -> Result<(), String> {
        for pattern in written {
            match Pattern::compile(pattern)? {
                Pattern::Equals(name) => {
                    let means = self.by_pattern(&name).unwrap_or(model);
                    self.exact.entry(name).or_insert(means);
                }
                pattern => self.patterns.push((model, pattern)),
            }
        }
        Ok(())
    }

    /// The place of the first model that `name`, in lower case, means.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.exact.get(name).copied().or_else(|| self.by_pattern(name))
    }

    fn by_pattern(&self, name: &str) -> Option<usize> {
        self.patterns.iter().find(|(_, pattern)| pattern.holds(name)).map(|(model, _)| *model)
    }
}

impl Pattern {
    fn compile(written: &WrittenPattern) -> Result<Self, String> {
        let written = match written {
            WrittenPattern::Equals(name) => return Ok(Self::Equals(name.to_ascii_lowercase())),
            WrittenPattern::Other(written) => written,
        };
        let all = |list: &[WrittenPattern]| list.iter().map(Self::compile).collect::<Result<Vec<_>, _>>();
        Ok(match written {
            OtherPattern::Equals(text) => Self::Equals(text.to_ascii_lowercase()),
            OtherPattern::StartsWith(text) => Self::StartsWith(text.to_ascii_lowercase()),
            OtherPattern::EndsWith(text) => Self::EndsWith(text.to_ascii_lowercase()),
            OtherPattern::Contains(text) => Self::Contains(text.to_ascii_lowercase()),
            OtherPattern::Regex(text) => {
                let built = RegexBuilder::new(text).size_limit(REGULAR_EXPRESSION_BYTES_MAX).build();
                Self::Regex(built.map_err(|_| format!("{text:?} is no regular expression, or too large"))?)
            }
            OtherPattern::Any(list) => Self::Any(all(list)?),
            OtherPattern::All(list) => Self::All(all(list)?),
            OtherPattern::Not(pattern) => Self::Not(Box::new(Self::compile(pattern)?)),
        })
    }

    fn holds(&self, name: &str) -> bool {
        match self {
            Self::Equals(text) => name == text,
            Self::StartsWith(text) => name.starts_with(text.as_str()),
            Self::EndsWith(text) => name.ends_with(text.as_str()),
            Self::Contains(text) => name.contains(text.as_str()),
            Self::Regex(expression) => expression.is_match(name),
            Self::Any(list) => list.iter().any(|pattern| pattern.holds(name)),
            Self::All(list) => list.iter().all(|pattern| pattern.holds(name)),
            Self::Not(pattern) => !pattern.holds(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_model_that_matches_is_meant() {
        let text = r#"[["a"], [{"starts_with": "A-"}], ["a-1"], [{"all": [{"contains": "z"}, {"not": {"ends_with": "y"}}]}, "b"],
            [{"regex": "^c-[0-9]+$"}], [{"any": ["d", {"equals": "E"}]}]]"#;
        let written: Vec<Vec<WrittenPattern>> = serde_json::from_str(text).expect("patterns");
        let mut names = Names::default();
        for (model, patterns) in written.iter().enumerate() {
            names.add(model, patterns).expect("good patterns");
        }
        let expected = [("a", Some(0)), ("a-1", Some(1)), ("xz", Some(3)), ("zy", None), ("b", Some(3))];
        let more = [("c-12", Some(4)), ("c-", None), ("d", Some(5)), ("e", Some(5)), ("", None)];
        for (name, model) in expected.into_iter().chain(more) {
            assert_eq!(names.find(name), model, "{name}");
        }
    }

    #[test]
    fn an_expression_that_cannot_be_compiled_is_told() {
        let bad = WrittenPattern::Other(OtherPattern::Regex("(".to_owned()));
        assert!(Names::default().add(0, &[bad]).is_err());
    }
}
