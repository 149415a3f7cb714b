//! Days of the calendar, in UTC.

const DAY_MS: u64 = 86_400_000;

/// The day of a time, as `2026-11-25`.
pub(crate) fn day_of(milliseconds: u64) -> String {
    let (year, month, day) = civil(milliseconds / DAY_MS);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The time that `2026-11-25` or `2026-11-25T10:20:30Z` names.
pub(super) fn milliseconds_of(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days = (0..year).contains(&1969).then(|| days_until(year, month)).flatten()?;
    if day < 1 || day_of(days * DAY_MS).get(..7) != date.get(..7) {
        return None;
    }
    let days = days + day - 1;
    // The 31st of a month of 30 days is in the next one.
    if day_of(days * DAY_MS) != date {
        return None;
    }
    let [hours, minutes, seconds] = time.map_or(Some([0, 0, 0]), |time| numbers(time, ':', [2, 2, 2]))?;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(days * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1000)
}

/// Three numbers with so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from the epoch to the first of a month.
fn days_until(year: u64, month: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = BEFORE.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    // A leap day counts for the months behind it.
    let last = if month > 2 { year } else { year - 1 };
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    Some((year - 1970) * 365 + leap_days(last) - leap_days(1969) + before)
}

/// Year, month and day of a day since the epoch: Howard Hinnant's `civil_from_days`, in which years begin in March and come in eras of
/// 400.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_they_are_written() {
        for day in 0..60_000 {
            let milliseconds = day * DAY_MS;
            let text = day_of(milliseconds + DAY_MS - 1);
            assert_eq!(milliseconds_of(&text), Some(milliseconds), "{text}");
        }
        assert_eq!(milliseconds_of("2025-12-31T23:59:59Z"), Some(1_767_225_599_000));
    }

    #[test]
    fn what_is_no_day_is_not_read() {
        let wrong = [
            "",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-00-01",
            "2026-11-00",
            "2026-11-31",
            "2025-02-29",
            "1969-12-31",
            "26-11-01",
            "2026-11-01T",
            "2026-11-01T24:00:00Z",
            "2026-11-01T10:00:00",
            "2026-11-01T10:00Z",
            "2026-11-01 10:00:00Z",
            "+026-11-01",
        ];
        for text in wrong {
            assert_eq!(milliseconds_of(text), None, "{text}");
        }
    }
}
