//! Whether two JSON values mean the same.

use serde_json::Value;

/// Where `got` differs from `expected`, a line each. What is null, `{}` or `[]` is as good as absent, and any time of creation or
/// generated id as good as another.
pub(super) fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", expected, got, &mut lines);
    lines
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn walk(path: &str, expected: &Value, got: &Value, lines: &mut Vec<String>) {
    match (expected, got) {
        _ if expected == got || is_nothing(expected) && is_nothing(got) => {}
        (Value::Object(one), Value::Object(two)) => {
            let others = two.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(others) {
                if key == "created" {
                    continue;
                }
                let member =
                    |members: &serde_json::Map<String, Value>| members.get(key).cloned().unwrap_or_default();
                walk(&format!("{path}/{key}"), &member(one), &member(two), lines);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (index, (one, two)) in one.iter().zip(two).enumerate() {
                walk(&format!("{path}/{index}"), one, two, lines);
            }
        }
        (Value::Number(one), Value::Number(two)) if one.as_f64() == two.as_f64() => {}
        (Value::String(one), Value::String(two)) if is_uuid(one) && is_uuid(two) => {}
        _ => lines.push(format!("{path}: expected {expected}, got {got}")),
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_nothing_and_the_rest_counts() {
        let one = json!({"a": null, "b": {"c": []}, "created": 1, "n": 1.0, "id": "8aab4574-1870-4d86-beda-f3b4f4666dac"});
        let two = json!({"d": {}, "created": 2, "n": 1, "id": "1aab4574-1870-4d86-beda-f3b4f4666dac"});
        assert_eq!(differences(&one, &two), Vec::<String>::new());
        let three = json!({"n": 2, "id": "1aab4574-1870-4d86-beda-f3b4f4666dac", "x": 0});
        assert_eq!(differences(&one, &three).len(), 2);
    }
}
