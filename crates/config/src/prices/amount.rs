//! Amounts of money as people write them: decimal numbers, read without a float in between.

/// What an amount is a multiple of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Dollars for a million tokens; a millionth of it for a million tokens is a picodollar for one.
    PerMillion,
    /// Dollars.
    Whole,
}

impl Unit {
    fn fraction_digits(self) -> usize {
        match self {
            Self::PerMillion => 6,
            Self::Whole => 12,
        }
    }
}

/// The amount in picodollars.
///
/// # Errors
/// What is wrong with it.
pub(super) fn picodollars(text: &str, unit: Unit) -> Result<u64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = unit.fraction_digits();
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(format!("{text:?} is no amount: expected a number such as \"2.50\""));
    }
    if fraction.len() > digits {
        return Err(format!("{text:?} has more than {digits} digits after the point"));
    }
    let padded = format!("{whole}{fraction:0<digits$}");
    padded.parse().map_err(|_| format!("{text:?} is too much"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_last_digit() {
        assert_eq!(picodollars("0.15", Unit::PerMillion), Ok(150_000));
        assert_eq!(picodollars("75", Unit::PerMillion), Ok(75_000_000));
        assert_eq!(picodollars("0.000001", Unit::PerMillion), Ok(1));
        assert_eq!(picodollars("0", Unit::PerMillion), Ok(0));
        assert_eq!(picodollars("0.005", Unit::Whole), Ok(5_000_000_000));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".5", "-1", "1e3", "1,5", "NaN", "0.0000001", "99999999999999999999", "1.2.3", " 1"]
        {
            assert!(picodollars(text, Unit::PerMillion).is_err(), "{text}");
        }
    }
}
