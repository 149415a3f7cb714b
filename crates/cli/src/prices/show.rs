//! Prices for people: what a model costs, and what is different in another catalog.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_config::prices::{Catalog, Change, Price, PricedModel, Rates, TokenRates, When};

use crate::demo::table::{Align, Cell, table};
use crate::finding::counted;
use crate::paint::{Paint, Tint};

/// The prices of what `model` means, or of all models, as a table; `None` if nobody knows the model.
pub(super) fn prices<'a>(catalog: &'a Catalog, model: Option<&'a str>, paint: Paint) -> Option<String> {
    let mut seen = BTreeSet::new();
    let rows: Vec<_> = match model {
        // Of providers of one name, the first counts.
        Some(model) => catalog
            .meant(model)
            .filter(|(provider, _)| seen.insert((*provider, "")))
            .flat_map(|(provider, model)| rows(provider, model))
            .collect(),
        None => catalog
            .models()
            .filter(|(provider, model)| seen.insert((*provider, model.id.as_str())))
            .flat_map(|(provider, model)| rows(provider, model))
            .collect(),
    };
    if rows.is_empty() {
        return None;
    }
    let heading = [
        ("provider", Align::Left),
        ("model", Align::Left),
        ("input", Align::Right),
        ("cached", Align::Right),
        ("written", Align::Right),
        ("output", Align::Right),
        ("reasoning", Align::Right),
        ("request", Align::Right),
        ("when", Align::Left),
    ];
    let about = format!("Dollars for a million tokens. From {}.\n", catalog.sources().join(", then "));
    Some(table(&heading, &rows, paint) + "\n" + &about)
}

/// What is different in `new`, one model a line.
pub(super) fn difference(old: &Catalog, new: &Catalog, paint: Paint) -> String {
    let (old, new) = (by_model(old), by_model(new));
    let mut text = String::new();
    let (mut added, mut changed, mut removed) = (0, 0, 0);
    let mut tell = |mark: &str, tint: Tint, (provider, model): &(&str, &str), what: String| {
        text.push_str(&format!("{} {provider} {model}: {what}\n", paint.tint(tint, mark)));
    };
    for (name, price) in &new {
        match old.get(name) {
            None => {
                added += 1;
                tell("+", Tint::Good, name, said(*price));
            }
            Some(before) if before != price => {
                changed += 1;
                tell("~", Tint::Doubtful, name, format!("{} instead of {}", said(*price), said(*before)));
            }
            Some(_) => {}
        }
    }
    for (name, price) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        removed += 1;
        tell("-", Tint::Bad, name, said(*price));
    }
    let count = counted(added, "model");
    format!("{text}{count} added, {changed} changed, {removed} removed\n")
}

/// The first of each provider and id counts.
fn by_model(catalog: &Catalog) -> BTreeMap<(&str, &str), Option<&Price>> {
    let mut found = BTreeMap::new();
    for (provider, model) in catalog.models() {
        found.entry((provider, model.id.as_str())).or_insert(model.price.as_deref());
    }
    found
}

fn said(price: Option<&Price>) -> String {
    let Some(Price { base, changes }) = price else { return "no price".to_owned() };
    let rates = |rates: &Rates| {
        let mut text = format!("{} in, {} out", rate(rates.tokens.input), rate(rates.tokens.output));
        if !rates.tiers.is_empty() {
            text.push_str(", more for long prompts");
        }
        text
    };
    let changes = changes.iter().map(|change| format!("; {} {}", moment(change.when), rates(&change.rates)));
    rates(base) + &changes.collect::<String>()
}

/// A line for each rate that may hold.
fn rows(provider: &str, model: &PricedModel) -> Vec<Vec<Cell>> {
    let names = [provider.to_owned(), model.id.clone()];
    let Some(Price { base, changes }) = model.price.as_deref() else {
        return vec![names.into_iter().chain(["no price".to_owned()]).map(Cell::from).collect()];
    };
    let mut rows = Vec::new();
    let mut add = |rates: &Rates, when: String| {
        rows.push(row(&names, &rates.tokens, rates.request, when.clone()));
        for tier in &rates.tiers {
            let when = format!("{when} prompt over {}", tier.over);
            rows.push(row(&names, &tier.tokens, rates.request, when.trim().to_owned()));
        }
    };
    add(base, String::new());
    for Change { when, rates } in changes {
        add(rates, moment(*when));
    }
    rows
}

fn row(names: &[String; 2], tokens: &TokenRates, request: u64, when: String) -> Vec<Cell> {
    let TokenRates { input, cached_input, cache_write, output, reasoning } = *tokens;
    let rates = [input, cached_input, cache_write, output, reasoning].map(rate);
    let request = if request == 0 { "—".to_owned() } else { decimal(request, 12) };
    names.iter().cloned().chain(rates).chain([request, when]).map(Cell::from).collect()
}

fn moment(when: When) -> String {
    match when {
        When::From(at) => format!("from {}", day(at / 86_400)),
        When::Daily { from, to } => {
            let minute = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            format!("{} to {} UTC", minute(from), minute(to))
        }
    }
}

/// Dollars for a million tokens.
fn rate(picodollars: u64) -> String {
    decimal(picodollars, 6)
}

/// A number with so many of its digits after the point, without zeros at the end.
fn decimal(number: u64, digits: u32) -> String {
    let whole = 10_u64.saturating_pow(digits);
    let text = format!("{}.{:0width$}", number / whole, number % whole, width = digits as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The date of a day since 1970-01-01, by the algorithm for the proleptic Gregorian calendar of which years begin in March.
pub(super) fn day(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, date) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (19_782, "2024-02-29"), (20_782, "2026-11-25")]
        {
            assert_eq!(day(days), date);
        }
    }

    #[test]
    fn amounts_have_the_digits_that_they_need() {
        assert_eq!([rate(150_000), rate(3_000_000), rate(1), rate(0)], ["0.15", "3", "0.000001", "0"]);
    }
}
