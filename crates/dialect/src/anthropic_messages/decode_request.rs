//! A messages request, read into the hub.
//!
//! Source: `anthropic.types.MessageCreateParams`.

use tollgate_chat::{
    Block, Conversation, Effect, Effort, LossKind, Losses, Metadata, Origin, ResponseFormat, Role, Sampling,
    Tool, ToolChoice, Turn,
};
use tollgate_terms::Delivery;
use tollgate_wire::json::{Document, Item, Value};

use super::{blocks, decode_thinking};
use crate::Invalid;
use crate::fields::{Fields, loss, missing, wrong};
use crate::plain::{Parts, PlainTurn, PlainTurns, Speaker};

pub(crate) const PLAIN: PlainTurns = PlainTurns {
    list: "messages",
    speakers: &[("user", Speaker::User), ("assistant", Speaker::Model), ("system", Speaker::System)],
    kind: None,
    content: "content",
    parts: Parts::Typed(&["text"]),
};

/// Reads a request. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_request(body: Document<'_>, losses: &mut Losses) -> Result<Conversation, Invalid> {
    let (body, messages) = PLAIN.read(body)?;
    let mut fields = Fields::of_body(body);
    fields.take("model");
    let mut system = blocks::content(&mut fields, "system", losses)?;
    let turns = turns(PLAIN.of(messages, &mut fields)?, &mut system, losses)?;
    let (tool_choice, parallel_tools) = tool_choice(&mut fields, losses)?;
    let (effort, format) = output_config(&mut fields, losses)?;
    let thinking = fields.object("thinking")?.map(|config| decode_thinking(config, losses)).transpose()?;
    let streams = fields.truth("stream")?.unwrap_or(false);
    let conversation = Conversation {
        system,
        turns,
        tools: tools(&mut fields, losses)?,
        tool_choice,
        parallel_tools,
        output_tokens_max: fields.count("max_tokens")?,
        stop: stop(&mut fields)?,
        sampling: Sampling {
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            top_k: fields.count("top_k")?,
            ..Sampling::default()
        },
        format,
        thinking,
        effort,
        verbosity: None,
        delivery: if streams { Delivery::Stream } else { Delivery::Whole },
        metadata: metadata(&mut fields, losses)?,
        service_tier: fields.text("service_tier")?,
        extensions: Vec::new(),
        cache_key: None,
    };
    lose_the_rest(fields, losses);
    Ok(conversation)
}

/// Members that only this dialect has.
fn lose_the_rest(mut fields: Fields, losses: &mut Losses) {
    for (key, kind, effect) in [
        ("cache_control", LossKind::CachePoint, Effect::Cost),
        ("container", LossKind::ServerTool, Effect::Meaning),
        ("context_management", LossKind::ServerTool, Effect::Meaning),
        ("mcp_servers", LossKind::ServerTool, Effect::Meaning),
        ("diagnostics", LossKind::Metadata, Effect::Cost),
        ("inference_geo", LossKind::ServiceTier, Effect::Cost),
        ("speed", LossKind::ServiceTier, Effect::Cost),
        ("user_profile_id", LossKind::Metadata, Effect::Cost),
        ("workspace_id", LossKind::Metadata, Effect::Cost),
    ] {
        if fields.take(key).is_some() {
            losses.push(loss(format!("/{key}"), kind, effect));
        }
    }
    fields.lose_rest(losses);
}

fn turns(
    messages: Vec<Item<PlainTurn>>,
    system: &mut Vec<Block>,
    losses: &mut Losses,
) -> Result<Vec<Turn>, Invalid> {
    let mut turns = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let PlainTurn { speaker, blocks } = match message {
            Item::Read(turn) => turn,
            Item::Value(message) => turn(Fields::of(message, Origin::of_item("messages", index))?, losses)?,
        };
        match speaker {
            Speaker::User => turns.push(Turn { role: Role::User, blocks }),
            Speaker::Model => turns.push(Turn { role: Role::Assistant, blocks }),
            // The hub has one place for instructions, before everything.
            Speaker::System => {
                if !turns.is_empty() {
                    let pointer = Origin::of_item("messages", index);
                    losses.push(loss(pointer, LossKind::UnknownField, Effect::Meaning));
                }
                system.extend(blocks);
            }
        }
    }
    Ok(turns)
}

fn turn(mut message: Fields, losses: &mut Losses) -> Result<PlainTurn, Invalid> {
    let role = message.needed_written("role")?;
    let blocks = blocks::content(&mut message, "content", losses)?;
    let Some(speaker) = PLAIN.speaker(&role.as_bytes()) else {
        return Err(wrong(message.at("role"), "user, assistant or system", &Value::from(role)));
    };
    message.lose_rest(losses);
    Ok(PlainTurn { speaker, blocks })
}

fn tools(fields: &mut Fields, losses: &mut Losses) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.into_iter().enumerate() {
        let origin = Origin::of_item("tools", index);
        let mut tool = Fields::of(tool, origin.clone())?;
        if let Some(kind) = tool.text("type")?.filter(|kind| kind != "custom") {
            return Err(Invalid::unprocessable(
                format!("{origin}: the backend of this model has no tool of type {kind:?}"),
                origin,
            ));
        }
        tools.push(Tool {
            name: tool.needed_text("name")?,
            description: tool.written("description")?,
            schema: tool.take("input_schema"),
            strict: tool.truth("strict")?,
            cache: tool.cache_point(losses)?,
            origin: origin.clone(),
        });
        for key in ["allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"] {
            if tool.take(key).is_some() {
                losses.push(loss(tool.at(key), LossKind::ToolOption, Effect::Meaning));
            }
        }
        tool.lose_rest(losses);
    }
    Ok(tools)
}

fn tool_choice(
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<(Option<ToolChoice>, Option<bool>), Invalid> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok((None, None)) };
    let parallel = choice.truth("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let chosen = match choice.needed_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::Forbidden,
        "tool" => ToolChoice::Named(choice.needed_text("name")?),
        other => {
            return Err(wrong("/tool_choice/type", "auto, any, none or tool", &Value::from(other)));
        }
    };
    choice.lose_rest(losses);
    Ok((Some(chosen), parallel))
}

fn output_config(
    fields: &mut Fields,
    losses: &mut Losses,
) -> Result<(Option<Effort>, Option<ResponseFormat>), Invalid> {
    // The format stood beside the messages before it moved into `output_config`.
    let older = fields.object("output_format")?;
    let Some(mut config) = fields.object("output_config")? else {
        return Ok((None, older.map(|older| format(older, losses)).transpose()?));
    };
    let effort = config.text("effort")?.map(Effort);
    let newer = config.object("format")?;
    config.lose_rest(losses);
    Ok((effort, newer.or(older).map(|told| format(told, losses)).transpose()?))
}

fn format(mut format: Fields, losses: &mut Losses) -> Result<ResponseFormat, Invalid> {
    match format.needed_text("type")?.as_str() {
        "json_schema" => {
            let pointer = format.at("schema");
            let schema = format.take("schema").ok_or_else(|| missing(&pointer))?;
            format.lose_rest(losses);
            Ok(ResponseFormat::JsonSchema { name: None, description: None, schema, strict: None })
        }
        other => Err(wrong(format.at("type"), "json_schema", &Value::from(other))),
    }
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, Invalid> {
    let items = fields.list("stop_sequences")?.into_iter();
    items
        .map(|item| match item {
            Value::String(text) => Ok(text.into_string()),
            other => Err(wrong("/stop_sequences", "strings", &other)),
        })
        .collect()
}

fn metadata(fields: &mut Fields, losses: &mut Losses) -> Result<Metadata, Invalid> {
    let Some(mut metadata) = fields.object("metadata")? else { return Ok(Metadata::default()) };
    let user = metadata.text("user_id")?;
    metadata.lose_rest(losses);
    Ok(Metadata { user, labels: None })
}
