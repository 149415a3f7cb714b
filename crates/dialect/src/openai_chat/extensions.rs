//! What Envoy AI Gateway lets requests say for Gemini: `safetySettings`, `generationConfig.media_resolution`, the tools
//! `google_search` and `enterprise_search`; and vLLM's `guided_choice`, `guided_regex` and `guided_json`.

use tollgate_chat::{Extension, Losses, ResponseFormat, Wish};
use tollgate_wire::json::{Map, Value};

use crate::Invalid;
use crate::fields::{Fields, tells, wrong};

/// Wishes beside the tools.
pub(super) fn extensions(fields: &mut Fields, losses: &mut Losses) -> Result<Vec<Extension>, Invalid> {
    let mut extensions = Vec::new();
    if let Some(settings) = fields.take("safetySettings").filter(tells) {
        let origin = fields.at("safetySettings");
        extensions.push(Extension { origin, wish: Wish::Safety(settings) });
    }
    if let Some(mut config) = fields.object("generationConfig")? {
        if let Some(level) = config.text("media_resolution")? {
            let origin = config.at("media_resolution");
            extensions.push(Extension { origin, wish: Wish::MediaResolution(level) });
        }
        config.lose_rest(losses);
    }
    Ok(extensions)
}

/// A tool that the provider runs, by its type; its options stand in a member of the same name.
pub(super) fn server_tool(kind: &str, tool: &mut Fields) -> Option<Wish> {
    let name = match kind {
        "google_search" => "googleSearch",
        "enterprise_search" => "enterpriseWebSearch",
        _ => return None,
    };
    let options = tool.take(kind).unwrap_or_else(|| Value::Object(Map::new()));
    Some(Wish::ServerTool { name: name.to_owned(), options: with_names_of_json(options) })
}

/// Options under the names that they have there, such as `timeRangeFilter` for `time_range_filter`.
fn with_names_of_json(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let named = members
                .into_iter()
                .map(|(key, value)| (camel_case(&key.as_str()), with_names_of_json(value)));
            Value::Object(named.collect())
        }
        other => other,
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut said = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        said.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        said.push_str(letters.as_str());
    }
    said
}

/// The format of the answer, which can be said in four ways, and only in one of them at once.
pub(super) fn guided_format(
    fields: &mut Fields,
    told: Option<ResponseFormat>,
) -> Result<Option<ResponseFormat>, Invalid> {
    let choice = fields.take("guided_choice").map(|value| match value {
        Value::Array(words) => words.into_iter().map(text).collect::<Result<_, _>>(),
        other => Err(wrong("/guided_choice", "an array of strings", &other)),
    });
    let choice = choice.transpose()?.map(ResponseFormat::Choice);
    let pattern = fields.text("guided_regex")?.map(ResponseFormat::Pattern);
    let schema = fields.take("guided_json").map(|schema| ResponseFormat::JsonSchema {
        name: None,
        description: None,
        schema,
        strict: None,
    });
    let mut formats = [told, choice, pattern, schema].into_iter().flatten();
    let format = formats.next();
    if formats.next().is_some() {
        return Err(Invalid::unprocessable(
            "only one of response_format, guided_choice, guided_regex and guided_json can be followed",
            "/response_format",
        ));
    }
    Ok(format)
}

fn text(word: Value) -> Result<String, Invalid> {
    match word {
        Value::String(word) => Ok(word.into_string()),
        other => Err(wrong("/guided_choice", "strings", &other)),
    }
}
