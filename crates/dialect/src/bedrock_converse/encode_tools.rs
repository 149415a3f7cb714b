//! The tools of a `Converse` request, and the choice among them.
//!
//! Source: botocore, `bedrock-runtime` service model, `ToolConfiguration`.

use std::collections::BTreeSet;

use tollgate_chat::{Effect, LossKind, Losses, Tool, ToolChoice};
use tollgate_wire::json::{Map, Text, Value};

use super::encode_blocks::cache_point;
use crate::fields::{Members, loss, object};

/// What the turns hold of tools: the API takes calls and their results only beside the tools.
#[derive(Debug)]
pub(super) enum PastTools {
    /// Nothing.
    None,
    /// Calls of these, or results.
    Called(BTreeSet<String>),
}

/// Tools and choice.
pub(super) fn tool_config(
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    parallel: Option<bool>,
    past: PastTools,
    losses: &mut Losses,
) -> Option<Value> {
    if parallel == Some(false) && choice != Some(ToolChoice::Forbidden) {
        losses.push(loss("/parallel_tool_calls", LossKind::ToolOption, Effect::Meaning));
    }
    let mut entries = Vec::with_capacity(tools.len());
    match (past, &choice) {
        // The API has no such choice, but tools that it does not know of are not called.
        (PastTools::None, Some(ToolChoice::Forbidden)) => return None,
        (PastTools::None, _) if tools.is_empty() => {
            if matches!(choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
                losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
            }
            return None;
        }
        // The tools that the turns speak of have to be there. That they are not to be called cannot be said.
        (PastTools::Called(names), _) if tools.is_empty() => {
            losses.push(loss("/tools", LossKind::ToolOption, Effect::Meaning));
            entries.extend(names.into_iter().map(|name| entry(name, None, None, None)));
        }
        (PastTools::None | PastTools::Called(_), _) => {}
    }
    for tool in tools {
        let Tool { origin, name, description, schema, strict, cache } = tool;
        entries.push(entry(name, description, schema, strict));
        // A cache point is an entry of its own behind the tool.
        entries.extend(cache.map(|cache| cache_point(&origin, cache, losses)));
    }
    if entries.is_empty() {
        return None;
    }
    let mut config = Members::default();
    config.set("tools", Some(entries));
    config.set("toolChoice", choice.and_then(|choice| tool_choice(choice, losses)));
    Some(config.value())
}

fn entry(name: String, description: Option<Text>, schema: Option<Value>, strict: Option<bool>) -> Value {
    let mut spec = Members::default();
    spec.set("name", Some(name));
    // An empty one is refused.
    spec.set("description", description.filter(|text| !text.is_empty()));
    let schema =
        schema.unwrap_or_else(|| object!({"type": "object", "properties": Value::Object(Map::new())}));
    spec.set("inputSchema", Some(object!({"json": schema})));
    spec.set("strict", strict);
    object!({"toolSpec": spec.map})
}

fn tool_choice(choice: ToolChoice, losses: &mut Losses) -> Option<Value> {
    match choice {
        ToolChoice::Auto => Some(object!({"auto": Value::Object(Map::new())})),
        ToolChoice::Required => Some(object!({"any": Value::Object(Map::new())})),
        ToolChoice::Named(name) => Some(object!({"tool": object!({"name": name})})),
        ToolChoice::Forbidden => {
            losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
            None
        }
    }
}
