//! A chat completion request, read into the hub.
//!
//! Source: `openai.types.chat.CompletionCreateParams`, and the extensions of Envoy AI Gateway: `thinking`,
//! `thinking_blocks`, `cache_control`, and those in `extensions.rs`.

use tollgate_chat::{
    Conversation, Effect, Effort, Extension, LossKind, Losses, Metadata, Origin, ResponseFormat, Sampling,
    Tool, ToolChoice,
};
use tollgate_terms::Delivery;
use tollgate_wire::json::{Document, Map, Value};

use super::decode_messages::{PLAIN, messages};
use super::extensions::{extensions, guided_format, server_tool};
use crate::Invalid;
use crate::anthropic_messages::decode_thinking;
use crate::fields::{Fields, loss, wrong};
use crate::plain::Said;

/// Reads a request. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_request(body: Document<'_>, losses: &mut Losses) -> Result<Conversation, Invalid> {
    let (body, said) = PLAIN.read(body)?;
    let mut fields = Fields::of_body(body);
    fields.take("model");
    let Said { system, turns } = messages(PLAIN.of(said, &mut fields)?, losses)?;
    let stream = fields.truth("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        // The usage of a stream is the gateway's own affair.
        options.take("include_usage");
        options.lose_rest(losses);
    }
    let mut extensions = extensions(&mut fields, losses)?;
    let format = response_format(&mut fields, losses)?;
    let newer = fields.count("max_completion_tokens")?;
    let older = fields.count("max_tokens")?;
    let conversation = Conversation {
        system,
        turns,
        tools: tools(&mut fields, &mut extensions, losses)?,
        tool_choice: tool_choice(&mut fields, losses)?,
        parallel_tools: fields.truth("parallel_tool_calls")?,
        output_tokens_max: newer.or(older),
        stop: stop(&mut fields)?,
        sampling: sampling(&mut fields)?,
        format: guided_format(&mut fields, format)?,
        thinking: fields.object("thinking")?.map(|thinking| decode_thinking(thinking, losses)).transpose()?,
        effort: fields.text("reasoning_effort")?.map(Effort),
        verbosity: fields.text("verbosity")?,
        delivery: if stream { Delivery::Stream } else { Delivery::Whole },
        metadata: Metadata { user: fields.text("user")?, labels: fields.take("metadata") },
        service_tier: fields.text("service_tier")?,
        extensions,
        cache_key: fields.text("prompt_cache_key")?,
    };
    lose_the_rest(fields, losses);
    Ok(conversation)
}

/// Members that only this dialect has.
fn lose_the_rest(mut fields: Fields, losses: &mut Losses) {
    for (key, kind, effect) in [
        ("prediction", LossKind::UnknownField, Effect::Cost),
        ("modalities", LossKind::Media, Effect::Meaning),
        ("audio", LossKind::Media, Effect::Meaning),
        ("web_search_options", LossKind::ServerTool, Effect::Meaning),
        ("store", LossKind::Metadata, Effect::Cost),
        ("safety_identifier", LossKind::Metadata, Effect::Cost),
        ("prompt_cache_retention", LossKind::CachePoint, Effect::Cost),
        ("function_call", LossKind::ToolOption, Effect::Meaning),
        ("functions", LossKind::ToolOption, Effect::Meaning),
    ] {
        if fields.take(key).is_some() {
            losses.push(loss(format!("/{key}"), kind, effect));
        }
    }
    fields.lose_rest(losses);
}

fn tools(
    fields: &mut Fields,
    extensions: &mut Vec<Extension>,
    losses: &mut Losses,
) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.into_iter().enumerate() {
        let origin = Origin::of_item("tools", index);
        let mut tool = Fields::of(tool, origin.clone())?;
        let kind = tool.text("type")?.unwrap_or_default();
        if let Some(wish) = server_tool(&kind, &mut tool) {
            extensions.push(Extension { origin, wish });
            tool.lose_rest(losses);
            continue;
        }
        if kind != "function" {
            return Err(Invalid::unprocessable(format!("tool type {kind:?} cannot be translated"), origin));
        }
        let outer = tool.cache_point(losses)?;
        let Some(mut function) = tool.object("function")? else {
            return Err(crate::fields::missing(tool.at("function")));
        };
        tools.push(Tool {
            name: function.needed_text("name")?,
            description: function.written("description")?,
            schema: function.take("parameters"),
            strict: function.truth("strict")?,
            cache: function.cache_point(losses)?.or(outer),
            origin,
        });
        function.lose_rest(losses);
        tool.lose_rest(losses);
    }
    Ok(tools)
}

fn tool_choice(fields: &mut Fields, losses: &mut Losses) -> Result<Option<ToolChoice>, Invalid> {
    match fields.take("tool_choice") {
        None => Ok(None),
        Some(Value::String(word)) => match word.as_str().as_ref() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "required" => Ok(Some(ToolChoice::Required)),
            "none" => Ok(Some(ToolChoice::Forbidden)),
            _ => Err(wrong("/tool_choice", "auto, required, none or an object", &Value::String(word))),
        },
        Some(value) => {
            let mut choice = Fields::of(value, "/tool_choice")?;
            let Some(mut function) = choice.object("function")? else {
                return Err(Invalid::unprocessable(
                    "only the choice of a function can be translated",
                    "/tool_choice",
                ));
            };
            let name = function.needed_text("name")?;
            function.lose_rest(losses);
            choice.take("type");
            choice.lose_rest(losses);
            Ok(Some(ToolChoice::Named(name)))
        }
    }
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, Invalid> {
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.into_string()]),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.into_string()),
                other => Err(wrong("/stop", "strings", &other)),
            })
            .collect(),
        Some(other) => Err(wrong("/stop", "a string or an array of strings", &other)),
    }
}

fn sampling(fields: &mut Fields) -> Result<Sampling, Invalid> {
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        seed: fields.integer("seed")?,
        logit_bias: fields.take("logit_bias"),
        logprobs: fields.truth("logprobs")?,
        top_logprobs: fields.count("top_logprobs")?,
        choices: fields.count("n")?,
    })
}

fn response_format(fields: &mut Fields, losses: &mut Losses) -> Result<Option<ResponseFormat>, Invalid> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(None) };
    let decoded = match format.needed_text("type")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => {
            let pointer = format.at("json_schema");
            let mut inner = format.object("json_schema")?.ok_or_else(|| crate::fields::missing(&pointer))?;
            let schema = ResponseFormat::JsonSchema {
                name: inner.text("name")?,
                description: inner.text("description")?,
                schema: inner.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
                strict: inner.truth("strict")?,
            };
            inner.lose_rest(losses);
            schema
        }
        other => {
            return Err(wrong(
                "/response_format/type",
                "text, json_object or json_schema",
                &Value::from(other),
            ));
        }
    };
    format.lose_rest(losses);
    Ok(Some(decoded))
}
