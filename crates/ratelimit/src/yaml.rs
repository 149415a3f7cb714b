//! YAML as JSON values.

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Value};

/// The one document of `text`; `None` if it is not one document of values.
pub(crate) fn document(text: &str) -> Option<Value> {
    match YamlOwned::load_from_str(text).ok()?.as_slice() {
        [document] => value(document),
        _ => None,
    }
}

fn value(yaml: &YamlOwned) -> Option<Value> {
    Some(match yaml {
        YamlOwned::Value(scalar) => match scalar {
            ScalarOwned::Null => Value::Null,
            ScalarOwned::Boolean(truth) => (*truth).into(),
            ScalarOwned::Integer(number) => (*number).into(),
            ScalarOwned::FloatingPoint(number) => number.into_inner().into(),
            ScalarOwned::String(text) => text.clone().into(),
        },
        YamlOwned::Sequence(items) => Value::Array(items.iter().map(value).collect::<Option<_>>()?),
        YamlOwned::Mapping(members) => {
            let members =
                members.iter().map(|(key, member)| Some((key.as_str()?.to_owned(), value(member)?)));
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
        YamlOwned::Tagged(_, inner) => value(inner)?,
        YamlOwned::Representation(text, ..) => text.clone().into(),
        YamlOwned::Alias(_) | YamlOwned::BadValue => return None,
    })
}
