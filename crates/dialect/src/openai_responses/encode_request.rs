//! A conversation, said as a request for a response.
//!
//! Source: `openai.types.responses.ResponseCreateParams`.

use tollgate_chat::{
    Conversation, Effect, Effort, LossKind, Losses, Metadata, ResponseFormat, Sampling, Thinking, Tool,
    ToolChoice,
};
use tollgate_terms::{Delivery, ModelName};
use tollgate_wire::json::{Map, Value};

use super::encode_input::{HasReasoning, input, instructions};
use crate::Invalid;
use crate::extensions::lose_extensions;
use crate::fields::{Members, lose_cache_point, loss, object};

/// The name of a demanded schema that has none: this dialect needs one.
const SCHEMA_NAME: &str = "answer";

/// Longest id of an end user (`ResponseCreateParams.safety_identifier`).
const USER_CHARS_MAX: usize = 128;

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
    let instructions = instructions(system, losses)?;
    let (items, has_reasoning) = input(turns, losses)?;
    match (items.is_empty(), instructions) {
        (true, None) => return Err(Invalid::bad_request("input: at least one item is required")),
        // The API does not answer instructions alone.
        (true, Some(text)) => {
            body.set(
                "input",
                Some(Value::Array(vec![object!({"type": "message", "role": "system", "content": text})])),
            );
        }
        (false, instructions) => {
            body.set("instructions", instructions);
            body.set("input", Some(items));
        }
    }
    body.set("max_output_tokens", output_tokens_max);
    if !stop.is_empty() {
        losses.push(loss("/stop", LossKind::Sampling, Effect::Meaning));
    }
    let logprobs = set_sampling(&mut body, sampling, losses)?;
    set_tools(&mut body, tools, tool_choice, parallel_tools, losses);
    let mut text = Members::default();
    text.set("format", format.and_then(|format| encode_format(format, losses)));
    text.set("verbosity", verbosity);
    body.set("text", (!text.map.is_empty()).then(|| text.value()));
    let reasoning = encode_reasoning(thinking, effort, losses);
    let include = include(reasoning.as_ref(), has_reasoning, logprobs);
    body.set("reasoning", reasoning);
    body.set("include", (!include.is_empty()).then_some(include));
    // The API keeps every response for a month unless it is told not to. The client, which speaks a dialect without such memory, has
    // not asked for it and could never ask for what was kept.
    body.set("store", Some(false));
    set_metadata(&mut body, metadata, losses);
    body.set("service_tier", service_tier.map(encode_service_tier));
    body.set("prompt_cache_key", cache_key);
    if delivery == Delivery::Stream {
        body.set("stream", Some(true));
    }
    Ok(body.map)
}

/// Whether log probabilities are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Logprobs {
    Wanted,
    Unwanted,
}

/// What the answer is to tell beside the usual. Since nothing is kept, reasoning can only come back with the next request if it is told in
/// its encrypted form. Models that do not reason refuse the wish, so it is made where reasoning is asked for or has been told
/// before, and a model that reasons unasked is asked again without what it thought.
fn include(reasoning: Option<&Value>, told: HasReasoning, logprobs: Logprobs) -> Vec<&'static str> {
    let effort = reasoning.and_then(|reasoning| reasoning.get("effort"));
    let is_asked = reasoning.is_some() && effort.is_none_or(|effort| effort != "none");
    let mut include = Vec::new();
    if is_asked || told == HasReasoning::Yes {
        include.push("reasoning.encrypted_content");
    }
    if logprobs == Logprobs::Wanted {
        include.push("message.output_text.logprobs");
    }
    include
}

fn set_sampling(body: &mut Members, sampling: Sampling, losses: &mut Losses) -> Result<Logprobs, Invalid> {
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
    if let Some(choices) = choices.filter(|choices| *choices > 1) {
        let message = format!("{choices} choices: the backend of this model gives one");
        return Err(Invalid::unprocessable(message, "n"));
    }
    body.set("temperature", temperature);
    body.set("top_p", top_p);
    body.set("top_logprobs", top_logprobs);
    // Zero asks for what happens anyway.
    let wanted = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
    for (is_lost, pointer) in [
        (top_k.is_some(), "/top_k"),
        (wanted(frequency_penalty), "/frequency_penalty"),
        (wanted(presence_penalty), "/presence_penalty"),
        (seed.is_some(), "/seed"),
        (logit_bias.is_some(), "/logit_bias"),
    ] {
        if is_lost {
            losses.push(loss(pointer, LossKind::Sampling, Effect::Meaning));
        }
    }
    let is_wanted = logprobs == Some(true) || top_logprobs.is_some_and(|count| count > 0);
    Ok(if is_wanted { Logprobs::Wanted } else { Logprobs::Unwanted })
}

fn set_tools(
    body: &mut Members,
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    parallel: Option<bool>,
    losses: &mut Losses,
) {
    if tools.is_empty() {
        if matches!(choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
        }
        if parallel.is_some() {
            losses.push(loss("/parallel_tool_calls", LossKind::ToolOption, Effect::Meaning));
        }
        return;
    }
    body.set("tools", Some(tools.into_iter().map(|tool| encode_tool(tool, losses)).collect::<Vec<_>>()));
    body.set("tool_choice", choice.map(encode_tool_choice));
    body.set("parallel_tool_calls", parallel);
}

fn encode_tool(tool: Tool, losses: &mut Losses) -> Value {
    let Tool { origin, name, description, schema, strict, cache } = tool;
    lose_cache_point(&origin, cache.as_ref(), losses);
    let mut function = Members::default();
    function.set("type", Some("function"));
    function.set("name", Some(name));
    function.set("description", description);
    function.set(
        "parameters",
        Some(schema.unwrap_or_else(|| object!({"type": "object", "properties": Value::Object(Map::new())}))),
    );
    // Who does not say it means no, and here it would mean yes: the API would demand arguments that were optional.
    function.set("strict", Some(strict.unwrap_or(false)));
    function.value()
}

fn encode_tool_choice(choice: ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Forbidden => "none".into(),
        ToolChoice::Named(name) => object!({"type": "function", "name": name}),
    }
}

fn encode_format(format: ResponseFormat, losses: &mut Losses) -> Option<Value> {
    Some(match format {
        ResponseFormat::Text => object!({"type": "text"}),
        ResponseFormat::JsonObject => object!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let mut members = Members::default();
            members.set("type", Some("json_schema"));
            members.set("name", Some(name.unwrap_or_else(|| SCHEMA_NAME.to_owned())));
            members.set("description", description);
            members.set("schema", Some(schema));
            members.set("strict", strict);
            members.value()
        }
        ResponseFormat::Choice(_) | ResponseFormat::Pattern(_) => {
            losses.push(loss("/response_format", LossKind::ResponseFormat, Effect::Meaning));
            return None;
        }
    })
}

/// `reasoning`. There is no bound on it here but the effort; it is shown as a summary or not at all.
fn encode_reasoning(
    thinking: Option<Thinking>,
    effort: Option<Effort>,
    losses: &mut Losses,
) -> Option<Value> {
    let mut effort = effort.map(|Effort(word)| word);
    let display = match thinking {
        None => None,
        Some(Thinking::Enabled { budget_tokens, display }) => {
            if budget_tokens.is_some() {
                losses.push(loss("/thinking/budget_tokens", LossKind::Thinking, Effect::Meaning));
            }
            Some(display)
        }
        Some(Thinking::Adaptive { display }) => Some(display),
        Some(Thinking::BetweenTools) => {
            losses.push(loss("/thinking", LossKind::Thinking, Effect::Meaning));
            Some(None)
        }
        Some(Thinking::Disabled) => {
            effort = effort.or_else(|| Some("none".to_owned()));
            None
        }
    };
    let is_shown = display.is_some_and(|display| display.as_deref() != Some("omitted"));
    let is_shown = is_shown && effort.as_deref() != Some("none");
    let mut reasoning = Members::default();
    reasoning.set("effort", effort);
    reasoning.set("summary", is_shown.then_some("auto"));
    (!reasoning.map.is_empty()).then(|| reasoning.value())
}

fn set_metadata(body: &mut Members, metadata: Metadata, losses: &mut Losses) {
    let Metadata { user, labels } = metadata;
    if user.as_ref().is_some_and(|user| user.chars().count() > USER_CHARS_MAX) {
        // Some clients write whole sessions into it; the API would refuse the request.
        losses.push(loss("/metadata/user_id", LossKind::Metadata, Effect::Cost));
    } else {
        body.set("safety_identifier", user);
    }
    body.set("metadata", labels);
}

/// Anthropic's `standard_only` is `default` here; `auto` is the same in both.
fn encode_service_tier(tier: String) -> String {
    if tier == "standard_only" { "default".to_owned() } else { tier }
}
