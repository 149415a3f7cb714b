//! Numbers of bytes as Kubernetes quantities: `32Ki`, `50Mi`, `1M`, or a plain number.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// What Kubernetes accepts of a quantity, without exponents and fractions of a unit below one.
pub(crate) const QUANTITY: &str = "^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$";

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Reads a quantity; a fraction of a byte counts as one byte more, as Kubernetes rounds.
    ///
    /// # Errors
    /// When it is not a number with an optional unit, or does not fit in 64 bits.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a size: expected a quantity such as \"50Mi\" or \"32768\"");
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits).ok_or_else(invalid)?;
        let factor: u128 = match unit {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(invalid()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.len() > 12 || fraction.is_empty() || whole.len() > 20 {
            return Err(invalid());
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| invalid())?);
        let whole: u128 = whole.parse().map_err(|_| invalid())?;
        let fraction: u128 = fraction.parse().map_err(|_| invalid())?;
        let bytes = whole * factor + (fraction * factor).div_ceil(scale);
        u64::try_from(bytes).map(Self).map_err(|_| invalid())
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Quantity {
            Number(u64),
            Text(String),
        }
        match Quantity::deserialize(deserializer)? {
            Quantity::Number(bytes) => Ok(Self(bytes)),
            Quantity::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quantities() {
        for (text, bytes) in [
            ("0", 0),
            ("32768", 32_768),
            ("50Mi", 52_428_800),
            ("1k", 1_000),
            ("1.5Ki", 1_536),
            ("0.1Ki", 103),
        ] {
            assert_eq!(ByteSize::parse(text).map(ByteSize::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number_of_bytes() {
        for text in ["", "Mi", "1mi", "-1", "1.", "99999999999Ti", "1e3", "50 Mi", "1..2"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }
}
