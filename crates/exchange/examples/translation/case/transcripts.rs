//! What clients ask: conversations of any length, in each dialect.

use serde_json::{Value, json};
use tollgate_terms::{Delivery, Dialect};

/// A sentence with what needs care in JSON: quotes, a line end, a letter beyond ASCII.
const SENTENCE: &str = "The keeper asks “who goes there?”, notes the \"answer\",\nand lifts the gate. ";

/// Bytes of a long and of a short text of an agent's transcript.
const LONG_BYTES: usize = 6_000;
const SHORT_BYTES: usize = 400;

/// One thing that was said before.
enum Turn {
    User(String),
    Assistant(String),
    Call { id: String, input: Value },
    Result { id: String, text: String },
}

/// What kind of conversation.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Questions and answers, turn by turn.
    Chat,
    /// Texts between many calls of tools, with what they gave.
    Agent,
}

/// A request body of about `bytes` bytes in `dialect`; `None` where no client speaks it.
pub(crate) fn request(dialect: Dialect, kind: Kind, bytes: usize, delivery: Delivery) -> Option<Vec<u8>> {
    let turns = match kind {
        Kind::Chat => chat(bytes),
        Kind::Agent => agent(bytes),
    };
    let mut body = match dialect {
        Dialect::OpenAiChat => openai_chat(turns, kind),
        Dialect::OpenAiResponses => openai_responses(turns, kind),
        Dialect::AnthropicMessages => anthropic_messages(turns, kind),
        Dialect::Gemini => gemini(turns, kind),
        _ => return None,
    };
    if delivery == Delivery::Stream && dialect != Dialect::Gemini {
        body = with(body, "stream", json!(true));
    }
    Some(body.to_string().into_bytes())
}

fn text(bytes: usize) -> String {
    SENTENCE.repeat(bytes / SENTENCE.len() + 1)
}

fn chat(bytes: usize) -> Vec<Turn> {
    let turns = 8;
    let said = |number| {
        let text = text(bytes / (turns + 1));
        if number % 2 == 0 { Turn::User(text) } else { Turn::Assistant(text) }
    };
    // The last word is the user's.
    (0..turns - 1).map(said).collect()
}

fn agent(bytes: usize) -> Vec<Turn> {
    let mut turns = vec![Turn::User(text(SHORT_BYTES))];
    let mut so_far = 0;
    for number in 0.. {
        if so_far >= bytes {
            break;
        }
        let id = format!("call_{number}");
        let input = json!({
            "path": format!("src/gate_{number}.rs"),
            "edits": [{"line": number, "old": SENTENCE, "new": text(SHORT_BYTES)}, {"line": 7, "old": null, "new": ""}],
            "options": {"backup": true, "mode": 420, "ratio": 0.25}
        });
        // Most of what tools give is short, some is a whole file.
        let given = text(if number % 4 == 0 { LONG_BYTES } else { SHORT_BYTES });
        so_far += given.len() + 2 * SHORT_BYTES + 200;
        turns.push(Turn::Assistant(SENTENCE.to_owned()));
        turns.push(Turn::Call { id: id.clone(), input });
        turns.push(Turn::Result { id, text: given });
    }
    turns.push(Turn::User(text(SHORT_BYTES)));
    turns
}

/// Name, description and parameters of the agent's tools.
fn tools(kind: Kind) -> Vec<(String, String, Value)> {
    let count = match kind {
        Kind::Chat => 0,
        Kind::Agent => 8,
    };
    let tool = |number| {
        let name = if number == 0 { "edit".to_owned() } else { format!("tool_{number}") };
        let edit =
            json!({"type": "object", "properties": {"line": {"type": "integer"}, "new": {"type": "string"}}});
        let properties = json!({
            "path": {"type": "string", "description": "Where."},
            "edits": {"type": "array", "items": edit},
            "options": {"type": "object"}
        });
        let schema = json!({"type": "object", "properties": properties, "required": ["path"]});
        (name, "Changes a file in place.".to_owned(), schema)
    };
    (0..count).map(tool).collect()
}

/// An empty list of tools is not said.
fn with_tools(body: Value, tools: Vec<Value>) -> Value {
    if tools.is_empty() { body } else { with(body, "tools", Value::Array(tools)) }
}

/// An object with one more member.
pub(crate) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

fn openai_chat(turns: Vec<Turn>, kind: Kind) -> Value {
    let message = |turn| match turn {
        Turn::User(text) => json!({"role": "user", "content": text}),
        Turn::Assistant(text) => json!({"role": "assistant", "content": text}),
        Turn::Call { id, input } => json!({
            "role": "assistant",
            "tool_calls": [{"id": id, "type": "function", "function": {"name": "edit", "arguments": input.to_string()}}]
        }),
        Turn::Result { id, text } => json!({"role": "tool", "tool_call_id": id, "content": text}),
    };
    let mut messages = vec![json!({"role": "system", "content": SENTENCE})];
    messages.extend(turns.into_iter().map(message));
    let tool = |(name, description, schema)| json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema}});
    let body = json!({"model": "m", "temperature": 0.5, "max_tokens": 1000, "messages": messages});
    with_tools(body, tools(kind).into_iter().map(tool).collect())
}

fn openai_responses(turns: Vec<Turn>, kind: Kind) -> Value {
    let message = |role: &str, part: &str, text: String| json!({"type": "message", "role": role, "content": [{"type": part, "text": text}]});
    let item = |turn| match turn {
        Turn::User(text) => message("user", "input_text", text),
        Turn::Assistant(text) => message("assistant", "output_text", text),
        Turn::Call { id, input } => {
            json!({"type": "function_call", "call_id": id, "name": "edit", "arguments": input.to_string()})
        }
        Turn::Result { id, text } => json!({"type": "function_call_output", "call_id": id, "output": text}),
    };
    let input: Vec<Value> = turns.into_iter().map(item).collect();
    let tool = |(name, description, schema)| json!({"type": "function", "name": name, "description": description, "parameters": schema, "strict": false});
    let body = json!({
        "model": "m", "temperature": 0.5, "max_output_tokens": 1000, "store": false, "instructions": SENTENCE, "input": input
    });
    with_tools(body, tools(kind).into_iter().map(tool).collect())
}

fn anthropic_messages(turns: Vec<Turn>, kind: Kind) -> Value {
    let message = |turn| {
        let (role, block) = match turn {
            Turn::User(text) => ("user", json!({"type": "text", "text": text})),
            Turn::Assistant(text) => ("assistant", json!({"type": "text", "text": text})),
            Turn::Call { id, input } => {
                ("assistant", json!({"type": "tool_use", "id": id, "name": "edit", "input": input}))
            }
            Turn::Result { id, text } => {
                ("user", json!({"type": "tool_result", "tool_use_id": id, "content": text}))
            }
        };
        (role, block)
    };
    let messages = grouped("content", turns.into_iter().map(message));
    let tool = |(name, description, schema)| json!({"name": name, "description": description, "input_schema": schema});
    let body = json!({"model": "m", "temperature": 0.5, "max_tokens": 1000, "system": SENTENCE, "messages": messages});
    with_tools(body, tools(kind).into_iter().map(tool).collect())
}

fn gemini(turns: Vec<Turn>, kind: Kind) -> Value {
    let content = |turn| match turn {
        Turn::User(text) => ("user", json!({"text": text})),
        Turn::Assistant(text) => ("model", json!({"text": text})),
        Turn::Call { id, input } => {
            ("model", json!({"functionCall": {"id": id, "name": "edit", "args": input}}))
        }
        Turn::Result { id, text } => {
            ("user", json!({"functionResponse": {"id": id, "name": "edit", "response": {"output": text}}}))
        }
    };
    let contents = grouped("parts", turns.into_iter().map(content));
    let tool = |(name, description, schema)| json!({"name": name, "description": description, "parametersJsonSchema": schema});
    let declared: Vec<Value> = tools(kind).into_iter().map(tool).collect();
    let body = json!({
        "systemInstruction": {"parts": [{"text": SENTENCE}]},
        "contents": contents,
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 1000}
    });
    let tools =
        if declared.is_empty() { Vec::new() } else { vec![json!({"functionDeclarations": declared})] };
    with_tools(body, tools)
}

/// Messages, each of which holds under `member` what one side said in a row.
fn grouped(member: &str, parts: impl Iterator<Item = (&'static str, Value)>) -> Vec<Value> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for (role, part) in parts {
        match messages.last_mut() {
            Some((last, parts)) if *last == role => parts.push(part),
            _ => messages.push((role, vec![part])),
        }
    }
    messages.into_iter().map(|(role, parts)| json!({"role": role, member: parts})).collect()
}
