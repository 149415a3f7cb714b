//! What a request asks, in whichever dialect.

use serde_json::Value;

/// What the answer depends on.
#[derive(Debug)]
pub(super) struct Ask {
    /// The model as it was asked for.
    pub(super) model: String,
    /// The last text of the user.
    pub(super) text: String,
    /// Name of the first tool, if there are tools.
    pub(super) tool: Option<String>,
    /// How many tools to call.
    pub(super) calls: usize,
    /// The schema that the answer has to meet.
    pub(super) schema: Option<Value>,
    /// Whether reasoning is wanted.
    pub(super) thinks: bool,
    pub(super) streams: bool,
    /// Words of the request, for its tokens.
    pub(super) words: u64,
}

impl Ask {
    pub(super) fn read(json: &Value, model: &str) -> Self {
        let suffix = model.split_once("--").map_or("", |(_, suffix)| suffix);
        let messages = json.get("messages").or_else(|| json.get("input"));
        let last = messages.and_then(Value::as_array).and_then(|messages| messages.last());
        let text = match (messages, last) {
            (Some(Value::String(text)), _) => text.clone(),
            (_, Some(last)) => texts(last),
            _ => json.get("prompt").map(texts).unwrap_or_default(),
        };
        let tool = json.get("tools").and_then(|tools| tools.get(0)).and_then(|tool| {
            let name = tool.get("name").or_else(|| tool.get("function")?.get("name"))?;
            name.as_str().map(str::to_owned)
        });
        let is_result = last.is_some_and(is_tool_result);
        let calls = if tool.is_some() && !is_result { calls(json, suffix) } else { 0 };
        let schema = schema(json);
        let thinks = json
            .get("thinking")
            .and_then(|thinking| thinking.get("type"))
            .is_some_and(|kind| kind == "enabled" || kind == "adaptive")
            || suffix == "thinking";
        let streams = json.get("stream").and_then(Value::as_bool).unwrap_or(false);
        let words = count_words(&texts(json)).max(1);
        Self { model: model.to_owned(), text, tool, calls, schema, thinks, streams, words }
    }

    /// The model that answers: as providers do, the name with a date.
    pub(super) fn served_model(&self) -> String {
        format!("{}-2026-01-01", self.model.split_once("--").map_or(self.model.as_str(), |(name, _)| name))
    }
}

fn calls(json: &Value, suffix: &str) -> usize {
    match suffix {
        "tool" => return 1,
        "tools" => return 2,
        _ => {}
    }
    let choice = json.get("tool_choice");
    let is_forced = match choice {
        Some(Value::String(word)) => word == "required" || word == "any",
        Some(Value::Object(choice)) => {
            choice.get("type").is_some_and(|kind| kind == "any" || kind == "tool" || kind == "function")
        }
        _ => false,
    };
    usize::from(is_forced)
}

fn is_tool_result(message: &Value) -> bool {
    let of_anthropic = |message: &Value| {
        let blocks = message.get("content").and_then(Value::as_array);
        blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
    };
    message["role"] == "tool" || message["type"] == "function_call_output" || of_anthropic(message)
}

fn schema(json: &Value) -> Option<Value> {
    let chat = json.get("response_format").map(|format| match format["type"].as_str() {
        Some("json_schema") => format["json_schema"]["schema"].clone(),
        Some("json_object") => {
            serde_json::json!({"type": "object", "properties": {"answer": {"type": "string"}}})
        }
        _ => Value::Null,
    });
    let responses = json.get("text").and_then(|text| text["format"].get("schema")).cloned();
    let messages = json.get("output_config").and_then(|config| config["format"].get("schema")).cloned();
    chat.or(responses).or(messages).filter(Value::is_object)
}

/// All texts in a value, joined.
fn texts(value: &Value) -> String {
    let mut out = String::new();
    collect(value, &mut out);
    out.trim().to_owned()
}

fn collect(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push(' ');
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(members) => {
            let told = ["content", "text", "messages", "system", "input", "prompt", "instructions"];
            members
                .iter()
                .filter(|(key, _)| told.contains(&key.as_str()))
                .for_each(|(_, value)| collect(value, out));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Words of a text.
pub(super) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}
