//! Durations as Gateway API writes them (GEP-2257): a subset of Go's, such as `1h30m` or `250ms`.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The grammar of GEP-2257: one to four numbers of up to five digits, each with a unit.
pub(crate) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration in the syntax of Gateway API. Zero is a value of its own: where it bounds something, it lifts the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GatewayDuration(Duration);

impl GatewayDuration {
    /// Reads a duration.
    ///
    /// # Errors
    /// When it is not one to four numbers of up to five digits, each followed by `h`, `m`, `s` or `ms`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a duration: expected a text such as \"90s\" or \"1h30m\"");
        let mut rest = text;
        let mut total = Duration::ZERO;
        let mut terms = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or_else(invalid)?;
            let unit: String = tail.chars().take_while(char::is_ascii_alphabetic).collect();
            let milliseconds: u64 = match unit.as_str() {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(invalid()),
            };
            terms += 1;
            if !(1..=5).contains(&digits) || terms > 4 {
                return Err(invalid());
            }
            let number: u64 = number.parse().map_err(|_| invalid())?;
            total += Duration::from_millis(number * milliseconds);
            rest = tail.get(unit.len()..).ok_or_else(invalid)?;
        }
        if terms == 0 { Err(invalid()) } else { Ok(Self(total)) }
    }

    /// How long it is.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for GatewayDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<GatewayDuration> for String {
    fn from(duration: GatewayDuration) -> Self {
        let (seconds, milliseconds) = (duration.0.as_secs(), duration.0.subsec_millis());
        let terms = [(seconds / 3600, "h"), (seconds % 3600 / 60, "m"), (seconds % 60, "s")];
        let mut text: String =
            terms.iter().filter(|term| term.0 > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
        if milliseconds > 0 {
            text.push_str(&format!("{milliseconds}ms"));
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

impl JsonSchema for GatewayDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The bound says nothing new; Kubernetes needs it to know what rules on a duration cost at most.
        json_schema!({ "type": "string", "pattern": DURATION, "maxLength": 28 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_gep_2257() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("0h0m0s", 0),
            ("1h30m", 5_400_000),
            ("30m1h", 5_400_000),
            ("10s30m1h", 5_410_000),
            ("99999ms", 99_999),
            ("1ms2s", 2_001),
        ] {
            assert_eq!(GatewayDuration::parse(text).map(|parsed| parsed.get().as_millis()), Ok(milliseconds));
        }
    }

    #[test]
    fn refuses_what_gep_2257_does_not_allow() {
        for text in ["", "1", "1d", "1h30", "1.5h", "-1s", "1h1m1s1ms1h", "100000s", "s", " 1s", "1S", "٣s"]
        {
            assert!(GatewayDuration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_would_read() {
        for text in ["0s", "1h30m", "2s250ms", "15ms"] {
            assert_eq!(GatewayDuration::parse(text).map(String::from).as_deref(), Ok(text));
        }
    }
}
