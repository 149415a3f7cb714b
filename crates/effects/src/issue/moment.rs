//! Points in time as services of tokens write them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Reads a date and time of RFC 3339 in UTC, such as `2026-01-31T12:00:00Z`; drops fractions of a second.
///
/// Google (protobuf's JSON mapping of `Timestamp`) and AWS write no other offset. `None` for anything else.
pub fn read_moment(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !in_range || !is_fraction {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The same the other way round, in whole seconds; what is before 1970 is its beginning.
pub(super) fn write_moment(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(since)
        .ok()
        .and_then(|since| Timestamp::from_second(since).ok())
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// Three numbers of fixed length, with `mark` between them.
fn numbers(text: &str, mark: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(mark);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let digits = parts.next().filter(|part| part.len() == length)?;
        *number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that leap days come last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_and_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-12-31T00:00:00Z", 1_735_603_200),
            ("2025-01-31T12:00:00.5Z", 1_738_324_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(read_moment(text), Some(expected), "{text}");
            assert_eq!(write_moment(expected), text.replace(".5", ""));
        }
    }

    #[test]
    fn refuses_what_is_no_date_and_time() {
        for text in [
            "",
            "2025-01-31",
            "2025-13-01T00:00:00Z",
            "2025-01-31 00:00:00Z",
            "2025-01-31T00:00:00",
            "2025-01-31T24:00:00Z",
            "2025-01-31T00:00:00.Z",
            "2025-01-31T00:00:00+02:00",
            "+025-01-31T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2025-01-01-01T00:00:00Z",
        ] {
            assert_eq!(read_moment(text), None, "{text}");
        }
    }
}
