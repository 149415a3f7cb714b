//! A catalog as it is written, and what it means.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::amount::{Unit, picodollars};
use super::pattern::{Names, WrittenPattern};
use super::{
    Catalog, Change, ModelTable, Models, Price, PricedModel, Provider, Rates, Tier, TokenRates, When,
};

/// The format that this is.
const FORMAT: u32 = 1;

/// Why a text is no catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCatalog<M> {
    format: u32,
    /// Where the prices are from.
    source: String,
    /// Which edition of them.
    #[serde(default)]
    revision: Option<String>,
    /// Terms under which they may be passed on; nobody but readers looks at it.
    #[serde(default, rename = "licence")]
    _licence: Option<String>,
    #[serde(default)]
    replaces_shipped: bool,
    providers: Vec<WrittenProvider<M>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProvider<M> {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    backends: Vec<String>,
    #[serde(default)]
    falls_back_to: Vec<String>,
    models: M,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModel {
    id: String,
    /// Without it, the id is the name.
    #[serde(default, rename = "match")]
    patterns: Option<Vec<WrittenPattern>>,
    price: Option<WrittenRates>,
    #[serde(default)]
    changes: Vec<WrittenChange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChange {
    from: Option<String>,
    daily: Option<WrittenDaily>,
    price: WrittenRates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDaily {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRates {
    input: Amount,
    cached_input: Option<Amount>,
    cache_write: Option<Amount>,
    output: Amount,
    reasoning: Option<Amount>,
    request: Option<Amount>,
    #[serde(default)]
    tiers: Vec<WrittenTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    over: u64,
    input: Option<Amount>,
    cached_input: Option<Amount>,
    cache_write: Option<Amount>,
    output: Option<Amount>,
    reasoning: Option<Amount>,
}

/// A decimal number, in quotes or not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Text(String),
    // A decimal of up to 15 digits comes out of a double as it went in.
    Number(serde_json::Number),
}

impl Amount {
    fn picodollars(&self, unit: Unit) -> Result<u64, String> {
        match self {
            Self::Text(text) => picodollars(text, unit),
            Self::Number(number) => picodollars(&number.to_string(), unit),
        }
    }
}

/// Reads a catalog.
pub(super) fn parse(text: &str) -> Result<Catalog, CatalogError> {
    catalog(text, |id, models: Vec<WrittenModel>| Ok(Models::Read(table(id, models)?)))
}

/// Reads a catalog but for its models, which stay as they are written.
pub(super) fn outline(text: &'static str) -> Result<Catalog, CatalogError> {
    catalog(text, |_, models| Ok(Models::Shipped(models, OnceLock::new())))
}

/// Reads the models of provider `id` that [`outline`] has left as they are.
pub(super) fn shipped_models(id: &str, text: &RawValue) -> Result<ModelTable, CatalogError> {
    table(id, serde_json::from_str(text.get()).map_err(no_catalog)?)
}

fn catalog<'a, M: Deserialize<'a>>(
    text: &'a str,
    models: impl Fn(&str, M) -> Result<Models, CatalogError>,
) -> Result<Catalog, CatalogError> {
    let written: WrittenCatalog<M> = serde_json::from_str(text).map_err(no_catalog)?;
    if written.format != FORMAT {
        return Err(CatalogError(format!("has format {}, expected {FORMAT}", written.format)));
    }
    let source = match written.revision {
        Some(revision) => format!("{} ({revision})", written.source),
        None => written.source,
    };
    let provider = |written: WrittenProvider<M>| {
        let models = models(&written.id, written.models)?;
        let hosts = written.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let WrittenProvider { id, names, backends, falls_back_to, .. } = written;
        Ok(Arc::new(Provider { id, names, hosts, backends, falls_back_to, models }))
    };
    let providers = written.providers.into_iter().map(provider).collect::<Result<_, _>>()?;
    Ok(Catalog { sources: vec![source], replaces_shipped: written.replaces_shipped, providers })
}

fn no_catalog(error: serde_json::Error) -> CatalogError {
    CatalogError(format!("is no catalog: {error}"))
}

fn table(provider: &str, written: Vec<WrittenModel>) -> Result<ModelTable, CatalogError> {
    let mut index = Names::default();
    let mut models = Vec::with_capacity(written.len());
    for (at, entry) in written.into_iter().enumerate() {
        let wrong = |reason| CatalogError(format!("provider {provider:?}, model {:?}: {reason}", entry.id));
        let own = [WrittenPattern::Equals(entry.id.clone())];
        index.add(at, entry.patterns.as_deref().unwrap_or(&own)).map_err(wrong)?;
        let price = price(&entry).map_err(wrong)?;
        models.push(PricedModel { id: entry.id, price: price.map(Arc::new) });
    }
    Ok(ModelTable { models, index })
}

fn price(written: &WrittenModel) -> Result<Option<Price>, String> {
    let Some(base) = &written.price else {
        return match written.changes.is_empty() {
            true => Ok(None),
            false => Err("has changes of a price, and no price".to_owned()),
        };
    };
    let changes = written.changes.iter().map(change).collect::<Result<_, _>>()?;
    Ok(Some(Price { base: rates(base)?, changes }))
}

fn change(written: &WrittenChange) -> Result<Change, String> {
    let when = match (&written.from, &written.daily) {
        (Some(day), None) => {
            When::From(day_begins(day).ok_or_else(|| format!("{day:?} is no day: expected \"2026-01-31\""))?)
        }
        (None, Some(daily)) => When::Daily { from: minute(&daily.from)?, to: minute(&daily.to)? },
        _ => return Err("expected either `from` or `daily` in a change".to_owned()),
    };
    Ok(Change { when, rates: rates(&written.price)? })
}

fn rates(written: &WrittenRates) -> Result<Rates, String> {
    let base = Told {
        input: Some(&written.input),
        cached_input: written.cached_input.as_ref(),
        cache_write: written.cache_write.as_ref(),
        output: Some(&written.output),
        reasoning: written.reasoning.as_ref(),
    };
    let mut tiers = Vec::with_capacity(written.tiers.len());
    let mut before = None;
    for tier in &written.tiers {
        if before.is_some_and(|before| before >= tier.over) {
            return Err("its tiers do not ascend".to_owned());
        }
        before = Some(tier.over);
        let told = Told {
            input: tier.input.as_ref().or(base.input),
            cached_input: tier.cached_input.as_ref().or(base.cached_input),
            cache_write: tier.cache_write.as_ref().or(base.cache_write),
            output: tier.output.as_ref().or(base.output),
            reasoning: tier.reasoning.as_ref().or(base.reasoning),
        };
        tiers.push(Tier { over: tier.over, tokens: told.rates()? });
    }
    let request = written.request.as_ref().map_or(Ok(0), |amount| amount.picodollars(Unit::Whole))?;
    Ok(Rates { tokens: base.rates()?, tiers, request })
}

/// What is said of rates.
#[derive(Clone, Copy)]
struct Told<'a> {
    input: Option<&'a Amount>,
    cached_input: Option<&'a Amount>,
    cache_write: Option<&'a Amount>,
    output: Option<&'a Amount>,
    reasoning: Option<&'a Amount>,
}

impl Told<'_> {
    /// The rates. A part that has none of its own costs what the whole costs.
    fn rates(self) -> Result<TokenRates, String> {
        let rate = |amount: Option<&Amount>, whole: u64| {
            amount.map_or(Ok(whole), |amount| amount.picodollars(Unit::PerMillion))
        };
        let input = rate(self.input, 0)?;
        let output = rate(self.output, 0)?;
        Ok(TokenRates {
            input,
            cached_input: rate(self.cached_input, input)?,
            cache_write: rate(self.cache_write, input)?,
            output,
            reasoning: rate(self.reasoning, output)?,
        })
    }
}

/// The second at which a day such as `2026-01-31` begins, in UTC; `None` if there is no such day, or it is before 1970.
fn day_begins(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part =
            parts.next().filter(|part| part.len() == length && part.bytes().all(|it| it.is_ascii_digit()))?;
        part.parse::<u64>().ok()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |month: u64| match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_day = year >= 1970 && (1..=12).contains(&month) && (1..=length(month)).contains(&day);
    if !is_day || parts.next().is_some() {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(length).sum();
    Some((years + months + day - 1) * 86_400)
}

fn minute(text: &str) -> Result<u16, String> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    });
    parsed.ok_or_else(|| format!("{text:?} is no time of day: expected \"16:30\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_when_they_do() {
        assert_eq!(day_begins("1970-01-01"), Some(0));
        assert_eq!(day_begins("2026-11-25"), Some(1_795_564_800));
        assert_eq!(day_begins("2028-03-01"), Some(1_835_481_600));
        for text in ["2026-02-29", "2026-13-01", "2026-1-1", "2026-01-01-01", "1969-01-01", "", "2026-00-10"]
        {
            assert_eq!(day_begins(text), None, "{text}");
        }
    }
}
