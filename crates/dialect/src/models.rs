//! Lists of models, in each dialect's own shape.

use bytes::Bytes;
use serde::Serialize;
use tollgate_terms::Dialect;

/// A model that clients can ask for.
#[derive(Debug, Clone, Copy)]
pub struct ModelEntry<'a> {
    /// Its name.
    pub id: &'a str,
    /// Who owns it.
    pub owned_by: &'a str,
    /// When it was made available, Unix seconds.
    pub created_s: u64,
}

#[derive(Serialize)]
struct OpenAiModel<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'static str,
    data: Vec<OpenAiModel<'a>>,
}

#[derive(Serialize)]
struct AnthropicModel<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    display_name: &'a str,
    created_at: String,
}

#[derive(Serialize)]
struct AnthropicList<'a> {
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
    data: Vec<AnthropicModel<'a>>,
}

/// All of them.
pub fn encode_models(dialect: Dialect, models: &[ModelEntry<'_>]) -> Bytes {
    if dialect == Dialect::AnthropicMessages {
        return encode(&AnthropicList {
            first_id: models.first().map(|model| model.id),
            last_id: models.last().map(|model| model.id),
            has_more: false,
            data: models.iter().map(anthropic).collect(),
        });
    }
    encode(&OpenAiList { object: "list", data: models.iter().map(openai).collect() })
}

/// One of them.
pub fn encode_model(dialect: Dialect, model: &ModelEntry<'_>) -> Bytes {
    if dialect == Dialect::AnthropicMessages { encode(&anthropic(model)) } else { encode(&openai(model)) }
}

fn openai<'a>(model: &ModelEntry<'a>) -> OpenAiModel<'a> {
    OpenAiModel { id: model.id, object: "model", created: model.created_s, owned_by: model.owned_by }
}

fn anthropic<'a>(model: &ModelEntry<'a>) -> AnthropicModel<'a> {
    AnthropicModel {
        id: model.id,
        kind: "model",
        display_name: model.id,
        created_at: rfc3339(model.created_s),
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// A moment in RFC 3339, UTC. Days to a date as in H. Hinnant's "chrono-compatible low-level date algorithms".
fn rfc3339(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_rfc_3339() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(unix_s), text);
        }
    }
}
