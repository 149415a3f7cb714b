//! Times as RFC 3339 writes them, to the second.

/// Days from the first of March of the year 0 to the first of January 1970.
const EPOCH_DAYS: i64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// Unix seconds of a time such as `2026-01-01T00:00:00.123456Z`; nothing where it is none, or has another zone.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    let is_time =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !is_time || year > 9999 {
        return None;
    }
    // Years begin in March here, so that the day that is not always there is their last.
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    let days = era * ERA_DAYS + day_of_era - EPOCH_DAYS;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut words = text.split(between);
    let mut next = || words.next()?.parse::<u16>().ok().map(i64::from);
    let numbers = [next()?, next()?, next()?];
    words.next().is_none().then_some(numbers)
}

/// The time of `seconds` after the beginning of 1970.
pub(super) fn format(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = String::with_capacity(LENGTH);
    for (number, digits, behind) in
        [(year, 4, '-'), (month, 2, '-'), (day, 2, 'T'), (hour, 2, ':'), (minute, 2, ':'), (second, 2, 'Z')]
    {
        let mut buffer = itoa::Buffer::new();
        let written = buffer.format(number);
        text.extend(std::iter::repeat_n('0', digits - written.len().min(digits)));
        text.push_str(written);
        text.push(behind);
    }
    text
}

/// Length of a time.
const LENGTH: usize = "1970-01-01T00:00:00Z".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        assert_eq!(parse("2026-01-01T00:00:00.123456Z"), Some(1_767_225_600));
        for nonsense in ["", "Z", "T", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "-1-1-1T0:0:0Z"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
