//! Values as YAML for people: what is short stands on one line.

use serde_json::Value;

/// Longest line of what could be on one.
const COLUMNS: usize = 110;

/// One document.
pub(crate) fn encode(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// Writes `value` over several lines, each `indent` deep; the first begins where the text ends.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (at, (key, member)) in members.iter().enumerate() {
                if at > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&scalar(key));
                text.push(':');
                let deeper = indent + if member.is_array() { 0 } else { 2 };
                below(member, scalar(key).len() + 1, (indent, deeper), text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push('-');
                let line = flow(item);
                text.push(' ');
                if indent + 2 + line.len() <= COLUMNS || !item.is_object() {
                    text.push_str(&line);
                    text.push('\n');
                } else {
                    block(item, indent + 2, text);
                }
            }
        }
        other => {
            text.push_str(&flow(other));
            text.push('\n');
        }
    }
}

/// Writes the value of a member whose key takes `width`: behind the key if there is room, else below it.
fn below(member: &Value, width: usize, (indent, deeper): (usize, usize), text: &mut String) {
    let line = flow(member);
    let is_flat = !member.is_object() && !member.is_array();
    if is_flat || indent + width + 1 + line.len() <= COLUMNS {
        text.push(' ');
        text.push_str(&line);
        text.push('\n');
    } else {
        text.push('\n');
        text.push_str(&" ".repeat(deeper));
        block(member, deeper, text);
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(key, member)| format!("{}: {}", scalar(key), flow(member))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text, in quotes where YAML would read something else.
fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    let is_word = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let is_reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    let is_duration = text.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    if text.bytes().all(plain) && (is_word || is_duration) && !is_reserved {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
