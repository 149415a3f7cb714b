//! The names of members. Google's parsers take each by its name in JSON, `topP`, and by its name in the proto, `top_p`.

use tollgate_chat::Origin;
use tollgate_wire::json::{Map, Value};

use crate::Invalid;
use crate::fields::{Fields, wrong};

/// The members of an object, under their names in JSON.
pub(super) fn object(value: Value, pointer: impl Into<Origin>) -> Result<Fields, Invalid> {
    let value = match value {
        Value::Object(members) if members.keys().any(|key| key.as_bytes().contains(&b'_')) => {
            let members = members.into_iter().map(|(key, value)| (camel_case(&key.as_str()), value));
            Value::Object(members.collect::<Map>())
        }
        value => value,
    };
    Fields::of(value, pointer)
}

/// A member that is such an object.
pub(super) fn member(fields: &mut Fields, key: &'static str) -> Result<Option<Fields>, Invalid> {
    fields.take(key).map(|value| object(value, fields.at(key))).transpose()
}

/// A member that is a list of such objects.
pub(super) fn members(fields: &mut Fields, key: &'static str) -> Result<Vec<Fields>, Invalid> {
    let pointer = fields.at(key);
    let items = fields.list(key)?.into_iter().enumerate();
    items.map(|(index, item)| object(item, pointer.item(index))).collect()
}

/// A whole number, which the JSON of a proto also writes as `40.0` and `"40"`.
pub(super) fn integer(fields: &mut Fields, key: &'static str) -> Result<Option<i64>, Invalid> {
    let Some(value) = fields.take(key) else { return Ok(None) };
    let number = value.as_i64().or_else(|| match &value {
        Value::String(digits) => digits.as_str().parse().ok(),
        Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0).and_then(|number| {
            // Beyond what a double holds exactly it is nonsense.
            (number.abs() < 9e15).then(|| format!("{number:.0}").parse().ok()).flatten()
        }),
        _ => None,
    });
    number.map(Some).ok_or_else(|| wrong(fields.at(key), "a whole number", &value))
}

/// The same, of at least 0.
pub(super) fn count(fields: &mut Fields, key: &'static str) -> Result<Option<u64>, Invalid> {
    let Some(number) = integer(fields, key)? else { return Ok(None) };
    let count = u64::try_from(number).map(Some);
    count.map_err(|_| wrong(fields.at(key), "a whole number of at least 0", &Value::from(number)))
}

fn camel_case(name: &str) -> String {
    let mut said = String::with_capacity(name.len());
    let mut raises = false;
    for character in name.chars() {
        match character {
            '_' if !said.is_empty() => raises = true,
            _ if std::mem::take(&mut raises) => said.push(character.to_ascii_uppercase()),
            _ => said.push(character),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::value;

    #[test]
    fn names_are_those_of_json() {
        for (name, json) in [
            ("topP", "topP"),
            ("top_p", "topP"),
            ("response_json_schema", "responseJsonSchema"),
            ("_responseJsonSchema", "_responseJsonSchema"),
        ] {
            assert_eq!(camel_case(name), json);
        }
    }

    #[test]
    fn whole_numbers_come_in_three_shapes() {
        for (told, number) in [
            (serde_json::json!(40), Some(40)),
            (serde_json::json!(40.0), Some(40)),
            (serde_json::json!("-1"), Some(-1)),
            (serde_json::json!(1.5), None),
            (serde_json::json!(true), None),
        ] {
            let mut fields = object(value(serde_json::json!({"top_k": told})), "").expect("an object");
            assert_eq!(integer(&mut fields, "topK").ok().flatten(), number);
        }
    }
}
