//! The `date` of responses, written once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock;

/// How long every date of HTTP is (RFC 9110 section 5.6.7).
const BYTES: usize = 29;

/// The date, as of the second that it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Date(Mutex<(u64, [u8; BYTES])>);

impl Date {
    /// The date of now.
    pub(crate) fn now(&self) -> [u8; BYTES] {
        let second = clock::unix_ms() / 1000;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *known = (second, text.as_bytes().try_into().unwrap_or([b' '; BYTES]));
        }
        known.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_date_of_http() {
        let date = Date::default();
        let text = String::from_utf8(date.now().to_vec()).expect("text");
        assert!(httpdate::parse_http_date(&text).is_ok(), "{text}");
    }
}
