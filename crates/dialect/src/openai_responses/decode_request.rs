//! A request for a response, read into the hub.
//!
//! Source: `openai.types.responses.ResponseCreateParams`. What stands for a conversation that only OpenAI holds is refused: an
//! answer without it would be wrong.

use tollgate_chat::{
    Conversation, Effect, Effort, LossKind, Losses, Metadata, ResponseFormat, Sampling, Thinking,
};
use tollgate_terms::Delivery;
use tollgate_wire::json::{Document, Value};

use super::decode_input::{PLAIN, input};
use super::decode_tools::{tool_choice, tools};
use crate::Invalid;
use crate::fields::{Fields, loss, missing, wrong};
use crate::plain::Said;

/// Reads a request. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_request(body: Document<'_>, losses: &mut Losses) -> Result<Conversation, Invalid> {
    let (body, items) = PLAIN.read(body)?;
    let mut fields = Fields::of_body(body);
    fields.take("model");
    refuse_state(&mut fields)?;
    let Said { system, turns } = input(items, &mut fields, losses)?;
    let tools = tools(&mut fields, losses)?;
    let (tools, tool_choice) = tool_choice(&mut fields, tools, losses)?;
    let (format, verbosity) = text(&mut fields, losses)?;
    let (thinking, effort) = reasoning(&mut fields, losses)?;
    let stream = fields.truth("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        // The gateway pads no events, and has none to leave out.
        if options.truth("include_obfuscation")? == Some(true) {
            losses.push(loss(options.at("include_obfuscation"), LossKind::Metadata, Effect::Cost));
        }
        options.lose_rest(losses);
    }
    let conversation = Conversation {
        system,
        turns,
        tools,
        tool_choice,
        parallel_tools: fields.truth("parallel_tool_calls")?,
        output_tokens_max: fields.count("max_output_tokens")?,
        stop: Vec::new(),
        sampling: sampling(&mut fields, losses)?,
        format,
        thinking,
        effort,
        verbosity,
        delivery: if stream { Delivery::Stream } else { Delivery::Whole },
        metadata: metadata(&mut fields, losses)?,
        service_tier: fields.text("service_tier")?,
        extensions: Vec::new(),
        cache_key: fields.text("prompt_cache_key")?,
    };
    lose_the_rest(fields, losses)?;
    Ok(conversation)
}

/// What is held elsewhere cannot be told to another backend, and nobody asks for an answer later here.
fn refuse_state(fields: &mut Fields) -> Result<(), Invalid> {
    for (key, why) in [
        ("previous_response_id", "the backend of this model keeps no responses: send all of the input"),
        ("conversation", "the backend of this model keeps no conversations: send all of the input"),
        ("prompt", "the backend of this model keeps no prompts: send instructions and input"),
    ] {
        if fields.take(key).is_some() {
            return Err(Invalid::unprocessable(why, key));
        }
    }
    if fields.truth("background")? == Some(true) {
        return Err(Invalid::unprocessable("the backend of this model answers at once only", "background"));
    }
    Ok(())
}

/// Members that only this dialect has, and those whose usual value asks for what happens anyway.
fn lose_the_rest(mut fields: Fields, losses: &mut Losses) -> Result<(), Invalid> {
    if fields.truth("store")? == Some(true) {
        losses.push(loss("/store", LossKind::Metadata, Effect::Cost));
    }
    if fields.text("truncation")?.is_some_and(|word| word != "disabled") {
        losses.push(loss("/truncation", LossKind::UnknownField, Effect::Meaning));
    }
    for (key, kind, effect) in [
        ("background_options", LossKind::Metadata, Effect::Cost),
        ("context_management", LossKind::ServerTool, Effect::Meaning),
        ("max_tool_calls", LossKind::ServerTool, Effect::Meaning),
        ("moderation", LossKind::ServerTool, Effect::Meaning),
        ("prompt_cache_options", LossKind::CachePoint, Effect::Cost),
        ("prompt_cache_retention", LossKind::CachePoint, Effect::Cost),
    ] {
        if fields.take(key).is_some() {
            losses.push(loss(format!("/{key}"), kind, effect));
        }
    }
    fields.lose_rest(losses);
    Ok(())
}

fn sampling(fields: &mut Fields, losses: &mut Losses) -> Result<Sampling, Invalid> {
    let mut logprobs = None;
    for (index, item) in fields.list("include")?.into_iter().enumerate() {
        match item.as_str().as_deref() {
            // Whatever can be sent back is always told.
            Some("reasoning.encrypted_content") => {}
            Some("message.output_text.logprobs") => logprobs = Some(true),
            _ => losses.push(loss(format!("/include/{index}"), LossKind::ServerTool, Effect::Meaning)),
        }
    }
    let top_logprobs = fields.count("top_logprobs")?;
    if top_logprobs.is_some_and(|count| count > 0) {
        // Others want to be told both.
        logprobs = Some(true);
    }
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        logprobs,
        top_logprobs,
        ..Sampling::default()
    })
}

/// `text`: the format of the answer, and how long-winded it is to be.
fn text(
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<(Option<ResponseFormat>, Option<String>), Invalid> {
    let Some(mut text) = fields.object("text")? else { return Ok((None, None)) };
    let verbosity = text.text("verbosity")?;
    let format = text.object("format")?.map(|told| format(told, losses)).transpose()?;
    text.lose_rest(losses);
    Ok((format, verbosity))
}

fn format(mut format: Fields, losses: &mut Losses) -> Result<ResponseFormat, Invalid> {
    let decoded = match format.needed_text("type")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => ResponseFormat::JsonSchema {
            name: format.text("name")?,
            description: format.text("description")?,
            schema: format.take("schema").ok_or_else(|| missing(format.at("schema")))?,
            strict: format.truth("strict")?,
        },
        other => {
            let found = Value::from(other);
            return Err(wrong("/text/format/type", "text, json_object or json_schema", &found));
        }
    };
    format.lose_rest(losses);
    Ok(decoded)
}

/// `reasoning`. Who asks for a summary asks to be shown reasoning, so there has to be some; how deep it is, the effort says.
fn reasoning(
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<(Option<Thinking>, Option<Effort>), Invalid> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok((None, None)) };
    let effort = reasoning.text("effort")?;
    let summary = reasoning.text("summary")?.or(reasoning.text("generate_summary")?);
    if summary.as_deref().is_some_and(|word| word != "auto") {
        losses.push(loss("/reasoning/summary", LossKind::Thinking, Effect::Meaning));
    }
    for key in ["context", "mode"] {
        if reasoning.take(key).is_some() {
            losses.push(loss(reasoning.at(key), LossKind::Thinking, Effect::Meaning));
        }
    }
    reasoning.lose_rest(losses);
    let is_shown = summary.is_some() && effort.as_deref() != Some("none");
    let thinking =
        is_shown.then(|| Thinking::Enabled { budget_tokens: None, display: Some("summarized".to_owned()) });
    Ok((thinking, effort.map(Effort)))
}

/// `user` is the older name of `safety_identifier`.
fn metadata(fields: &mut Fields, losses: &mut Losses) -> Result<Metadata, Invalid> {
    let (newer, older) = (fields.text("safety_identifier")?, fields.text("user")?);
    if newer.is_some() && older.is_some() && newer != older {
        losses.push(loss("/user", LossKind::Metadata, Effect::Cost));
    }
    Ok(Metadata { user: newer.or(older), labels: fields.take("metadata") })
}
