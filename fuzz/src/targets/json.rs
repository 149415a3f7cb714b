//! JSON texts, against `serde_json`.

use bytes::Bytes;
use serde_json::Value;
use tollgate_wire::json::{self, Edit, Limits, Malformed, Path};

use super::law;

/// Both accept the same texts, apart from what only ours refuses on purpose.
pub(crate) fn scan(input: &[u8]) -> Result<(), String> {
    let ours = json::scan(input, Limits::default());
    let theirs =
        std::str::from_utf8(input).ok().and_then(|text| serde_json::from_str::<serde::Any>(text).ok());
    match (&ours, &theirs) {
        (Ok(_), None) => Err("accepts what serde_json refuses".to_owned()),
        (Err(Malformed::DuplicateKey { .. } | Malformed::TooDeep { .. } | Malformed::NotAnObject), _) => {
            Ok(())
        }
        (Err(malformed), Some(_)) => Err(format!("refuses what serde_json accepts: {malformed}")),
        (Err(malformed), None) => law(!malformed.to_string().is_empty(), || "no message".to_owned()),
        (Ok(object), Some(_)) => {
            let Ok(Value::Object(members)) = serde_json::from_slice(input) else { return Ok(()) };
            for (key, value) in &members {
                let range = object.get(input, key).ok_or_else(|| format!("no member {key:?}"))?;
                let raw = input.get(range).unwrap_or_default();
                let read: Option<Value> = serde_json::from_slice(raw).ok();
                law(read.as_ref() == Some(value), || format!("another value at {key:?}"))?;
                if let Value::String(text) = value {
                    let ours = json::text_value(raw);
                    law(ours.as_deref() == Some(text), || format!("another text at {key:?}"))?;
                }
            }
            Ok(())
        }
    }
}

/// Edits of the text are edits of the value.
pub(crate) fn splice(input: &[u8]) -> Result<(), String> {
    let Ok(object) = json::scan(input, Limits::default()) else { return Ok(()) };
    let Ok(mut expected) = serde_json::from_slice::<Value>(input) else { return Ok(()) };
    let set = |path, value: &'static str| Edit::Set { path, value: Bytes::from_static(value.as_bytes()) };
    let edits = vec![
        Edit::Remove { path: Path::top("seed") },
        set(Path::top("model"), "\"other\""),
        set(Path::inner("stream_options", "include_usage"), "true"),
    ];
    let text = Bytes::copy_from_slice(input);
    let edited = json::splice(&text, &object, edits).concat();
    let members = expected.as_object_mut().ok_or("not an object")?;
    members.shift_remove("seed");
    members.insert("model".to_owned(), "other".into());
    match members.get_mut("stream_options").and_then(Value::as_object_mut) {
        Some(options) => {
            options.insert("include_usage".to_owned(), true.into());
        }
        None => {
            members.insert("stream_options".to_owned(), serde_json::json!({"include_usage": true}));
        }
    }
    let edited: Value =
        serde_json::from_slice(&edited).map_err(|error| format!("no JSON any more: {error}"))?;
    law(edited == expected, || format!("{edited} instead of {expected}"))
}

mod serde {
    /// Any JSON, of which nothing is kept.
    pub(super) type Any = Box<serde_json::value::RawValue>;
}
