//! What the model says: the same for the same question, in every dialect, streamed or not.

use serde_json::{Value, json};

use super::ask::{Ask, count_words};
use super::schema;

/// An answer before any dialect.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) thinking: Option<&'static str>,
    pub(super) text: Option<String>,
    /// Id, name and arguments.
    pub(super) calls: Vec<(String, String, Value)>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// Signature of all reasoning.
pub(super) const SIGNATURE: &str = "c2lnbmF0dXJlLW9mLXRoZS1tb2Nr";

/// What is thought before an answer.
const THOUGHT: &str = "The question is short, so the answer should be short as well.";

/// Where the tools are asked about.
const CITIES: [&str; 2] = ["Paris", "Rome"];

impl Said {
    pub(super) fn to(ask: &Ask) -> Self {
        let mut said = Self {
            thinking: ask.thinks.then_some(THOUGHT),
            text: None,
            calls: Vec::new(),
            input_tokens: ask.words,
            output_tokens: 0,
        };
        match (&ask.tool, ask.calls, &ask.schema) {
            (Some(tool), 1.., _) => {
                said.calls = CITIES
                    .iter()
                    .take(ask.calls)
                    .enumerate()
                    .map(|(at, city)| {
                        (format!("call_{}_{city}", at + 1), tool.clone(), json!({"city": city}))
                    })
                    .collect();
            }
            (_, _, Some(wanted)) => said.text = Some(schema::example(wanted).to_string()),
            _ => {
                let asked: String = ask.text.chars().take(60).collect();
                said.text = Some(format!("You said: {asked} This is all that a mock can answer."));
            }
        }
        let arguments: String =
            said.calls.iter().map(|(_, name, input)| format!("{name} {input} ")).collect();
        let words = format!(
            "{} {} {arguments}",
            said.thinking.unwrap_or_default(),
            said.text.as_deref().unwrap_or("")
        );
        said.output_tokens = count_words(&words);
        said
    }

    /// The text in the pieces of a stream.
    pub(super) fn pieces(text: &str) -> Vec<&str> {
        text.split_inclusive(' ').collect()
    }

    /// A tool's arguments in the fragments of a stream, cut anywhere.
    pub(super) fn fragments(input: &Value) -> Vec<String> {
        let text: Vec<char> = input.to_string().chars().collect();
        text.chunks(5).map(|chunk| chunk.iter().collect()).collect()
    }
}
