//! Telling a client what a translation lost of its request or answer.

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_chat::{Effect, Loss};
use tollgate_config::bundle::OnLoss;
use tollgate_dialect::Invalid;

use crate::headers;

/// With the value `1` a client asks for [`LOSS`].
const EXPLAIN: HeaderName = HeaderName::from_static("x-tollgate-explain");

/// What was lost: a list of kinds, each with where it stood and what the loss changes (RFC 9651).
const LOSS: HeaderName = HeaderName::from_static("x-tollgate-loss");

/// Longest value of [`LOSS`], in bytes.
const LOSS_BYTES_MAX: usize = 4 << 10;

/// Whether the client is told what was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Explain {
    /// It asked for it, or its route wants it.
    Yes,
    /// The record alone tells.
    No,
}

impl Explain {
    pub(crate) fn of(request: &HeaderMap, on_loss: OnLoss) -> Self {
        let asks = headers::text(request, EXPLAIN).is_some_and(|value| value.trim() == "1");
        if asks || on_loss == OnLoss::Warn { Self::Yes } else { Self::No }
    }

    /// Writes the losses into the head of a response, in place of what it said before.
    pub(crate) fn write(self, losses: &[Loss], response: &mut HeaderMap) {
        if self == Self::No || losses.is_empty() {
            return;
        }
        let mut text = String::new();
        for loss in losses {
            let item = item(loss);
            if text.len() + item.len() + 2 > LOSS_BYTES_MAX {
                break;
            }
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&item);
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            response.insert(LOSS, value);
        }
    }
}

fn item(loss: &Loss) -> String {
    let effect = match loss.effect {
        Effect::Cost => "cost",
        Effect::Meaning => "meaning",
    };
    let visible = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
    let pointer: String = loss.pointer.chars().filter(visible).collect();
    let pointer = pointer.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{};at=\"{pointer}\";effect={effect}", loss.kind.label())
}

/// Refuses a request that loses what its answer may depend on, where its route wants that.
///
/// # Errors
/// The 422.
pub(crate) fn check(on_loss: OnLoss, losses: &[Loss]) -> Result<(), Invalid> {
    let mut lost = losses.iter().filter(|loss| loss.effect == Effect::Meaning).map(|loss| &*loss.pointer);
    match (on_loss, lost.next()) {
        (OnLoss::Reject, Some(first)) => {
            let all = lost.fold(first.to_owned(), |all, pointer| format!("{all}, {pointer}"));
            let message = format!("the backend of this model has no words for {all}");
            Err(Invalid::unprocessable(message, first))
        }
        (OnLoss::Reject | OnLoss::Allow | OnLoss::Warn, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_chat::LossKind;

    use super::*;

    fn loss(pointer: &str, effect: Effect) -> Loss {
        Loss { pointer: pointer.to_owned(), kind: LossKind::Sampling, effect }
    }

    #[test]
    fn tells_losses_to_those_who_ask() {
        let mut response = HeaderMap::new();
        let losses = [loss("/seed", Effect::Meaning), loss("/a\"\u{e4}\n", Effect::Cost)];
        Explain::of(&HeaderMap::new(), OnLoss::Allow).write(&losses, &mut response);
        assert!(response.is_empty());
        let asks = HeaderMap::from_iter([(EXPLAIN, HeaderValue::from_static("1"))]);
        Explain::of(&asks, OnLoss::Allow).write(&losses, &mut response);
        assert_eq!(response[LOSS], r#"sampling;at="/seed";effect=meaning, sampling;at="/a\"";effect=cost"#);
        let many = vec![loss(&"x".repeat(100), Effect::Cost); 100];
        Explain::of(&HeaderMap::new(), OnLoss::Warn).write(&many, &mut response);
        assert!(response[LOSS].len() <= LOSS_BYTES_MAX);
    }

    #[test]
    fn rejects_what_changes_the_answer() {
        let (cost, meaning) = (loss("/service_tier", Effect::Cost), loss("/seed", Effect::Meaning));
        assert!(check(OnLoss::Reject, std::slice::from_ref(&cost)).is_ok());
        assert!(check(OnLoss::Warn, std::slice::from_ref(&meaning)).is_ok());
        assert_eq!(
            check(OnLoss::Reject, &[cost, meaning]).map_err(|no| no.param),
            Err(Some("/seed".to_owned()))
        );
    }
}
