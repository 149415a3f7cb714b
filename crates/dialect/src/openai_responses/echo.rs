//! What a response repeats of its request.
//!
//! Source: `openai.types.responses.Response`.

use bytes::Bytes;
use tollgate_wire::json::{Map, Value};

use crate::inspect::Facts;

/// Members that a response has from its request, and needs to have even where that says nothing of them.
const ALWAYS: [&str; 7] =
    ["instructions", "metadata", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p"];

/// Members that it has if the request has them.
const IF_TOLD: [&str; 11] = [
    "background",
    "max_output_tokens",
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "text",
    "top_logprobs",
    "truncation",
    "user",
];

/// The members of a request that its response repeats, as a JSON object that shares no memory with the request: that is let go when the
/// answer begins.
pub(crate) fn repeated(body: &Bytes, facts: &Facts) -> Bytes {
    let Some(members) = &facts.json else { return Bytes::new() };
    let is_repeated = |key: &[u8]| ALWAYS.iter().chain(&IF_TOLD).any(|own| own.as_bytes() == key);
    let told: Vec<_> = members.members(body).filter(|(key, _)| is_repeated(key)).collect();
    let bytes: usize = told.iter().map(|(key, value)| key.len() + value.len() + r#","":"#.len()).sum();
    let mut said = Vec::with_capacity(bytes + "}".len());
    for (key, value) in told {
        said.extend_from_slice(if said.is_empty() { b"{\"" } else { b",\"" });
        // None of the keys has anything to escape.
        said.extend_from_slice(&key);
        said.extend_from_slice(b"\":");
        said.extend_from_slice(value);
    }
    if !said.is_empty() {
        said.push(b'}');
    }
    said.into()
}

/// The same, as a response has it.
#[derive(Debug, Default)]
pub(super) struct Echo {
    members: Map,
}

impl Echo {
    /// Reads what [`repeated`] has kept.
    pub(super) fn read(repeated: &Bytes) -> Self {
        let Ok(Value::Object(mut members)) = Value::read(repeated) else { return Self::default() };
        if let Some(tools) = members.get_mut("tools").and_then(Value::as_array_mut) {
            tools.iter_mut().for_each(complete);
        }
        Self { members }
    }

    /// A member that has to be there.
    pub(super) fn needed(&self, key: &str) -> Value {
        let told = self.members.get(key).filter(|value| !value.is_null()).cloned();
        told.unwrap_or_else(|| match key {
            "metadata" => Map::new().into(),
            "parallel_tool_calls" => true.into(),
            "tool_choice" => "auto".into(),
            "tools" => Value::Array(Vec::new()),
            _ => Value::Null,
        })
    }

    /// Those that the request told.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, Value)> {
        IF_TOLD.into_iter().filter_map(|key| Some((key, self.members.get(key)?.clone())))
    }
}

/// A function as responses have it: these members are always there.
fn complete(tool: &mut Value) {
    let is_function = tool.get("type").is_some_and(|kind| kind == "function");
    let Some(members) = tool.as_object_mut().filter(|_| is_function) else { return };
    for key in ["parameters", "strict"] {
        if !members.contains_key(key) {
            members.insert(key, Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_terms::{Dialect, Operation};

    use super::*;

    #[test]
    fn keeps_what_is_repeated_and_nothing_else() {
        let body = Bytes::from_static(
            br#"{"model":"m","input":"long","temperature":0.5, "tools": [{"type":"function","name":"f"}],"user":null}"#,
        );
        let facts = crate::inspect(Dialect::OpenAiResponses, Operation::Chat, None, None, &body);
        let kept = repeated(&body, &facts.expect("a good body"));
        let text = r#"{"temperature":0.5,"tools":[{"type":"function","name":"f"}],"user":null}"#;
        assert_eq!(kept, text);
        let echo = Echo::read(&kept);
        assert_eq!(echo.needed("tool_choice"), Value::from("auto"));
        assert_eq!(
            echo.needed("tools").to_bytes(),
            br#"[{"type":"function","name":"f","parameters":null,"strict":null}]"#[..]
        );
        assert_eq!(Echo::read(&Bytes::new()).needed("metadata").to_bytes(), b"{}"[..]);
    }
}
