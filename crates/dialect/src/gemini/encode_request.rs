//! A conversation, said as a request of `generateContent`. The model is named in the path, and whether to stream too.
//!
//! Source: `google.genai.types.GenerateContentConfig`, and `google.genai.models`, which says where its members stand on the
//! wire.

use tollgate_chat::{
    Conversation, Effect, Extension, LossKind, Losses, Metadata, ResponseFormat, Sampling, Tool, ToolChoice,
    Wish,
};
use tollgate_terms::ModelName;
use tollgate_wire::json::{Map, Value};

use super::encode_parts::{Parts, system_parts};
use super::model::Gemini;
use crate::Invalid;
use crate::fields::{Members, lose_wishes, loss, object};

/// Longest key or value of a label.
const LABEL_CHARACTERS_MAX: usize = 63;

/// The body. What it does not say is recorded in `losses`.
pub(crate) fn encode_request(
    conversation: Conversation,
    model: &ModelName,
    losses: &mut Losses,
) -> Result<Map, Invalid> {
    let Conversation {
        system,
        turns,
        tools,
        tool_choice,
        parallel_tools,
        output_tokens_max,
        stop,
        sampling,
        format,
        thinking,
        effort,
        verbosity,
        delivery: _,
        metadata,
        cache_key,
        service_tier,
        extensions,
    } = conversation;
    let gemini = Gemini::of(model);
    let mut body = Members::default();
    let system = system_parts(system, losses)?;
    body.set("systemInstruction", (!system.is_empty()).then(|| object!({"parts": system})));
    // Without contents the API says itself what it misses.
    body.set("contents", Some(Parts::new(gemini).contents(turns, losses)?));
    if parallel_tools == Some(false) {
        losses.push(loss("/parallel_tool_calls", LossKind::ToolOption, Effect::Meaning));
    }
    let mut config = Members::default();
    let server_tools = set_extensions(&mut body, &mut config, extensions);
    set_tools(&mut body, tools, server_tools, tool_choice, losses);
    config.set("maxOutputTokens", output_tokens_max);
    config.set("stopSequences", (!stop.is_empty()).then_some(stop));
    set_sampling(&mut config, sampling, losses);
    set_format(&mut config, format, losses);
    config.set("thinkingConfig", gemini.thinking(thinking, effort, losses).map(Members::value));
    body.set("generationConfig", (!config.map.is_empty()).then(|| config.value()));
    lose_wishes(verbosity.as_ref(), cache_key.as_ref(), losses);
    let Metadata { user, labels } = metadata;
    if user.is_some() {
        losses.push(loss("/user", LossKind::Metadata, Effect::Cost));
    }
    body.set("labels", labels.and_then(|labels| encode_labels(labels, losses)));
    body.set("serviceTier", service_tier.and_then(|tier| encode_service_tier(&tier, losses)));
    Ok(body.map)
}

/// Wishes that this dialect has words for; the tools among them stand beside the functions.
fn set_extensions(body: &mut Members, config: &mut Members, extensions: Vec<Extension>) -> Vec<Value> {
    let mut tools = Vec::new();
    for Extension { origin: _, wish } in extensions {
        match wish {
            Wish::Safety(settings) => body.set("safetySettings", Some(settings)),
            Wish::MediaResolution(level) => config.set("mediaResolution", Some(level)),
            Wish::ServerTool { name, options } => {
                let mut tool = Members::default();
                tool.map.insert(name, options);
                tools.push(tool.value());
            }
        }
    }
    tools
}

fn set_tools(
    body: &mut Members,
    functions: Vec<Tool>,
    server_tools: Vec<Value>,
    choice: Option<ToolChoice>,
    losses: &mut Losses,
) {
    let has_functions = !functions.is_empty();
    let declarations: Vec<Value> = functions.into_iter().map(|tool| encode_tool(tool, losses)).collect();
    let functions = has_functions.then(|| object!({"functionDeclarations": declarations}));
    let entries: Vec<Value> = functions.into_iter().chain(server_tools).collect();
    body.set("tools", (!entries.is_empty()).then_some(entries));
    if !has_functions {
        if matches!(choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            losses.push(loss("/tool_choice", LossKind::ToolOption, Effect::Meaning));
        }
        return;
    }
    let config = choice.map(|choice| match choice {
        ToolChoice::Auto => object!({"mode": "AUTO"}),
        ToolChoice::Required => object!({"mode": "ANY"}),
        ToolChoice::Forbidden => object!({"mode": "NONE"}),
        ToolChoice::Named(name) => {
            object!({"mode": "ANY", "allowedFunctionNames": Value::Array(vec![name.into()])})
        }
    });
    body.set("toolConfig", config.map(|config| object!({"functionCallingConfig": config})));
}

fn encode_tool(tool: Tool, losses: &mut Losses) -> Value {
    let Tool { origin, name, description, schema, strict, cache } = tool;
    if strict == Some(true) {
        losses.push(loss(format!("{origin}/strict"), LossKind::ToolOption, Effect::Meaning));
    }
    if cache.is_some() {
        losses.push(loss(format!("{origin}/cache_control"), LossKind::CachePoint, Effect::Cost));
    }
    let mut declaration = Members::default();
    declaration.set("name", Some(name));
    declaration.set("description", description);
    declaration.set("parametersJsonSchema", schema);
    declaration.value()
}

fn set_sampling(config: &mut Members, sampling: Sampling, losses: &mut Losses) {
    let Sampling {
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        logit_bias,
        logprobs,
        top_logprobs,
        choices,
    } = sampling;
    config.set("temperature", temperature);
    config.set("topP", top_p);
    config.set("topK", top_k);
    config.set("candidateCount", choices);
    config.set("frequencyPenalty", frequency_penalty);
    config.set("presencePenalty", presence_penalty);
    let fits = |seed: &i64| i32::try_from(*seed).is_ok();
    if seed.is_some_and(|seed| !fits(&seed)) {
        losses.push(loss("/seed", LossKind::Sampling, Effect::Meaning));
    }
    config.set("seed", seed.filter(fits));
    config.set("responseLogprobs", logprobs);
    config.set("logprobs", top_logprobs);
    if logit_bias.is_some() {
        losses.push(loss("/logit_bias", LossKind::Sampling, Effect::Meaning));
    }
}

fn set_format(config: &mut Members, format: Option<ResponseFormat>, losses: &mut Losses) {
    match format {
        // What happens anyway.
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => config.set("responseMimeType", Some("application/json")),
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            // The schema always holds to the letter.
            for (key, is_lost) in [
                ("name", name.is_some()),
                ("description", description.is_some()),
                ("strict", strict == Some(false)),
            ] {
                if is_lost {
                    let pointer = format!("/response_format/json_schema/{key}");
                    losses.push(loss(pointer, LossKind::ResponseFormat, Effect::Meaning));
                }
            }
            config.set("responseMimeType", Some("application/json"));
            config.set("responseJsonSchema", Some(schema));
        }
        Some(ResponseFormat::Choice(words)) => {
            config.set("responseMimeType", Some("text/x.enum"));
            config.set("responseSchema", Some(object!({"type": "STRING", "enum": words})));
        }
        Some(ResponseFormat::Pattern(pattern)) => {
            // The text comes as JSON, in quotes.
            losses.push(loss("/guided_regex", LossKind::ResponseFormat, Effect::Meaning));
            config.set("responseMimeType", Some("application/json"));
            config.set("responseSchema", Some(object!({"type": "STRING", "pattern": pattern})));
        }
    }
}

/// Labels that the API takes: short texts of small letters, digits, `_` and `-`.
fn encode_labels(labels: Value, losses: &mut Losses) -> Option<Value> {
    let Value::Object(labels) = labels else {
        losses.push(loss("/metadata", LossKind::Metadata, Effect::Cost));
        return None;
    };
    let mut said = Members::default();
    for (key, value) in labels {
        let key = key.as_str();
        let begins = key.starts_with(|first: char| first.is_ascii_lowercase());
        if begins && is_label(&key) && value.as_str().is_some_and(|text| is_label(&text)) {
            said.map.insert(key, value);
        } else {
            let key = key.replace('~', "~0").replace('/', "~1");
            losses.push(loss(format!("/metadata/{key}"), LossKind::Metadata, Effect::Cost));
        }
    }
    (!said.map.is_empty()).then(|| said.value())
}

fn is_label(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    text.len() <= LABEL_CHARACTERS_MAX && text.bytes().all(is_fit)
}

/// `auto` leaves it to the provider; the tier that is not bought is `standard` there.
fn encode_service_tier(tier: &str, losses: &mut Losses) -> Option<&'static str> {
    match tier {
        "auto" => None,
        "default" | "standard_only" => Some("standard"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        _ => {
            losses.push(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
            None
        }
    }
}
