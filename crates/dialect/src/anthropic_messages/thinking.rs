//! `thinking`, the wish for reasoning. OpenAI-compatible servers have borrowed it.
//!
//! Source: `anthropic.types.ThinkingConfigParam`.

use tollgate_chat::{Losses, Thinking};
use tollgate_wire::json::Value;

use crate::Invalid;
use crate::fields::{Fields, Members, wrong};

/// Reads the object.
pub(crate) fn decode_thinking(mut fields: Fields, losses: &mut Losses) -> Result<Thinking, Invalid> {
    let display = fields.text("display")?;
    let thinking = match fields.needed_text("type")?.as_str() {
        "enabled" => Thinking::Enabled { budget_tokens: fields.count("budget_tokens")?, display },
        "adaptive" => Thinking::Adaptive { display },
        "between_tools" => Thinking::BetweenTools,
        "disabled" => Thinking::Disabled,
        other => {
            return Err(wrong(
                fields.at("type"),
                "enabled, adaptive, between_tools or disabled",
                &Value::from(other),
            ));
        }
    };
    fields.lose_rest(losses);
    Ok(thinking)
}

/// Says the object.
pub(crate) fn encode_thinking(thinking: Thinking) -> Value {
    let mut members = Members::default();
    match thinking {
        Thinking::Enabled { budget_tokens, display } => {
            members.set("type", Some("enabled"));
            members.set("budget_tokens", budget_tokens);
            members.set("display", display);
        }
        Thinking::Adaptive { display } => {
            members.set("type", Some("adaptive"));
            members.set("display", display);
        }
        Thinking::BetweenTools => members.set("type", Some("between_tools")),
        Thinking::Disabled => members.set("type", Some("disabled")),
    }
    members.value()
}
