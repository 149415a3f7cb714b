//! Writes values as YAML blocks, for people to read and review. Reading YAML is `manifest`'s.

use serde_json::Value;

/// `value` as one YAML document, with a line break at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => members_at(members, 0, &mut out),
        Value::Array(items) if !items.is_empty() => items_at(items, 0, &mut out),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

fn members_at(members: &serde_json::Map<String, Value>, depth: usize, out: &mut String) {
    for (index, (key, value)) in members.iter().enumerate() {
        // The first member of an item stands beside its dash, which is there already.
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            indent(depth, out);
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                members_at(inner, depth + 1, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                items_at(items, depth, out);
            }
            _ => {
                out.push(' ');
                out.push_str(&scalar(value));
                out.push('\n');
            }
        }
    }
}

fn items_at(items: &[Value], depth: usize, out: &mut String) {
    for item in items {
        indent(depth, out);
        out.push_str("- ");
        match item {
            Value::Object(members) if !members.is_empty() => members_at(members, depth + 1, out),
            // A list in a list is rare enough to stand on one line.
            _ => {
                out.push_str(&scalar(item));
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("  "));
}

/// A value on one line. JSON is YAML, so that is what anything but a plain text is written in.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(content) => text(content),
        other => other.to_string(),
    }
}

/// A text without quotes where YAML reads it as that text, else with them.
fn text(content: &str) -> String {
    let is_plain = content.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && content.chars().all(|letter| letter.is_ascii_alphanumeric() || " _-./,()".contains(letter))
        && !content.ends_with(' ')
        && !is_reserved(content);
    if is_plain { content.to_owned() } else { Value::from(content).to_string() }
}

/// Words that some reader of YAML takes for something else than a text.
fn is_reserved(content: &str) -> bool {
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| content.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_blocks_that_read_as_the_same_value() {
        let value = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "metadata": {"name": "a.b", "labels": {}},
            "items": [{"x": 1, "y": [{"z": null}]}, [1, "two"], "no", "a: b", "line\nbreak"],
            "on": true,
            "$ref": "- x",
            "none": [],
        });
        let expected = "\
apiVersion: apiextensions.k8s.io/v1
metadata:
  name: a.b
  labels: {}
items:
- x: 1
  \"y\":
  - z: null
- [1,\"two\"]
- \"no\"
- \"a: b\"
- \"line\\nbreak\"
\"on\": true
\"$ref\": \"- x\"
none: []
";
        assert_eq!(document(&value), expected);
    }
}
