//! The tools of a request, and the choice among them.
//!
//! Source: `openai.types.responses.ToolParam` and `ResponseCreateParams.tool_choice`.

use std::borrow::Cow;
use std::collections::HashSet;

use tollgate_chat::{Effect, LossKind, Losses, Origin, Tool, ToolChoice};
use tollgate_wire::json::Value;

use crate::Invalid;
use crate::fields::{Fields, loss, wrong};

/// The functions. Tools that OpenAI runs itself, and those whose calls are no JSON, are refused: the client counts on them.
pub(super) fn tools(fields: &mut Fields, losses: &mut Losses) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.into_iter().enumerate() {
        let origin = Origin::of_item("tools", index);
        let mut tool = Fields::of(tool, origin.clone())?;
        let kind = tool.text("type")?.unwrap_or_default();
        if kind != "function" {
            return Err(Invalid::unprocessable(format!("tool type {kind:?} cannot be translated"), origin));
        }
        let schema = tool.take("parameters");
        tools.push(Tool {
            name: tool.needed_text("name")?,
            description: tool.written("description")?,
            strict: tool.truth("strict")?.or_else(|| strict_by_default(schema.as_ref())),
            schema,
            cache: None,
            origin,
        });
        for key in ["allowed_callers", "async", "defer_loading", "output_schema"] {
            if tool.take(key).is_some() {
                losses.push(loss(tool.at(key), LossKind::ToolOption, Effect::Meaning));
            }
        }
        tool.lose_rest(losses);
    }
    Ok(tools)
}

/// A function that does not say whether it is strict is strict here (OpenAI's guide to function calling), other than in all other
/// dialects: the API brings the schema into the form that this needs. Others refuse to be strict about a schema in another form,
/// so only one that has it already is told as strict; the API itself falls back to best effort where it cannot make the form.
fn strict_by_default(schema: Option<&Value>) -> Option<bool> {
    schema.is_some_and(is_strict_schema).then_some(true)
}

/// Whether a schema allows no members but those that it names, and demands all of them, at any depth.
fn is_strict_schema(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            let named = members.get("properties").and_then(Value::as_object);
            let is_closed = !is_object
                || (members.get("additionalProperties") == Some(&Value::Bool(false))
                    && named.is_none_or(|named| {
                        let demanded = members.get("required").and_then(Value::as_array);
                        let demanded: HashSet<Cow<'_, str>> =
                            demanded.into_iter().flatten().filter_map(Value::as_str).collect();
                        named.keys().all(|name| demanded.contains(&name.as_str()))
                    }));
            is_closed && members.iter().all(|(_, member)| is_strict_schema(member))
        }
        Value::Array(items) => items.iter().all(is_strict_schema),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::WrittenList(_) => true,
    }
}

/// The choice, and the tools that it leaves.
pub(super) fn tool_choice(
    fields: &mut Fields,
    tools: Vec<Tool>,
    losses: &mut Losses,
) -> Result<(Vec<Tool>, Option<ToolChoice>), Invalid> {
    let mut choice = match fields.take("tool_choice") {
        None => return Ok((tools, None)),
        Some(Value::String(word)) => {
            return Ok((tools, Some(choice_word(word.into_string(), "/tool_choice")?)));
        }
        Some(value) => Fields::of(value, "/tool_choice")?,
    };
    match choice.needed_text("type")?.as_str() {
        "function" => {
            let name = choice.needed_text("name")?;
            choice.lose_rest(losses);
            Ok((tools, Some(ToolChoice::Named(name))))
        }
        "allowed_tools" => {
            let mode = choice.needed_text("mode")?;
            let names = allowed_names(&mut choice)?;
            choice.lose_rest(losses);
            allowed(tools, &names, choice_word(mode, "/tool_choice/mode")?, losses)
        }
        _ => Err(Invalid::unprocessable("only the choice of a function can be translated", "/tool_choice")),
    }
}

fn choice_word(word: String, pointer: &str) -> Result<ToolChoice, Invalid> {
    match word.as_str() {
        "auto" => Ok(ToolChoice::Auto),
        "required" => Ok(ToolChoice::Required),
        "none" => Ok(ToolChoice::Forbidden),
        _ => Err(wrong(pointer, "auto, required, none or an object", &Value::from(word))),
    }
}

fn allowed_names(choice: &mut Fields) -> Result<Vec<String>, Invalid> {
    let tools = choice.list("tools")?.into_iter().enumerate();
    let names = tools.map(|(index, tool)| {
        let mut tool = Fields::of(tool, format!("/tool_choice/tools/{index}"))?;
        if tool.needed_text("type")? != "function" {
            let text = "only the choice of functions can be translated";
            return Err(Invalid::unprocessable(text, tool.pointer));
        }
        tool.needed_text("name")
    });
    names.collect()
}

/// Only some of the tools: others have no words for it, but to be told of no more than these.
fn allowed(
    tools: Vec<Tool>,
    names: &[String],
    choice: ToolChoice,
    losses: &mut Losses,
) -> Result<(Vec<Tool>, Option<ToolChoice>), Invalid> {
    if let (ToolChoice::Required, [name]) = (&choice, names) {
        return Ok((tools, Some(ToolChoice::Named(name.clone()))));
    }
    let count = tools.len();
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let left: Vec<Tool> = tools.into_iter().filter(|tool| names.contains(tool.name.as_str())).collect();
    if left.is_empty() {
        return Err(Invalid::unprocessable("none of the allowed tools is there", "/tool_choice/tools"));
    }
    if left.len() < count {
        // The choice leaves the prompt as it was and with it the cache; a shorter list of tools does not.
        losses.push(loss("/tool_choice/tools", LossKind::CachePoint, Effect::Cost));
    }
    Ok((left, Some(choice)))
}
