//! Data inside of JSON: `data:` URIs (RFC 2397) and base64 (RFC 4648).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tollgate_wire::json::Text;

/// The parts of a `data:` URI with base64 content: media type and data.
pub(crate) fn data_uri(uri: &str) -> Option<(String, Text)> {
    let (head, data) = uri.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let essence = media_type.split(';').next().unwrap_or_default();
    Some((essence.to_owned(), data.into()))
}

/// Bits of a last digit that belong to no byte are let be, and padding is taken off before.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Base64 in the alphabet that most dialects know, of a text in either.
pub(crate) fn standard_base64(text: Text) -> Text {
    let read = text.as_str();
    if read.contains(['-', '_']) { read.replace('-', "+").replace('_', "/").into() } else { text }
}

/// Whether a text is base64 as everybody reads it back to the same text: the usual alphabet, padded, no bit left over.
pub(crate) fn is_canonical_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

/// The text that is written in base64, in either alphabet; nothing where it is none.
pub(crate) fn base64_text(base64: &str) -> Option<String> {
    let digits = base64.trim_end_matches('=').replace('-', "+").replace('_', "/");
    String::from_utf8(base64_bytes(&digits)?).ok()
}

/// The bytes that are written in base64, in the alphabet of RFC 4648 section 4; nothing where there are none.
pub(crate) fn base64_bytes(base64: &str) -> Option<Vec<u8>> {
    ENGINE.decode(base64.trim_end_matches('=')).ok()
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
            ("Zm8_", Some("fo?")),
            ("fn5-", Some("~~~")),
            ("Zh", Some("f")),
            ("Z", None),
            ("Zm9 v", None),
            ("/w==", None),
        ] {
            assert_eq!(base64_text(base64).as_deref(), text, "{base64}");
        }
    }
}
