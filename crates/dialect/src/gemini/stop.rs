//! Why a candidate ended.
//!
//! Source: `google.genai.types.FinishReason` and `BlockedReason`.

use tollgate_chat::{Effect, LossKind, Losses, StopReason};

use crate::fields::loss;

/// What the model called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Called {
    #[default]
    Nothing,
    Functions,
}

/// Reasons that the hub has no word for.
const OTHERS: [&str; 15] = [
    "OTHER",
    "RECITATION",
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "IMAGE_RECITATION",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "CONTINUATION",
    "FINISH_REASON_UNSPECIFIED",
];

/// The reason; the API tells no other one after calls.
pub(super) fn stop_reason(word: Option<&str>, called: Called) -> StopReason {
    match (word, called) {
        (None | Some("STOP"), Called::Functions) => StopReason::ToolUse,
        (None | Some("STOP"), Called::Nothing) => StopReason::EndOfTurn,
        (Some("MAX_TOKENS"), _) => StopReason::OutputLimit,
        (
            Some(
                "SAFETY"
                | "BLOCKLIST"
                | "PROHIBITED_CONTENT"
                | "SPII"
                | "MODEL_ARMOR"
                | "IMAGE_SAFETY"
                | "IMAGE_PROHIBITED_CONTENT",
            ),
            _,
        ) => StopReason::Refusal,
        (Some(other), _) => StopReason::Other(other.to_owned()),
    }
}

/// The word for a reason.
pub(super) fn finish_reason(stop: StopReason, losses: &mut Losses) -> &'static str {
    let mut lose = || losses.push(loss("/stop_reason", LossKind::StopReason, Effect::Meaning));
    match stop {
        StopReason::EndOfTurn | StopReason::ToolUse | StopReason::StopSequence(None) => "STOP",
        StopReason::StopSequence(Some(_)) => {
            losses.push(loss("/stop_sequence", LossKind::StopReason, Effect::Meaning));
            "STOP"
        }
        StopReason::OutputLimit | StopReason::ContextLimit => "MAX_TOKENS",
        StopReason::Refusal => "SAFETY",
        StopReason::Pause => {
            lose();
            "STOP"
        }
        StopReason::Other(word) => OTHERS.into_iter().find(|known| *known == word).unwrap_or_else(|| {
            lose();
            "OTHER"
        }),
    }
}
