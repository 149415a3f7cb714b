//! What dialects without most of OpenAI's sampling do with it: one place for all of them.

use tollgate_chat::{Effect, LossKind, Losses, Sampling};

use crate::Invalid;
use crate::fields::loss;

/// Checks a member that goes from 0 to 1 there.
///
/// # Errors
/// When it is outside.
pub(crate) fn check_unit(name: &str, value: Option<f64>) -> Result<(), Invalid> {
    match value.filter(|value| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some(value) => {
            let message =
                format!("{name} {value} is outside of 0 to 1, which the backend of this model takes");
            Err(Invalid::unprocessable(message, name))
        }
    }
}

/// Records everything but temperature, `top_p` and `top_k`, which the caller says.
///
/// # Errors
/// When more than one choice is wanted.
pub(crate) fn lose_sampling(sampling: Sampling, losses: &mut Losses) -> Result<(), Invalid> {
    let Sampling {
        temperature: _,
        top_p: _,
        top_k: _,
        frequency_penalty,
        presence_penalty,
        seed,
        logit_bias,
        logprobs,
        top_logprobs,
        choices,
    } = sampling;
    if let Some(choices) = choices.filter(|choices| *choices > 1) {
        let message = format!("{choices} choices: the backend of this model gives one");
        return Err(Invalid::unprocessable(message, "n"));
    }
    // Zero and false ask for what happens anyway.
    let wanted = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
    for (is_lost, pointer, kind) in [
        (wanted(frequency_penalty), "/frequency_penalty", LossKind::Sampling),
        (wanted(presence_penalty), "/presence_penalty", LossKind::Sampling),
        (seed.is_some(), "/seed", LossKind::Sampling),
        (logit_bias.is_some(), "/logit_bias", LossKind::Sampling),
        (logprobs == Some(true), "/logprobs", LossKind::Logprobs),
        (top_logprobs.is_some(), "/top_logprobs", LossKind::Logprobs),
    ] {
        if is_lost {
            losses.push(loss(pointer, kind, Effect::Meaning));
        }
    }
    Ok(())
}
