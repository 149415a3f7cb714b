//! A conversation, said as a messages request.
//!
//! Source: `anthropic.types.MessageCreateParams`.

use tollgate_chat::{
    CachePoint, Conversation, Effect, Effort, LossKind, Losses, Metadata, ResponseFormat, Sampling, Thinking,
    Tool, ToolChoice,
};
use tollgate_terms::{Delivery, ModelName};
use tollgate_wire::json::{Map, Value};

use super::encode_blocks::{system_blocks, turns as encode_turns};
use super::encode_thinking;
use crate::Invalid;
use crate::extensions::lose_extensions;
use crate::fields::{Members, lose_wishes, loss, object};
use crate::sampling::{check_unit, lose_sampling};

/// Longest answer where the client set no bound: this dialect needs one, and every model of its provider can write this much.
pub(crate) const OUTPUT_TOKENS_DEFAULT: u64 = 4096;

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
        delivery,
        metadata,
        service_tier,
        extensions,
        cache_key,
    } = conversation;
    lose_extensions(extensions, losses)?;
    let turns = encode_turns(turns, losses)?;
    let (thinking, effort) = effort_or_none(thinking, effort, losses);
    let mut body = Members::default();
    body.set("model", Some(model.as_str()));
    let output_tokens_max = output_tokens_max.unwrap_or_else(|| default_output_tokens(thinking.as_ref()));
    body.set("max_tokens", Some(output_tokens_max));
    let system = system_blocks(system, losses)?;
    body.set("system", (!system.is_empty()).then_some(system));
    body.set("messages", Some(turns));
    set_sampling(&mut body, sampling, losses)?;
    if !stop.is_empty() {
        body.set("stop_sequences", Some(stop));
    }
    if tools.is_empty() {
        lose_tool_choice(tool_choice.as_ref(), parallel_tools, losses);
    } else {
        body.set("tools", Some(tools.into_iter().map(encode_tool).collect::<Vec<_>>()));
        body.set("tool_choice", encode_tool_choice(tool_choice, parallel_tools));
    }
    body.set("thinking", thinking.map(with_budget).map(encode_thinking));
    body.set("output_config", output_config(effort, format, losses));
    lose_wishes(verbosity.as_ref(), cache_key.as_ref(), losses);
    let Metadata { user, labels } = metadata;
    body.set("metadata", user.map(|user| object!({"user_id": user})));
    if labels.is_some() {
        losses.push(loss("/metadata", LossKind::Metadata, Effect::Cost));
    }
    body.set("service_tier", service_tier.and_then(|tier| encode_service_tier(&tier, losses)));
    if delivery == Delivery::Stream {
        body.set("stream", Some(true));
    }
    Ok(body.map)
}

fn set_sampling(body: &mut Members, sampling: Sampling, losses: &mut Losses) -> Result<(), Invalid> {
    check_unit("temperature", sampling.temperature)?;
    body.set("temperature", sampling.temperature);
    body.set("top_p", sampling.top_p);
    body.set("top_k", sampling.top_k);
    lose_sampling(sampling, losses)
}

fn encode_tool(tool: Tool) -> Value {
    let Tool { origin: _, name, description, schema, strict, cache } = tool;
    let mut members = Members::default();
    members.set("name", Some(name));
    members.set("description", description);
    members.set(
        "input_schema",
        Some(schema.unwrap_or_else(|| object!({"type": "object", "properties": Value::Object(Map::new())}))),
    );
    members.set("strict", strict);
    members.set("cache_control", cache.map(cache_control));
    members.value()
}

/// The API takes no choice where there are no tools.
fn lose_tool_choice(choice: Option<&ToolChoice>, parallel: Option<bool>, losses: &mut Losses) {
    match choice {
        // They ask for what happens anyway.
        None | Some(ToolChoice::Auto | ToolChoice::Forbidden) => {}
        Some(ToolChoice::Required | ToolChoice::Named(_)) => {
            losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
        }
    }
    if parallel.is_some() {
        losses.push(loss("/parallel_tool_calls", LossKind::ToolOption, Effect::Meaning));
    }
}

fn encode_tool_choice(choice: Option<ToolChoice>, parallel: Option<bool>) -> Option<Value> {
    let mut members = Members::default();
    match choice {
        None if parallel != Some(false) => return None,
        None | Some(ToolChoice::Auto) => members.set("type", Some("auto")),
        Some(ToolChoice::Required) => members.set("type", Some("any")),
        Some(ToolChoice::Named(name)) => {
            members.set("type", Some("tool"));
            members.set("name", Some(name));
        }
        // Without calls there are none at once.
        Some(ToolChoice::Forbidden) => return Some(object!({"type": "none"})),
    }
    members.set("disable_parallel_tool_use", parallel.map(|parallel| !parallel));
    Some(members.value())
}

/// `none` is no effort here but no thinking; `minimal` has no word.
fn effort_or_none(
    thinking: Option<Thinking>,
    effort: Option<Effort>,
    losses: &mut Losses,
) -> (Option<Thinking>, Option<String>) {
    match effort.map(|Effort(word)| word) {
        Some(word) if word == "none" => (thinking.or(Some(Thinking::Disabled)), None),
        Some(word) if word == "minimal" => {
            losses.push(loss("/reasoning_effort", LossKind::Thinking, Effect::Meaning));
            (thinking, Some("low".to_owned()))
        }
        word => (thinking, word),
    }
}

/// The bound where the client set none. The budget of the reasoning is a part of it, and the API wants room beside it.
fn default_output_tokens(thinking: Option<&Thinking>) -> u64 {
    match thinking {
        Some(Thinking::Enabled { budget_tokens: Some(budget), display: _ }) => {
            budget.saturating_add(OUTPUT_TOKENS_DEFAULT)
        }
        Some(
            Thinking::Enabled { budget_tokens: None, display: _ }
            | Thinking::Adaptive { display: _ }
            | Thinking::BetweenTools
            | Thinking::Disabled,
        )
        | None => OUTPUT_TOKENS_DEFAULT,
    }
}

/// `enabled` needs a budget; without one the model decides.
fn with_budget(thinking: Thinking) -> Thinking {
    match thinking {
        Thinking::Enabled { budget_tokens: None, display } => Thinking::Adaptive { display },
        other => other,
    }
}

fn output_config(
    effort: Option<String>,
    format: Option<ResponseFormat>,
    losses: &mut Losses,
) -> Option<Value> {
    let mut members = Members::default();
    members.set("effort", effort);
    match format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject | ResponseFormat::Choice(_) | ResponseFormat::Pattern(_)) => {
            losses.push(loss("/response_format", LossKind::ResponseFormat, Effect::Meaning));
        }
        // The schema always holds to the letter.
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            for (key, is_lost) in [
                ("name", name.is_some()),
                ("description", description.is_some()),
                ("strict", strict == Some(false)),
            ] {
                if is_lost {
                    let pointer = format!("/response_format/json_schema/{key}");
                    losses.push(loss(pointer, LossKind::ResponseFormat, Effect::Meaning));
                }
            }
            members.set("format", Some(object!({"type": "json_schema", "schema": schema})));
        }
    }
    (!members.map.is_empty()).then(|| members.value())
}

/// OpenAI's `default` is the standard tier alone; it has no word for `flex` and `priority`, which are bought otherwise.
fn encode_service_tier(tier: &str, losses: &mut Losses) -> Option<&'static str> {
    match tier {
        "auto" => Some("auto"),
        "default" | "standard_only" => Some("standard_only"),
        _ => {
            losses.push(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
            None
        }
    }
}

/// A cache point.
pub(super) fn cache_control(cache: CachePoint) -> Value {
    let CachePoint { ttl } = cache;
    let mut members = Members::default();
    members.set("type", Some("ephemeral"));
    members.set("ttl", ttl);
    members.value()
}
