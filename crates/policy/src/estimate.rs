//! What a usage was that no provider told.

use tollgate_terms::{Usage, UsageSource};

/// Bytes of text in one token, rounded down.
///
/// English prose has about four and code about three; a low number makes the estimate an upper bound for both, and
/// an estimate must not be below the truth.
const BYTES_PER_TOKEN: u64 = 3;

/// Tokens in `bytes` of text, rounded up.
pub fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// The usage to charge: what the provider told, completed by an estimate where it told nothing or was cut off.
///
/// `told` is the provider's last word. `answered` is whether the backend began to answer: before that, nothing has
/// been used. Bytes are of prompt text and of answer text as far as they were seen.
pub fn complete(
    told: Option<(Usage, UsageSource)>,
    answered: bool,
    prompt_bytes: u64,
    output_bytes: u64,
) -> (Usage, UsageSource) {
    match told {
        Some((usage, UsageSource::ProviderFinal)) => (usage, UsageSource::ProviderFinal),
        Some((usage, source)) => {
            // The early numbers of a stream are exact for the prompt and only a beginning for the answer.
            let output_tokens = usage.output_tokens.max(tokens(output_bytes));
            (Usage { output_tokens, provider_total_tokens: None, ..usage }, source)
        }
        None if answered => {
            let usage = Usage {
                input_tokens: tokens(prompt_bytes),
                output_tokens: tokens(output_bytes),
                ..Usage::default()
            };
            (usage, UsageSource::Estimated)
        }
        None => (Usage::default(), UsageSource::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_last_word_of_the_provider() {
        let told = Usage { input_tokens: 7, output_tokens: 2, ..Usage::default() };
        assert_eq!(
            complete(Some((told, UsageSource::ProviderFinal)), true, 9000, 9000),
            (told, UsageSource::ProviderFinal)
        );
    }

    #[test]
    fn raises_an_early_number_to_what_was_seen() {
        let told = Usage { input_tokens: 7, output_tokens: 1, ..Usage::default() };
        let (usage, source) = complete(Some((told, UsageSource::ProviderPartial)), true, 0, 31);
        assert_eq!((usage.input_tokens, usage.output_tokens, source), (7, 11, UsageSource::ProviderPartial));
    }

    #[test]
    fn says_that_it_guessed() {
        let (usage, source) = complete(None, true, 10, 4);
        assert_eq!((usage.input_tokens, usage.output_tokens, source), (4, 2, UsageSource::Estimated));
        assert_eq!(complete(None, false, 10, 0), (Usage::default(), UsageSource::None));
    }
}
