//! A request of `generateContent`, read into the hub.
//!
//! Source: `google.genai.types.GenerateContentConfig`, and `google.genai.models`, which says where its members stand on the
//! wire.

use tollgate_chat::{Conversation, Effect, Extension, LossKind, Losses, Metadata, Tool, ToolChoice, Wish};
use tollgate_terms::Delivery;
use tollgate_wire::json::{Document, Value};

use super::decode_config::Config;
use super::decode_parts::PLAIN;
use super::schema::json_schema;
use super::{decode_parts, names};
use crate::Invalid;
use crate::fields::{Fields, loss, tells, wrong};

/// Reads a request. What the hub has no room for is recorded in `losses`.
pub(crate) fn decode_request(body: Document<'_>, losses: &mut Losses) -> Result<Conversation, Invalid> {
    let (body, mut contents) = PLAIN.read(body)?;
    let mut fields = names::object(Value::Object(body), "")?;
    // Those who count tokens may wrap the request that they count for.
    if let Some(inner) = names::member(&mut fields, "generateContentRequest")? {
        fields.lose_rest(losses);
        if contents.take().is_some() {
            losses.push(loss("/contents", LossKind::UnknownField, Effect::Meaning));
        }
        fields = inner;
    }
    fields.take("model");
    if fields.take("cachedContent").is_some() {
        return Err(Invalid::unprocessable(
            "the backend of this model knows no cached content of another provider",
            "/cachedContent",
        ));
    }
    let system = decode_parts::system(&mut fields, losses)?;
    let turns = decode_parts::turns(contents, &mut fields, losses)?;
    let mut extensions = Vec::new();
    let tools = tools(&mut fields, &mut extensions, losses)?;
    let tool_choice = tool_choice(&mut fields, losses)?;
    let Config { output_tokens_max, stop, sampling, format, thinking, effort, media_resolution } =
        Config::read(names::member(&mut fields, "generationConfig")?, losses)?;
    extensions.extend(media_resolution);
    let labels = fields.take("labels");
    let service_tier = fields.text("serviceTier")?.map(|tier| tier.to_ascii_lowercase());
    if let Some(settings) = fields.take("safetySettings").filter(tells) {
        let origin = fields.at("safetySettings");
        extensions.push(Extension { origin, wish: Wish::Safety(settings) });
    }
    fields.lose_rest(losses);
    Ok(Conversation {
        system,
        turns,
        tools,
        tool_choice,
        parallel_tools: None,
        output_tokens_max,
        stop,
        sampling,
        format,
        thinking,
        effort,
        // It is said in the path.
        delivery: Delivery::Whole,
        metadata: Metadata { user: None, labels },
        verbosity: None,
        cache_key: None,
        service_tier: service_tier.and_then(|tier| match tier.as_str() {
            "unspecified" => None,
            "standard" => Some("default".to_owned()),
            _ => Some(tier),
        }),
        extensions,
    })
}

fn tools(
    fields: &mut Fields,
    extensions: &mut Vec<Extension>,
    losses: &mut Losses,
) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for mut entry in names::members(fields, "tools")? {
        for declaration in names::members(&mut entry, "functionDeclarations")? {
            tools.push(function(declaration, losses)?);
        }
        let origin = entry.pointer.clone();
        // All others are run by the provider, and are told by the names of their members.
        if let Value::Object(rest) = entry.into_value() {
            let told = rest.into_iter().filter(|(_, options)| !options.is_null());
            extensions.extend(told.map(|(name, options)| Extension {
                origin: origin.clone(),
                wish: Wish::ServerTool { name: name.into_string(), options },
            }));
        }
    }
    Ok(tools)
}

fn function(mut declaration: Fields, losses: &mut Losses) -> Result<Tool, Invalid> {
    let origin = declaration.pointer.clone();
    let name = declaration.needed_text("name")?;
    let description = declaration.written("description")?;
    let older = declaration.take("parameters").map(json_schema);
    let schema = declaration.take("parametersJsonSchema").or(older);
    for key in ["response", "responseJsonSchema", "behavior"] {
        if declaration.take(key).is_some_and(|value| tells(&value)) {
            losses.push(loss(declaration.at(key), LossKind::ToolOption, Effect::Meaning));
        }
    }
    declaration.lose_rest(losses);
    Ok(Tool { origin, name, description, schema, strict: None, cache: None })
}

fn tool_choice(fields: &mut Fields, losses: &mut Losses) -> Result<Option<ToolChoice>, Invalid> {
    let Some(mut config) = names::member(fields, "toolConfig")? else { return Ok(None) };
    let calling = names::member(&mut config, "functionCallingConfig")?;
    config.lose_rest(losses);
    let Some(mut calling) = calling else { return Ok(None) };
    let mode = calling.text("mode")?.map(|mode| mode.to_ascii_uppercase());
    let pointer = calling.at("allowedFunctionNames");
    let mut allowed = calling.list("allowedFunctionNames")?;
    let choice = match mode.as_deref() {
        None | Some("MODE_UNSPECIFIED") => None,
        Some("AUTO") => Some(ToolChoice::Auto),
        Some("NONE") => Some(ToolChoice::Forbidden),
        Some("VALIDATED") => {
            losses.push(loss(calling.at("mode"), LossKind::ToolOption, Effect::Meaning));
            Some(ToolChoice::Auto)
        }
        Some("ANY") => match (allowed.pop(), allowed.is_empty()) {
            (None, _) => Some(ToolChoice::Required),
            (Some(Value::String(name)), true) => Some(ToolChoice::Named(name.into_string())),
            (Some(Value::String(_)), false) => {
                losses.push(loss(pointer.clone(), LossKind::ToolOption, Effect::Meaning));
                allowed.clear();
                Some(ToolChoice::Required)
            }
            (Some(other), _) => return Err(wrong(&pointer, "strings", &other)),
        },
        Some(other) => {
            let found = Value::from(other);
            return Err(wrong(calling.at("mode"), "AUTO, ANY, NONE or VALIDATED", &found));
        }
    };
    if !allowed.is_empty() {
        losses.push(loss(pointer, LossKind::ToolOption, Effect::Meaning));
    }
    calling.lose_rest(losses);
    Ok(choice)
}
