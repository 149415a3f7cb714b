//! Points in time as Kubernetes writes them (RFC 3339).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A point in time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Reads a date and time such as `2025-01-31T12:00:00Z` or `2025-01-31T14:00:00.5+02:00`; drops fractions.
    ///
    /// # Errors
    /// When it is not a date and time of RFC 3339.
    pub fn parse(text: &str) -> Result<Self, String> {
        unix_seconds(text).map(Self).ok_or_else(|| {
            format!("{text:?} is not a date and time: expected a text such as \"2025-01-31T12:00:00Z\"")
        })
    }

    /// Seconds since 1970 in UTC.
    pub fn unix_seconds(self) -> i64 {
        self.0
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

fn unix_seconds(text: &str) -> Option<i64> {
    let text = text.is_ascii().then(|| text.to_ascii_uppercase())?;
    let (date, time) = text.split_once('T')?;
    let (year, month, day) = (field(date, 0, 4)?, field(date, 5, 2)?, field(date, 8, 2)?);
    let (hour, minute, second) = (field(time, 0, 2)?, field(time, 3, 2)?, field(time, 6, 2)?);
    let punctuated = date.len() == 10
        && date.as_bytes().get(4) == Some(&b'-')
        && date.as_bytes().get(7) == Some(&b'-')
        && time.as_bytes().get(2) == Some(&b':')
        && time.as_bytes().get(5) == Some(&b':');
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !punctuated || !in_range {
        return None;
    }
    let offset = offset_seconds(time.get(8..)?)?;
    Some(days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

/// The offset from UTC in what follows the seconds: an optional fraction, then `Z` or `+hh:mm`.
fn offset_seconds(rest: &str) -> Option<i64> {
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (field(zone, 1, 2)?, field(zone, 4, 2)?);
    let well_formed = zone.len() == 6 && zone.as_bytes().get(3) == Some(&b':') && hours < 24 && minutes < 60;
    well_formed.then_some(sign * (hours * 3_600 + minutes * 60))
}

fn field(text: &str, start: usize, length: usize) -> Option<i64> {
    let digits = text.get(start..start + length)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that leap days come last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_and_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2025-01-31T14:00:00.5+02:00", 1_738_324_800),
            ("1969-12-31t23:59:59z", -1),
            ("2100-03-01T00:00:00-00:30", 4_107_544_200),
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::unix_seconds), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_date_and_time() {
        for text in [
            "",
            "2025-01-31",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-31 00:00:00Z",
            "2025-01-31T00:00:00",
            "2025-01-31T24:00:00Z",
            "2025-01-31T00:00:00.Z",
            "2025-01-31T00:00:00+2:00",
            "2025-01-31T00:00:00Zx",
            "+025-01-31T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
