//! Ids of exchanges: random UUIDs (RFC 9562, version 4).

use std::sync::Arc;

/// A fresh id of an exchange.
pub fn request_id() -> Arc<str> {
    let random: u128 = rand::random();
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut nibble = 32_u32;
    for (position, byte) in text.iter_mut().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            continue;
        }
        nibble -= 1;
        let value = u8::try_from((bits >> (nibble * 4)) & 0xf).unwrap_or_default();
        *byte = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    String::from_utf8_lossy(&text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_version_4_uuids() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(id, request_id());
    }
}
