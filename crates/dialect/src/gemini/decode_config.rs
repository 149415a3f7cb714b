//! `generationConfig` of a request, read into the hub.
//!
//! Source: `google.genai.types.GenerationConfig` and `ThinkingConfig`.

use tollgate_chat::{Effect, Effort, Extension, LossKind, Losses, ResponseFormat, Sampling, Thinking, Wish};
use tollgate_wire::json::{Text, Value};

use super::names;
use super::schema::json_schema;
use crate::Invalid;
use crate::fields::{Fields, loss, tells, wrong};

/// What it holds.
#[derive(Default)]
pub(super) struct Config {
    pub(super) output_tokens_max: Option<u64>,
    pub(super) stop: Vec<String>,
    pub(super) sampling: Sampling,
    pub(super) format: Option<ResponseFormat>,
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    pub(super) media_resolution: Option<Extension>,
}

impl Config {
    /// Reads it; nothing where there is none. What the hub has no room for is recorded in `losses`.
    pub(super) fn read(config: Option<Fields>, losses: &mut Losses) -> Result<Self, Invalid> {
        let Some(mut config) = config else { return Ok(Self::default()) };
        let (thinking, effort) = thinking(&mut config, losses)?;
        let read = Self {
            output_tokens_max: names::count(&mut config, "maxOutputTokens")?,
            stop: stop(&mut config)?,
            sampling: sampling(&mut config)?,
            format: format(&mut config, losses)?,
            thinking,
            effort,
            media_resolution: config.text("mediaResolution")?.map(|level| Extension {
                origin: config.at("mediaResolution"),
                wish: Wish::MediaResolution(level),
            }),
        };
        lose_the_rest(config, losses);
        Ok(read)
    }
}

/// Members that only this dialect has.
fn lose_the_rest(mut config: Fields, losses: &mut Losses) {
    // Text is what everybody gives.
    let modalities = config.take("responseModalities");
    let is_text = |value: &Value| value.as_str().is_some_and(|word| word.eq_ignore_ascii_case("text"));
    if modalities.is_some_and(|list| !list.as_array().is_some_and(|list| list.iter().all(is_text))) {
        losses.push(loss(config.at("responseModalities"), LossKind::Media, Effect::Meaning));
    }
    for (key, kind, effect) in [
        ("speechConfig", LossKind::Media, Effect::Meaning),
        ("audioTimestamp", LossKind::Media, Effect::Meaning),
        ("imageConfig", LossKind::Media, Effect::Meaning),
        ("routingConfig", LossKind::ServiceTier, Effect::Cost),
        ("modelConfig", LossKind::ServiceTier, Effect::Cost),
    ] {
        if config.take(key).is_some_and(|value| tells(&value)) {
            losses.push(loss(config.at(key), kind, effect));
        }
    }
    config.lose_rest(losses);
}

fn sampling(config: &mut Fields) -> Result<Sampling, Invalid> {
    Ok(Sampling {
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        top_k: names::count(config, "topK")?,
        frequency_penalty: config.number("frequencyPenalty")?,
        presence_penalty: config.number("presencePenalty")?,
        seed: names::integer(config, "seed")?,
        logit_bias: None,
        logprobs: config.truth("responseLogprobs")?,
        top_logprobs: names::count(config, "logprobs")?,
        choices: names::count(config, "candidateCount")?,
    })
}

fn stop(config: &mut Fields) -> Result<Vec<String>, Invalid> {
    let pointer = config.at("stopSequences");
    let items = config.list("stopSequences")?.into_iter();
    items
        .map(|item| match item {
            Value::String(text) => Ok(text.into_string()),
            other => Err(wrong(&pointer, "strings", &other)),
        })
        .collect()
}

fn format(config: &mut Fields, losses: &mut Losses) -> Result<Option<ResponseFormat>, Invalid> {
    let media_type = config.text("responseMimeType")?;
    let older = config.take("responseSchema").map(json_schema);
    let preview = config.take("_responseJsonSchema");
    let schema = config.take("responseJsonSchema").or(preview).or(older);
    Ok(match (media_type.as_deref(), schema) {
        (None | Some("" | "text/plain"), None) => None,
        (Some("application/json"), None) => Some(ResponseFormat::JsonObject),
        (Some("text/x.enum"), schema) => {
            let choice = schema.as_ref().and_then(words).map(ResponseFormat::Choice);
            if choice.is_none() {
                let pointer = config.at("responseMimeType");
                losses.push(loss(pointer, LossKind::ResponseFormat, Effect::Meaning));
            }
            choice
        }
        (_, Some(schema)) => {
            Some(ResponseFormat::JsonSchema { name: None, description: None, schema, strict: None })
        }
        (Some(other), None) => {
            let found = Value::from(other);
            return Err(wrong(
                config.at("responseMimeType"),
                "text/plain, application/json or text/x.enum",
                &found,
            ));
        }
    })
}

/// The texts of an enumeration.
fn words(schema: &Value) -> Option<Vec<String>> {
    let words = schema.get("enum")?.as_array()?.iter();
    words.map(|word| word.as_text().map(Text::to_string)).collect()
}

/// A budget and a level are two ways to say the same; a budget of -1 leaves it to the model.
fn thinking(config: &mut Fields, losses: &mut Losses) -> Result<(Option<Thinking>, Option<Effort>), Invalid> {
    let Some(mut thinking) = names::member(config, "thinkingConfig")? else { return Ok((None, None)) };
    let includes = thinking.truth("includeThoughts")?;
    let budget = names::integer(&mut thinking, "thinkingBudget")?;
    let level = thinking.text("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
    thinking.lose_rest(losses);
    // They are left out unless they are asked for.
    let display = || Some(if includes == Some(true) { "summarized" } else { "omitted" }.to_owned());
    let wish = match (budget, includes) {
        (Some(0), _) => Some(Thinking::Disabled),
        (Some(tokens), _) => Some(match u64::try_from(tokens) {
            Ok(tokens) => Thinking::Enabled { budget_tokens: Some(tokens), display: display() },
            Err(_) => Thinking::Adaptive { display: display() },
        }),
        (None, Some(_)) => Some(Thinking::Adaptive { display: display() }),
        (None, None) => None,
    };
    let effort = level.filter(|level| level != "thinking_level_unspecified").map(Effort);
    Ok((wish, effort))
}
