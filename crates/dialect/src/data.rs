//! Data inside of JSON: `data:` URIs (RFC 2397) and base64 (RFC 4648).

/// The parts of a `data:` URI with base64 content: media type and data.
pub(crate) fn data_uri(uri: &str) -> Option<(String, String)> {
    let (head, data) = uri.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let essence = media_type.split(';').next().unwrap_or_default();
    Some((essence.to_owned(), data.to_owned()))
}

/// The text that is written in base64; nothing where it is none.
pub(crate) fn base64_text(base64: &str) -> Option<String> {
    let digits = base64.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        // Two digits hold one byte, three hold two; one alone holds none.
        match group.len() {
            4 => bytes.extend(bits.to_be_bytes().get(1..)?),
            3 => bytes.extend((bits >> 2).to_be_bytes().get(2..)?),
            2 => bytes.extend((bits >> 4).to_be_bytes().get(3..)?),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_vectors_of_the_rfc() {
        for (base64, text) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("w6k=", Some("\u{e9}")),
            ("Z", None),
            ("Zm9 v", None),
            ("/w==", None),
        ] {
            assert_eq!(base64_text(base64).as_deref(), text, "{base64}");
        }
    }
}
