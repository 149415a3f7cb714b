//! What the demo sends, and what must come back.

use serde_json::{Value, json};

use super::client::Answer;

/// One request of the demo.
pub(super) struct Scenario {
    /// What it shows.
    pub(super) name: &'static str,
    /// Where it goes.
    pub(super) path: &'static str,
    /// Its body.
    pub(super) body: Value,
    /// What must be in the answer.
    pub(super) expected: &'static str,
    /// The attempts that it must take.
    pub(super) attempts: u64,
}

impl Scenario {
    /// What is wrong with the answer, if something is.
    pub(super) fn mistake(&self, answer: &Answer, attempts: u64) -> Option<String> {
        if answer.status != 200 {
            return Some(format!("status {}", answer.status));
        }
        if !answer.body.contains(self.expected) {
            return Some(format!("no {} in the answer", self.expected));
        }
        (attempts != self.attempts).then(|| format!("{attempts} attempts, expected {}", self.attempts))
    }
}

/// A chat, a stream, a tool call, one translated in each direction, and one whose first backend fails.
pub(super) fn scenarios() -> Vec<Scenario> {
    const CHAT: &str = "/v1/chat/completions";
    let plain = |name, path, body, expected| Scenario { name, path, body, expected, attempts: 1 };
    let messages = json!([{"role": "user", "content": "What does a toll gate do?"}]);
    vec![
        plain("chat", CHAT, json!({"model": "gpt-4o-mini", "messages": messages}), "\"content\""),
        plain(
            "stream",
            CHAT,
            json!({"model": "gpt-4o-mini", "stream": true, "messages": messages}),
            "data: [DONE]",
        ),
        plain("tool call", CHAT, tool_call(), "\"tool_calls\""),
        plain(
            "OpenAI client, Anthropic server",
            CHAT,
            json!({"model": "claude-sonnet-5", "stream": true, "messages": messages}),
            "data: [DONE]",
        ),
        plain(
            "Anthropic client, OpenAI server",
            "/v1/messages",
            json!({"model": "gpt-4o-mini", "max_tokens": 256, "messages": messages}),
            "\"stop_reason\"",
        ),
        Scenario {
            name: "first backend fails",
            path: CHAT,
            body: json!({"model": "always-on", "messages": messages}),
            expected: "\"content\"",
            attempts: 2,
        },
    ]
}

fn tool_call() -> Value {
    json!({
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tool_choice": "required",
        "tools": [{
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"]
                }
            }
        }]
    })
}
