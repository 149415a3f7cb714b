//! A conversation, said as a chat completion request.
//!
//! Source: `openai.types.chat.CompletionCreateParams`. Reasoning goes out as compatible servers take it: `thinking` beside
//! the messages and parts of type `thinking` in them.

use tollgate_chat::{
    Conversation, Effect, Effort, LossKind, Losses, Metadata, ResponseFormat, Sampling, Thinking, Tool,
    ToolChoice,
};
use tollgate_terms::{Delivery, ModelName};
use tollgate_wire::json::{Map, Value};

use super::encode_messages::messages;
use crate::Invalid;
use crate::anthropic_messages::encode_thinking;
use crate::extensions::lose_extensions;
use crate::fields::{Members, lose_cache_point, loss, object};

/// The name of a demanded schema that has none: this dialect needs one.
const SCHEMA_NAME: &str = "answer";

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
    let mut body = Members::default();
    body.set("model", Some(model.as_str()));
    body.set("messages", Some(messages(system, turns, losses)?));
    body.set("max_completion_tokens", output_tokens_max);
    if !stop.is_empty() {
        body.set("stop", Some(stop));
    }
    set_sampling(&mut body, sampling, losses);
    if tools.is_empty() {
        if matches!(tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
        }
        if parallel_tools.is_some() {
            let pointer = "/tool_choice/disable_parallel_tool_use";
            losses.push(loss(pointer, LossKind::ToolOption, Effect::Meaning));
        }
    } else {
        let tools: Vec<Value> = tools.into_iter().map(|tool| encode_tool(tool, losses)).collect();
        body.set("tools", Some(tools));
        body.set("tool_choice", tool_choice.map(encode_tool_choice));
        body.set("parallel_tool_calls", parallel_tools);
    }
    body.set("response_format", format.and_then(|format| encode_format(format, losses)));
    body.set(
        "thinking",
        thinking.and_then(|thinking| bounded_thinking(thinking, losses)).map(encode_thinking),
    );
    body.set("reasoning_effort", effort.map(|effort| encode_effort(effort, losses)));
    body.set("verbosity", verbosity);
    let Metadata { user, labels } = metadata;
    body.set("user", user);
    body.set("metadata", labels);
    body.set("service_tier", service_tier.map(encode_service_tier));
    body.set("prompt_cache_key", cache_key);
    if delivery == Delivery::Stream {
        body.set("stream", Some(true));
        // The encoder of the client's dialect always needs the usage.
        body.set("stream_options", Some(object!({"include_usage": true})));
    }
    Ok(body.map)
}

fn set_sampling(body: &mut Members, sampling: Sampling, losses: &mut Losses) {
    let Sampling {
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        logit_bias,
        logprobs,
        top_logprobs,
        choices,
    } = sampling;
    body.set("temperature", temperature);
    body.set("top_p", top_p);
    body.set("frequency_penalty", frequency_penalty);
    body.set("presence_penalty", presence_penalty);
    body.set("seed", seed);
    body.set("logit_bias", logit_bias);
    body.set("logprobs", logprobs);
    body.set("top_logprobs", top_logprobs);
    body.set("n", choices);
    if top_k.is_some() {
        losses.push(loss("/top_k", LossKind::Sampling, Effect::Meaning));
    }
}

fn encode_tool(tool: Tool, losses: &mut Losses) -> Value {
    let Tool { origin, name, description, schema, strict, cache } = tool;
    lose_cache_point(&origin, cache.as_ref(), losses);
    let mut function = Members::default();
    function.set("name", Some(name));
    function.set("description", description);
    function.set("parameters", schema);
    function.set("strict", strict);
    object!({"type": "function", "function": function.map})
}

fn encode_tool_choice(choice: ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Forbidden => "none".into(),
        ToolChoice::Named(name) => object!({"type": "function", "function": object!({"name": name})}),
    }
}

fn encode_format(format: ResponseFormat, losses: &mut Losses) -> Option<Value> {
    Some(match format {
        ResponseFormat::Text => object!({"type": "text"}),
        ResponseFormat::JsonObject => object!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let mut inner = Members::default();
            inner.set("name", Some(name.unwrap_or_else(|| SCHEMA_NAME.to_owned())));
            inner.set("description", description);
            inner.set("schema", Some(schema));
            inner.set("strict", strict);
            object!({"type": "json_schema", "json_schema": inner.map})
        }
        ResponseFormat::Choice(_) | ResponseFormat::Pattern(_) => {
            losses.push(loss("/response_format", LossKind::ResponseFormat, Effect::Meaning));
            return None;
        }
    })
}

/// Who wants reasoning without a bound, as OpenAI's responses with a summary, gets it from models that reason without being asked;
/// OpenAI refuses the member, and those who borrowed it want a bound in it.
fn bounded_thinking(thinking: Thinking, losses: &mut Losses) -> Option<Thinking> {
    match thinking {
        Thinking::Enabled { budget_tokens: None, display } => {
            if display.is_some() {
                losses.push_once(loss("/reasoning/summary", LossKind::Thinking, Effect::Meaning));
            }
            None
        }
        Thinking::Enabled { budget_tokens: Some(_), display: _ }
        | Thinking::Adaptive { display: _ }
        | Thinking::BetweenTools
        | Thinking::Disabled => Some(thinking),
    }
}

/// `max` is Anthropic's alone; `xhigh` is the highest here.
fn encode_effort(effort: Effort, losses: &mut Losses) -> String {
    let Effort(word) = effort;
    if word == "max" {
        losses.push(loss("/output_config/effort", LossKind::Thinking, Effect::Meaning));
        return "xhigh".to_owned();
    }
    word
}

/// Anthropic's `standard_only` is `default` here; `auto` is the same in both.
fn encode_service_tier(tier: String) -> String {
    if tier == "standard_only" { "default".to_owned() } else { tier }
}
