//! YAML as JSON values.

use anyhow::{Context, Result};
use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Value};

/// Every document of `text`.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = YamlOwned::load_from_str(text).context("not YAML")?;
    documents.iter().map(value).collect()
}

fn value(yaml: &YamlOwned) -> Result<Value> {
    Ok(match yaml {
        YamlOwned::Value(scalar) => match scalar {
            ScalarOwned::Null => Value::Null,
            ScalarOwned::Boolean(truth) => (*truth).into(),
            ScalarOwned::Integer(number) => (*number).into(),
            ScalarOwned::FloatingPoint(number) => number.into_inner().into(),
            ScalarOwned::String(text) => text.clone().into(),
        },
        YamlOwned::Sequence(items) => Value::Array(items.iter().map(value).collect::<Result<_>>()?),
        YamlOwned::Mapping(members) => {
            let members = members.iter().map(|(key, member)| {
                Ok((key.as_str().context("a key that is no text")?.to_owned(), value(member)?))
            });
            Value::Object(members.collect::<Result<Map<_, _>>>()?)
        }
        YamlOwned::Tagged(_, inner) => value(inner)?,
        YamlOwned::Representation(text, ..) => text.clone().into(),
        YamlOwned::Alias(_) | YamlOwned::BadValue => anyhow::bail!("a value that cannot be read"),
    })
}
