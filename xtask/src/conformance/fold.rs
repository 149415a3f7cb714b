//! Streams folded to what they tell, so that two can be compared however they were cut.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The events of a stream: name, and data.
pub(super) fn events(body: &str) -> Vec<(Option<String>, String)> {
    let body = body.replace("\r\n", "\n");
    let blocks = body.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .filter_map(|block| {
            let field = |name: &str| {
                let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                let values: Vec<&str> =
                    values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
                (!values.is_empty()).then(|| values.join("\n"))
            };
            Some((field("event"), field("data")?))
        })
        .collect()
}

/// What a stream tells, in one value; an order of events that no SDK would take is an error.
pub(super) fn fold(body: &str) -> Result<Value> {
    let events = events(body);
    if events.iter().any(|(name, _)| name.as_deref() == Some("message_start")) {
        return fold_messages(&events);
    }
    fold_chat(&events)
}

fn fold_chat(events: &[(Option<String>, String)]) -> Result<Value> {
    let mut folded = json!({"choices": {}});
    let mut is_done = false;
    for (_, data) in events {
        if is_done {
            bail!("an event after [DONE]");
        }
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).with_context(|| format!("not JSON: {data}"))?;
        for key in ["id", "model", "usage", "error"] {
            if !chunk[key].is_null() {
                folded[key] = chunk[key].clone();
            }
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let folded = &mut folded["choices"][choice["index"].to_string()];
            if !choice["finish_reason"].is_null() {
                folded["finish_reason"] = choice["finish_reason"].clone();
            }
            for (key, value) in choice["delta"].as_object().into_iter().flatten() {
                match value {
                    Value::String(text) if key != "role" => append(&mut folded[key.as_str()], text),
                    Value::Array(calls) if key == "tool_calls" => calls.iter().for_each(|call| {
                        let folded = &mut folded["tool_calls"][call["index"].to_string()];
                        for key in ["id", "type"] {
                            if !call[key].is_null() {
                                folded[key] = call[key].clone();
                            }
                        }
                        for key in ["name", "arguments"] {
                            append(&mut folded[key], call["function"][key].as_str().unwrap_or_default());
                        }
                    }),
                    other => folded[key.as_str()] = other.clone(),
                }
            }
        }
    }
    folded["is_done"] = is_done.into();
    Ok(folded)
}

fn append(value: &mut Value, text: &str) {
    *value = format!("{}{text}", value.as_str().unwrap_or_default()).into();
}

fn fold_messages(events: &[(Option<String>, String)]) -> Result<Value> {
    let mut message = Value::Null;
    let mut blocks: Vec<Value> = Vec::new();
    let mut is_open = false;
    for (name, data) in events {
        let event: Value = serde_json::from_str(data).with_context(|| format!("not JSON: {data}"))?;
        let kind = event["type"].as_str().unwrap_or_default();
        if name.as_deref() != Some(kind) {
            bail!("event {name:?} is of type {kind:?}");
        }
        let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        match kind {
            "message_start" if message.is_null() => message = event["message"].clone(),
            _ if message.is_null() => bail!("{kind} before message_start"),
            "content_block_start" if !is_open && index == Some(blocks.len()) => {
                is_open = true;
                blocks.push(event["content_block"].clone());
            }
            "content_block_delta" if is_open && index == blocks.len().checked_sub(1) => {
                let block = blocks.last_mut().context("a block")?;
                for (from, to) in [
                    ("text", "text"),
                    ("thinking", "thinking"),
                    ("signature", "signature"),
                    ("partial_json", "json"),
                ] {
                    if let Some(text) = event["delta"][from].as_str() {
                        append(&mut block[to], text);
                    }
                }
            }
            "content_block_stop" if is_open && index == blocks.len().checked_sub(1) => is_open = false,
            "message_delta" if !is_open => {
                let changes: Map<String, Value> = event["delta"].as_object().cloned().unwrap_or_default();
                changes.into_iter().for_each(|(key, value)| message[key.as_str()] = value);
                for (key, value) in event["usage"].as_object().into_iter().flatten() {
                    message["usage"][key.as_str()] = value.clone();
                }
            }
            "message_stop" if !is_open => message["is_done"] = true.into(),
            "ping" | "error" => {}
            _ => bail!("{kind} out of order"),
        }
    }
    // A count of zero is as good as none.
    if let Some(usage) = message["usage"].as_object_mut() {
        usage.retain(|_, value| *value != 0);
    }
    message["content"] = blocks.into();
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_chunks() {
        let body = "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
                    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" you\"},\"finish_reason\":\"stop\"}]}\n\n\
                    data: [DONE]\n\n";
        let folded = fold(body).expect("a stream");
        assert_eq!(folded["choices"]["0"]["content"], "Hi you");
        assert_eq!(folded["is_done"], true);
    }

    #[test]
    fn refuses_events_out_of_order() {
        let event =
            |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
        let start = event("message_start", ",\"message\":{}");
        assert!(fold(&(start.clone() + &event("message_stop", ""))).is_ok());
        assert!(fold(&(start.clone() + &event("content_block_stop", ",\"index\":0"))).is_err());
        let block =
            event("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        assert!(fold(&(start + &block + &event("message_stop", ""))).is_err());
    }
}
