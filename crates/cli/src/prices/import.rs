//! Catalogs of others, made into ours: the data of genai-prices, and the `api.json` of models.dev.
//!
//! Only providers that the shipped catalog knows are taken: it says which backends they serve.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tollgate_config::prices::Catalog;

/// Digits after the point of a rate; what is finer is rounded up.
const DIGITS: usize = 6;

/// Names of our rates, in genai-prices and in models.dev.
const RATES: [(&str, &str, &str); 5] = [
    ("input", "input_mtok", "input"),
    ("cached_input", "cache_read_mtok", "cache_read"),
    ("cache_write", "cache_write_mtok", "cache_write"),
    ("output", "output_mtok", "output"),
    ("reasoning", "output_reasoning_mtok", "reasoning"),
];

/// Tokens of genai-prices that backends do not tell apart from those of text.
const UNTOLD: [&str; 4] =
    ["output_audio_mtok", "output_image_mtok", "output_video_mtok", "output_citation_mtok"];

/// Providers that models.dev calls otherwise.
const OTHERWISE: [(&str, &str); 5] = [
    ("amazon-bedrock", "aws"),
    ("google-vertex", "google"),
    ("fireworks-ai", "fireworks"),
    ("togetherai", "together"),
    ("xai", "x-ai"),
];

/// A catalog in our format: the text itself if it is one, else made from that of somebody else, as it holds on the day `today` and
/// later.
///
/// # Errors
/// When it is in no format that is known.
pub(super) fn import(text: &str, shipped: &Catalog, today: &str) -> Result<String> {
    let written: Value = serde_json::from_str(text).context("is no JSON")?;
    let (source, providers) = match &written {
        Value::Object(members) if members.contains_key("format") => return Ok(text.to_owned()),
        Value::Array(providers) => ("genai-prices", genai_prices(providers, shipped, today)?),
        Value::Object(providers) => ("models.dev", models_dev(providers, shipped)?),
        _ => bail!("is no catalog of prices"),
    };
    if providers.is_empty() {
        bail!("has no provider that the gateway knows");
    }
    let catalog = json!({"format": 1, "source": source, "providers": providers});
    Ok(serde_json::to_string_pretty(&catalog)? + "\n")
}

fn is_known(shipped: &Catalog, id: &str) -> bool {
    shipped.models().any(|(provider, _)| provider == id)
}

fn genai_prices(providers: &[Value], shipped: &Catalog, today: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for provider in providers {
        let id = provider["id"].as_str().context("a provider has no id")?;
        if !is_known(shipped, id) {
            continue;
        }
        let models =
            provider["models"].as_array().with_context(|| format!("provider {id:?} has no models"))?;
        let model = |written: &Value| {
            genai_model(written, today).with_context(|| format!("provider {id:?}, model {}", written["id"]))
        };
        let models = models.iter().map(model).collect::<Result<Vec<_>>>()?;
        found.push(json!({"id": id, "models": models}));
    }
    Ok(found)
}

/// A model of genai-prices. One without a price that is of use hides those below it all the same.
fn genai_model(written: &Value, today: &str) -> Result<Value> {
    let mut model = json!({"id": written["id"], "match": [pattern(&written["match"])?], "price": null});
    let whole = [json!({"prices": written["prices"]})];
    let prices = written["prices"].as_array().map_or(&whole[..], Vec::as_slice);
    let (mut base, mut changes) = (None, Vec::new());
    for entry in prices {
        let Some(price) = genai_price(&entry["prices"])? else { return Ok(model) };
        let begun = |change: &Map<String, Value>| {
            change.get("from").and_then(Value::as_str).is_some_and(|day| day <= today)
        };
        match when(&entry["constraint"])?.filter(|change| !begun(change)) {
            // The first is what holds when nothing else does; what holds always hides what was before.
            None => (base, changes) = (Some(price), Vec::new()),
            Some(mut change) => {
                base.get_or_insert_with(|| price.clone());
                change.insert("price".to_owned(), price);
                changes.push(Value::Object(change));
            }
        }
    }
    model["price"] = base.unwrap_or_default();
    if !changes.is_empty() {
        model["changes"] = changes.into();
    }
    Ok(model)
}

fn genai_price(written: &Value) -> Result<Option<Value>> {
    let Some(members) = written.as_object() else { return Ok(None) };
    let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
    if !has("input_mtok") || UNTOLD.iter().any(|name| has(name)) {
        return Ok(None);
    }
    let mut price = Map::new();
    let mut tiers: std::collections::BTreeMap<u64, Map<String, Value>> = Default::default();
    for (ours, theirs, _) in RATES {
        match members.get(theirs) {
            None | Some(Value::Null) => {}
            Some(Value::Object(tiered)) => {
                price.insert(ours.to_owned(), rate(&tiered["base"])?);
                for tier in tiered["tiers"].as_array().into_iter().flatten() {
                    let start = tier["start"].as_u64().context("a tier has no start")?;
                    tiers.entry(start).or_default().insert(ours.to_owned(), rate(&tier["price"])?);
                }
            }
            Some(amount) => {
                price.insert(ours.to_owned(), rate(amount)?);
            }
        }
    }
    price.entry("output").or_insert_with(|| json!("0"));
    if let Some(thousand) = members.get("requests_kcount").and_then(Value::as_f64) {
        price.insert("request".to_owned(), json!(format!("{:.12}", thousand / 1000.0)));
    }
    add_tiers(&mut price, tiers);
    Ok(Some(Value::Object(price)))
}

/// Adds tiers. A rate that does not change at one is still that of the tier before.
fn add_tiers(price: &mut Map<String, Value>, tiers: std::collections::BTreeMap<u64, Map<String, Value>>) {
    let mut merged = Map::new();
    let mut list = Vec::new();
    for (start, rates) in tiers {
        merged.extend(rates);
        let mut tier = merged.clone();
        tier.insert("over".to_owned(), json!(start));
        list.push(Value::Object(tier));
    }
    if !list.is_empty() {
        price.insert("tiers".to_owned(), list.into());
    }
}

/// When a price holds; `None` if always.
fn when(written: &Value) -> Result<Option<Map<String, Value>>> {
    let text = |name: &str| written[name].as_str();
    let minute = |text: &str| {
        let is_utc = text.ends_with('Z') || text.ends_with("+00:00") || !text.contains('+');
        let minute = text.get(..5).filter(|_| is_utc);
        minute.map(str::to_owned).with_context(|| format!("{text:?} is no time of day in UTC"))
    };
    let change = match (text("start_date"), text("start_time"), text("end_time")) {
        (Some(day), None, None) => json!({"from": day}),
        (None, Some(from), Some(to)) => json!({"daily": {"from": minute(from)?, "to": minute(to)?}}),
        (None, None, None) => return Ok(None),
        _ => bail!("a price holds under a condition that is not known"),
    };
    Ok(change.as_object().cloned())
}

/// A condition on a name.
fn pattern(written: &Value) -> Result<Value> {
    let (kind, value) = written
        .as_object()
        .and_then(|members| members.iter().next())
        .context("expected a condition on the name of a model")?;
    let all = |value: &Value| {
        let list = value.as_array().context("expected a list of conditions")?;
        list.iter().map(pattern).collect::<Result<Vec<_>>>()
    };
    Ok(match kind.as_str() {
        "equals" | "starts_with" | "ends_with" | "contains" => written.clone(),
        "or" => json!({"any": all(value)?}),
        "and" => json!({"all": all(value)?}),
        "regex" => regex(value.as_str().unwrap_or_default()),
        other => bail!("the condition {other:?} is not known"),
    })
}

/// An expression without looking ahead, which cannot be matched in linear time, where that is all that it does.
fn regex(text: &str) -> Value {
    let ahead = text.strip_prefix("^(?!").and_then(|rest| rest.strip_suffix(')'));
    match ahead {
        Some(inside) => json!({"not": {"regex": format!("^(?:{inside})")}}),
        None => json!({"regex": text}),
    }
}

fn models_dev(providers: &Map<String, Value>, shipped: &Catalog) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for (id, provider) in providers {
        let ours = OTHERWISE.iter().find(|(theirs, _)| theirs == id).map_or(id.as_str(), |(_, ours)| ours);
        let Some(models) = provider["models"].as_object().filter(|_| is_known(shipped, ours)) else {
            continue;
        };
        let mut priced = Vec::new();
        for (model, about) in models {
            let price = models_dev_price(&about["cost"]);
            let price = price.with_context(|| format!("provider {id:?}, model {model:?}"))?;
            priced.extend(price.map(|price| json!({"id": model, "price": price})));
        }
        found.push(json!({"id": ours, "models": priced}));
    }
    Ok(found)
}

fn models_dev_price(cost: &Value) -> Result<Option<Value>> {
    let Some(members) = cost.as_object() else { return Ok(None) };
    let rates = |members: &Map<String, Value>| {
        let mut rates = Map::new();
        for (ours, _, theirs) in RATES {
            if let Some(amount) = members.get(theirs) {
                rates.insert(ours.to_owned(), rate(amount)?);
            }
        }
        anyhow::Ok(rates)
    };
    let mut price = rates(members)?;
    if !price.contains_key("input") || !price.contains_key("output") {
        return Ok(None);
    }
    let mut tiers = std::collections::BTreeMap::new();
    if let Some(long) = members.get("context_over_200k").and_then(Value::as_object) {
        tiers.insert(200_000, rates(long)?);
    }
    for tier in members.get("tiers").and_then(Value::as_array).into_iter().flatten() {
        let size = tier["tier"]["size"].as_u64().context("a tier has no size")?;
        tiers.insert(size, rates(tier.as_object().context("a tier has no rates")?)?);
    }
    add_tiers(&mut price, tiers);
    Ok(Some(Value::Object(price)))
}

/// A rate in dollars for a million tokens, with as many digits as we have.
fn rate(amount: &Value) -> Result<Value> {
    let number = match amount {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let number: f64 =
        number.filter(|number| *number >= 0.0).with_context(|| format!("{amount} is no rate"))?;
    // What a double adds to the digits that were meant begins far behind these nine.
    let digits = format!("{number:.9}");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let (kept, rest) = fraction.split_at(DIGITS);
    let units: u64 = format!("{whole}{kept}").parse().with_context(|| format!("{amount} is no rate"))?;
    let units = units + u64::from(rest.bytes().any(|digit| digit != b'0'));
    let million = 10_u64.pow(6);
    let text = format!("{}.{:0DIGITS$}", units / million, units % million);
    Ok(json!(text.trim_end_matches('0').trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str) -> Value {
        let shipped = Catalog::shipped().expect("a catalog");
        let ours = import(text, &shipped, "2026-11-25").expect("imported");
        Catalog::parse(&ours).expect("a catalog of ours");
        serde_json::from_str(&ours).expect("JSON")
    }

    #[test]
    fn rates_are_rounded_up_but_not_by_what_a_double_adds() {
        for (written, expected) in [
            (json!(0.15), "0.15"),
            (json!(0.139_999_999_999_999_99), "0.14"),
            (json!(0.180_000_000_000_000_02), "0.18"),
            (json!(0.083_333_333), "0.083334"),
            (json!("2.50"), "2.5"),
            (json!(75), "75"),
            (json!(0), "0"),
        ] {
            assert_eq!(rate(&written).expect("a rate"), json!(expected));
        }
        assert!(rate(&json!(-1)).is_err() && rate(&json!(null)).is_err());
    }

    #[test]
    fn genai_prices_are_taken_with_tiers_times_and_conditions() {
        let text = r#"[{"id": "nobody", "models": []}, {"id": "deepseek", "models": [
            {"id": "a", "match": {"or": [{"equals": "a"}, {"and": [{"starts_with": "a-"}, {"regex": "^(?!.*-tts)"}]}]},
             "prices": {"input_mtok": {"base": 1.5, "tiers": [{"start": 200000, "price": 3}]}, "output_mtok": 6, "requests_kcount": 5}},
            {"id": "b", "match": {"contains": "b"}, "prices": [
                {"prices": {"input_mtok": 1, "output_mtok": 2}},
                {"constraint": {"start_date": "2026-11-25"}, "prices": {"input_mtok": 1.2, "output_mtok": 2}},
                {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": 2, "output_mtok": 4}},
                {"constraint": {"start_time": "16:30:00Z", "end_time": "00:30:00Z"}, "prices": {"input_mtok": 0.5, "output_mtok": 1}}]},
            {"id": "c", "match": {"equals": "c"}, "prices": {"input_mtok": 1, "output_audio_mtok": 2}}]}]"#;
        let expected = json!([{"id": "deepseek", "models": [
            {"id": "a", "match": [{"any": [{"equals": "a"}, {"all": [{"starts_with": "a-"}, {"not": {"regex": "^(?:.*-tts)"}}]}]}],
             "price": {"input": "1.5", "output": "6", "request": "0.005000000000", "tiers": [{"input": "3", "over": 200_000}]}},
            {"id": "b", "match": [{"contains": "b"}], "price": {"input": "1.2", "output": "2"}, "changes": [
                {"from": "2026-12-01", "price": {"input": "2", "output": "4"}},
                {"daily": {"from": "16:30", "to": "00:30"}, "price": {"input": "0.5", "output": "1"}}]},
            {"id": "c", "match": [{"equals": "c"}], "price": null}]}]);
        assert_eq!(imported(text)["providers"], expected);
    }

    #[test]
    fn models_dev_is_taken_with_its_long_contexts() {
        let text = r#"{"nobody": {"models": {}}, "xai": {"id": "xai", "models": {
            "grok-9": {"cost": {"input": 3, "output": 15, "cache_read": 0.75, "context_over_200k": {"input": 6, "output": 30}}},
            "grok-free": {"name": "no cost"}}}}"#;
        let expected = json!([{"id": "x-ai", "models": [{"id": "grok-9", "price":
            {"input": "3", "cached_input": "0.75", "output": "15", "tiers": [{"input": "6", "output": "30", "over": 200_000}]}}]}]);
        assert_eq!(imported(text)["providers"], expected);
    }

    #[test]
    fn what_is_no_catalog_is_refused() {
        let shipped = Catalog::shipped().expect("a catalog");
        for text in ["", "1", "{}", "[]", "[{}]", r#"[{"id": "openai"}]"#] {
            assert!(import(text, &shipped, "2026-11-25").is_err(), "{text}");
        }
    }
}
