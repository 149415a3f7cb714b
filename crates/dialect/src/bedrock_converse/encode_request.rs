//! A conversation, said as a `Converse` request. The model is named in the path, and whether to stream too.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseRequest`.

use tollgate_chat::{
    Conversation, Effect, Effort, LossKind, Losses, Metadata, ResponseFormat, Sampling, Thinking,
};
use tollgate_terms::ModelName;
use tollgate_wire::json::{Map, Text, Value};

use super::encode_blocks::{Blocks, system_blocks};
use super::encode_tools::tool_config;
use super::family::Family;
use crate::Invalid;
use crate::anthropic_messages::encode_thinking;
use crate::extensions::lose_extensions;
use crate::fields::{Members, lose_wishes, loss, object};
use crate::sampling::{check_unit, lose_sampling};

/// Most entries of `requestMetadata`, and most characters of a key or a value.
const LABELS_MAX: usize = 16;
const LABEL_CHARACTERS_MAX: usize = 256;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_request(
    conversation: Conversation,
    model: &ModelName,
    losses: &mut Losses,
) -> Result<Map, Invalid> {
    let Conversation {
        system,
        turns,
        tools,
        tool_choice,
        parallel_tools,
        output_tokens_max,
        stop,
        sampling,
        format,
        thinking,
        effort,
        verbosity,
        delivery: _,
        metadata,
        cache_key,
        service_tier,
        extensions,
    } = conversation;
    lose_extensions(extensions, losses)?;
    let family = Family::of(model);
    let mut additional = Members::default();
    let mut output = Members::default();
    let mut body = Members::default();
    let mut blocks = Blocks::default();
    // Without a message the API says itself what it misses.
    body.set("messages", Some(blocks.turns(turns, losses)?));
    let system = system_blocks(system, losses)?;
    body.set("system", (!system.is_empty()).then_some(system));
    let stops = !stop.is_empty();
    let inference = inference(output_tokens_max, stop, &sampling)?;
    body.set("inferenceConfig", (!inference.map.is_empty()).then(|| inference.value()));
    family.set_top_k(&mut additional, sampling.top_k);
    lose_sampling(sampling, losses)?;
    body.set("toolConfig", tool_config(tools, tool_choice, parallel_tools, blocks.past_tools(), losses));
    output.set("textFormat", format.and_then(|format| text_format(format, losses)));
    additional.set("thinking", thinking.map(with_budget).map(encode_thinking));
    if let Some(Effort(word)) = effort {
        family.set_effort(word, &mut output, &mut additional, losses);
    }
    body.set("outputConfig", (!output.map.is_empty()).then(|| output.value()));
    body.set("additionalModelRequestFields", (!additional.map.is_empty()).then(|| additional.value()));
    if stops && family == Family::Claude {
        // Which text ended the answer is told only to those who ask.
        body.set("additionalModelResponseFieldPaths", Some(Value::Array(vec!["/stop_sequence".into()])));
    }
    lose_wishes(verbosity.as_ref(), cache_key.as_ref(), losses);
    let Metadata { user, labels } = metadata;
    if user.is_some() {
        losses.push(loss("/user", LossKind::Metadata, Effect::Cost));
    }
    body.set("requestMetadata", labels.and_then(|labels| request_metadata(labels, losses)));
    body.set("serviceTier", service_tier.and_then(|tier| encode_service_tier(&tier, losses)));
    Ok(body.map)
}

fn inference(
    output_tokens_max: Option<u64>,
    stop: Vec<String>,
    sampling: &Sampling,
) -> Result<Members, Invalid> {
    check_unit("temperature", sampling.temperature)?;
    check_unit("top_p", sampling.top_p)?;
    let mut inference = Members::default();
    inference.set("maxTokens", output_tokens_max);
    inference.set("temperature", sampling.temperature);
    inference.set("topP", sampling.top_p);
    inference.set("stopSequences", (!stop.is_empty()).then_some(stop));
    Ok(inference)
}

fn text_format(format: ResponseFormat, losses: &mut Losses) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject | ResponseFormat::Choice(_) | ResponseFormat::Pattern(_) => {
            losses.push(loss("/response_format", LossKind::ResponseFormat, Effect::Meaning));
            None
        }
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            // The schema always holds to the letter.
            if strict == Some(false) {
                let pointer = "/response_format/json_schema/strict";
                losses.push(loss(pointer, LossKind::ResponseFormat, Effect::Meaning));
            }
            let mut definition = Members::default();
            // It is JSON text there.
            definition.set("schema", Some(Text::of_document(&schema)));
            definition.set("name", name);
            definition.set("description", description);
            Some(object!({"type": "json_schema", "structure": object!({"jsonSchema": definition.map})}))
        }
    }
}

/// `enabled` needs a budget; without one the model decides.
fn with_budget(thinking: Thinking) -> Thinking {
    match thinking {
        Thinking::Enabled { budget_tokens: None, display } => Thinking::Adaptive { display },
        Thinking::Enabled { budget_tokens: Some(_), display: _ }
        | Thinking::Adaptive { display: _ }
        | Thinking::BetweenTools
        | Thinking::Disabled => thinking,
    }
}

/// Labels that the API takes: texts of a few characters.
fn request_metadata(labels: Value, losses: &mut Losses) -> Option<Value> {
    let Value::Object(labels) = labels else {
        losses.push(loss("/metadata", LossKind::Metadata, Effect::Cost));
        return None;
    };
    let mut said = Members::default();
    for (key, value) in labels {
        let key = key.as_str();
        let is_fit = !key.is_empty() && is_label(&key) && value.as_str().is_some_and(|text| is_label(&text));
        if is_fit && said.map.len() < LABELS_MAX {
            said.map.insert(key, value);
        } else {
            let key = key.replace('~', "~0").replace('/', "~1");
            losses.push(loss(format!("/metadata/{key}"), LossKind::Metadata, Effect::Cost));
        }
    }
    (!said.map.is_empty()).then(|| said.value())
}

fn is_label(text: &str) -> bool {
    text.len() <= LABEL_CHARACTERS_MAX
        && text.chars().all(|character| {
            character.is_ascii_alphanumeric()
                || character.is_ascii_whitespace()
                || ":_@$#=/+,-.".contains(character)
        })
}

/// `auto` leaves it to the provider, and Anthropic's `standard_only` is `default` there.
fn encode_service_tier(tier: &str, losses: &mut Losses) -> Option<Value> {
    let tier = match tier {
        "auto" => return None,
        "standard_only" => "default",
        "default" | "flex" | "priority" | "reserved" => tier,
        _ => {
            losses.push(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
            return None;
        }
    };
    Some(object!({"type": tier}))
}
