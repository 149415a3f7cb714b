//! Reasoning that only its provider can read, on its way through this dialect and back.
//!
//! The dialect has no element for it, but clients give the signature of a thought back as it was. So it is a thought without a text, whose
//! signature holds the data. Clients read signatures as base64 and write them again, and the data may be any text: it is encoded once more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tollgate_chat::BlockKind;
use tollgate_wire::json::{Text, Value};

use crate::data::base64_text;
use crate::fields::object;

/// What stands before the data: `redacted_thinking:` in base64, whose length is a multiple of three, so that it can be told by its beginning.
const MARK: &str = "cmVkYWN0ZWRfdGhpbmtpbmc6";

/// The part of an answer.
pub(super) fn encode(data: &Text) -> Value {
    let signature = format!("{MARK}{}", STANDARD.encode(data.as_str().as_bytes()));
    object!({"text": "", "thought": true, "thoughtSignature": signature})
}

/// What comes back with the signature, if it is one of ours.
pub(super) fn decode(signature: &Text) -> Option<BlockKind> {
    let data = base64_text(signature.as_str().strip_prefix(MARK)?)?;
    Some(BlockKind::RedactedThinking { data: data.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gemini::is_signature;

    proptest! {
        #[test]
        fn comes_back_unharmed(data in ".{0,40}", signature in "[A-Za-z0-9+/]{4}") {
            let data = Text::from(data);
            let said = encode(&data);
            let told = said.get("thoughtSignature").and_then(Value::as_text).expect("a signature");
            prop_assert!(is_signature(told));
            prop_assert_eq!(decode(told), Some(BlockKind::RedactedThinking { data }));
            prop_assert_eq!(decode(&signature.into()), None);
        }
    }
}
