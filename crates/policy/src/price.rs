//! What a usage costs by a price, and what it can cost at most. Exact: picodollars in 128 bits, rounded up once, to billionths of a dollar.

use tollgate_config::prices::{Change, Price, Rates, TokenRates, When};
use tollgate_terms::Usage;

const PICODOLLARS_IN_NANODOLLAR: u128 = 1000;
const SECONDS_IN_DAY: u64 = 86_400;

/// What `usage` costs by `price` at a moment, in nanodollars.
///
/// Cached tokens and those written to a cache are parts of the prompt, and reasoning is one of the answer: each token is charged once, at
/// the rate of its part. A part that is said to be larger than the whole counts as the whole. The tier is that of the whole prompt, and
/// its rates are for every token.
pub fn cost(price: &Price, usage: &Usage, at_unix_ms: u64) -> u64 {
    let rates = rates(price, at_unix_ms / 1000);
    let tokens = tier(rates, usage.input_tokens);
    let cached = usage.cached_input_tokens.min(usage.input_tokens);
    let written = usage.cache_creation_input_tokens.min(usage.input_tokens - cached);
    let reasoning = usage.reasoning_tokens.min(usage.output_tokens);
    nanodollars(&[
        (usage.input_tokens - cached - written, tokens.input),
        (cached, tokens.cached_input),
        (written, tokens.cache_write),
        (usage.output_tokens - reasoning, tokens.output),
        (reasoning, tokens.reasoning),
        (1, rates.request),
    ])
}

/// What a request of at most so many tokens costs at most, at a moment or later, in nanodollars: never less than its [`cost`].
pub fn upper_bound(price: &Price, input_tokens: u64, output_tokens_max: u64, at_unix_ms: u64) -> u64 {
    // What stands before a change that holds for good never holds again.
    let is_for_good = |change: &Change| matches!(change.when, When::From(from) if from <= at_unix_ms / 1000);
    let newest = price.changes.iter().rposition(is_for_good);
    let base = Some(&price.base).filter(|_| newest.is_none());
    let changes = price.changes.iter().skip(newest.unwrap_or_default()).map(|change| &change.rates);
    let all = base.into_iter().chain(changes);
    let bound = |rates: &Rates| {
        let reached = rates.tiers.iter().filter(|tier| input_tokens > tier.over).map(|tier| &tier.tokens);
        let tokens = || std::iter::once(&rates.tokens).chain(reached.clone());
        let input = tokens().map(|it| it.input.max(it.cached_input).max(it.cache_write)).max();
        let output = tokens().map(|it| it.output.max(it.reasoning)).max();
        nanodollars(&[
            (input_tokens, input.unwrap_or_default()),
            (output_tokens_max, output.unwrap_or_default()),
            (1, rates.request),
        ])
    };
    all.map(bound).max().unwrap_or_default()
}

/// The rates that hold at a moment.
fn rates(price: &Price, at_unix_s: u64) -> &Rates {
    let holds = |when: When| match when {
        When::From(from) => at_unix_s >= from,
        When::Daily { from, to } => {
            let minute = at_unix_s % SECONDS_IN_DAY / 60;
            let (from, to) = (u64::from(from), u64::from(to));
            if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
        }
    };
    price.changes.iter().rev().find(|change| holds(change.when)).map_or(&price.base, |change| &change.rates)
}

/// The rates for a prompt of this length.
fn tier(rates: &Rates, input_tokens: u64) -> &TokenRates {
    let reached = rates.tiers.iter().rev().find(|tier| input_tokens > tier.over);
    reached.map_or(&rates.tokens, |tier| &tier.tokens)
}

/// The sum of some numbers at a rate in picodollars each, rounded up.
fn nanodollars(parts: &[(u64, u64)]) -> u64 {
    // No product of two such numbers is too large; a sum of several may be.
    let products = parts.iter().map(|&(number, rate)| u128::from(number) * u128::from(rate));
    let picodollars = products.fold(0_u128, u128::saturating_add);
    u64::try_from(picodollars.div_ceil(PICODOLLARS_IN_NANODOLLAR)).unwrap_or(u64::MAX)
}
