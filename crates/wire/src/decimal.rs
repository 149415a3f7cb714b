//! Numbers as text, without an allocation or the formatter: they stand in heads and pointers of every request.

/// A number as text.
pub struct Decimal {
    digits: [u8; 20],
    begin: usize,
}

impl Decimal {
    /// The digits of `number`, without leading zeros.
    pub fn new(mut number: u64) -> Self {
        let mut decimal = Self { digits: [b'0'; 20], begin: 20 };
        for digit in decimal.digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            decimal.begin -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        decimal
    }

    /// The text: ASCII digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.begin..).unwrap_or_default()
    }

    /// The same as a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers() {
        for number in [0, 7, 10, 1234, 1_000_000_000_000, u64::MAX] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
            assert_eq!(Decimal::new(number).as_str(), number.to_string());
        }
    }
}
