//! What tokens cost: a catalog of providers and models, parsed from its file and indexed.
//!
//! It knows which rates are whose; what a usage costs by them is a decision of the policy layer. A model that is not in it has no
//! price, which is another thing than a price of 0. The format is described in `docs/prices.md`.

mod amount;
mod pattern;
mod written;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::value::RawValue;

pub use written::CatalogError;

use crate::bundle::{Backend, Endpoint};
use pattern::Names;

/// The catalog that comes with the gateway.
const SHIPPED: &str = include_str!("../prices/catalog.json");

/// The same, read once for all configurations of this process.
static SHIPPED_ONCE: LazyLock<Result<Catalog, CatalogError>> = LazyLock::new(|| written::outline(SHIPPED));

/// Prices of models, by provider.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    sources: Vec<String>,
    /// Whether it is meant to stand alone.
    replaces_shipped: bool,
    /// Of several that serve a backend, the first that knows the model tells its price.
    providers: Vec<Arc<Provider>>,
}

/// Whose models these are.
#[derive(Debug, Clone)]
struct Provider {
    id: String,
    /// Values of `gen_ai.provider.name`.
    names: Vec<String>,
    /// Hosts, each with those below it.
    hosts: Vec<String>,
    /// `namespace/name` of backends.
    backends: Vec<String>,
    /// Ids of providers whose models it serves too, at their prices.
    falls_back_to: Vec<String>,
    models: Models,
}

/// The models of a provider.
#[derive(Debug, Clone)]
enum Models {
    /// As they were read with their file.
    Read(ModelTable),
    /// Those that come with the gateway, as they are written, and once somebody has asked for them: of some thirty providers, few are asked.
    Shipped(&'static RawValue, OnceLock<ModelTable>),
}

/// Models, and who is meant by a name.
#[derive(Debug, Clone, Default)]
struct ModelTable {
    models: Vec<PricedModel>,
    /// Finds the model in `models`.
    index: Names,
}

/// A model, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedModel {
    /// What the catalog calls it.
    pub id: String,
    /// Its price; `None` if it is said to have none.
    pub price: Option<Arc<Price>>,
}

/// What a model costs, now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// When nothing else holds.
    pub base: Rates,
    /// What holds at other times; the last that does counts.
    pub changes: Vec<Change>,
}

/// Other rates at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub when: When,
    /// The rates.
    pub rates: Rates,
}

/// When a price is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From a moment on, in seconds since the Unix epoch.
    From(u64),
    /// Each day between two minutes of it, in UTC, the second not included; over midnight if the first is later.
    Daily {
        /// The first minute, from 0.
        from: u16,
        /// The minute after the last.
        to: u16,
    },
}

/// What each token costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// For prompts up to the first tier.
    pub tokens: TokenRates,
    /// For longer prompts, ascending.
    pub tiers: Vec<Tier>,
    /// For the request as such, in picodollars.
    pub request: u64,
}

/// Rates for long prompts. They are for all tokens of the request, not only for those past the bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Prompts of more tokens than this.
    pub over: u64,
    /// Cost this.
    pub tokens: TokenRates,
}

/// Rates in picodollars for a token: a millionth of a millionth of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRates {
    /// Of the prompt, but for what follows.
    pub input: u64,
    /// Of the prompt, read from a cache.
    pub cached_input: u64,
    /// Of the prompt, written to a cache.
    pub cache_write: u64,
    /// Of the answer, but for what follows.
    pub output: u64,
    /// Of the answer, spent on reasoning.
    pub reasoning: u64,
}

impl Catalog {
    /// The catalog that comes with the gateway. What a provider says of its models is read when it is first asked.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn shipped() -> Result<Self, CatalogError> {
        SHIPPED_ONCE.clone()
    }

    /// Reads a catalog.
    ///
    /// # Errors
    /// When the text is no catalog, or says something that cannot be a price.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        written::parse(text)
    }

    /// This catalog with the prices of `over` in front of its own: what both know costs what `over` says. One that replaces the
    /// shipped catalog replaces this one.
    #[must_use]
    pub fn overlaid(self, mut over: Self) -> Self {
        if over.replaces_shipped {
            return over;
        }
        for provider in &mut over.providers {
            if let Some(below) = self.providers.iter().find(|below| below.id == provider.id) {
                Arc::make_mut(provider).inherit(below);
            }
        }
        over.sources.extend(self.sources);
        over.providers.extend(self.providers);
        over.replaces_shipped = self.replaces_shipped;
        over
    }

    /// Where the prices come from, those that win first.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// All models with the id of their provider, those that win first.
    pub fn models(&self) -> impl Iterator<Item = (&str, &PricedModel)> {
        self.providers
            .iter()
            .flat_map(|provider| provider.table().models.iter().map(|model| (provider.id.as_str(), model)))
    }

    /// What each provider means by `model`, with the provider's id.
    pub fn meant(&self, model: &str) -> impl Iterator<Item = (&str, &PricedModel)> {
        let model = lower(model).into_owned();
        self.providers.iter().filter_map(move |provider| Some((provider.id.as_str(), provider.own(&model)?)))
    }

    /// The price of `model` at `provider`, which is a `gen_ai.provider.name`; `None` if it is not known.
    pub fn price(&self, provider: &str, model: &str) -> Option<&Price> {
        let model = lower(model);
        self.with_others(|it| it.is_named(provider)).find_map(|it| it.own(&model))?.price.as_deref()
    }

    /// The price of `model` at `backend`: as a provider says that serves this very backend, or its host, or what it speaks.
    pub fn price_at(&self, backend: &Backend, model: &str) -> Option<&Price> {
        let model = lower(model);
        self.sellers_at(backend).find_map(|it| it.own(&model))?.price.as_deref()
    }

    /// Those who tell the prices of `backend`. What they say of their models is read by then, so that no request has to wait for it.
    pub fn sellers(&self, backend: &Backend) -> Sellers {
        let sellers = self.sellers_at(backend).inspect(|it| {
            it.table();
        });
        Sellers(sellers.cloned().collect())
    }

    /// Those who are asked for the prices of `backend`, in this order: who serves this very backend, then who serves its host, or what it speaks;
    /// behind each of the two those whose models they serve too.
    fn sellers_at(&self, backend: &Backend) -> impl Iterator<Item = &Arc<Provider>> {
        let own = backend.name.as_ref();
        let is_own = move |it: &Provider| it.backends.iter().any(|name| name == own);
        self.with_others(is_own).chain(self.with_others(self.who_serves(backend)))
    }

    /// Tells of a provider whether it serves the host of `backend`, or, if nobody does, what that speaks.
    fn who_serves<'a>(&self, backend: &'a Backend) -> impl Fn(&Provider) -> bool + use<'a> {
        let host = backend.endpoints.iter().find_map(hostname);
        let host = host.filter(|host| self.providers.iter().any(|it| it.is_at(host)));
        let name = backend.schema.provider_name();
        move |it| host.map_or_else(|| it.is_named(name), |host| it.is_at(host))
    }

    /// The providers in question, and then those whose models they serve too.
    fn with_others(&self, is_asked: impl Fn(&Provider) -> bool) -> impl Iterator<Item = &Arc<Provider>> {
        let asked: Vec<_> = self.providers.iter().filter(|it| is_asked(it)).collect();
        let ids: Vec<_> = asked.iter().flat_map(|it| &it.falls_back_to).collect();
        let others = ids.into_iter().flat_map(|id| self.providers.iter().filter(move |it| it.id == *id));
        asked.into_iter().chain(others)
    }
}

/// Those who tell the prices of one backend, the first that knows a model before all others.
#[derive(Debug, Clone, Default)]
pub struct Sellers(Vec<Arc<Provider>>);

impl Sellers {
    /// The price of `model`; `None` if it is not known.
    pub fn price(&self, model: &str) -> Option<&Arc<Price>> {
        let model = lower(model);
        self.0.iter().find_map(|it| it.own(&model))?.price.as_ref()
    }
}

impl Provider {
    fn own(&self, model: &str) -> Option<&PricedModel> {
        let table = self.table();
        table.models.get(table.index.find(model)?)
    }

    fn table(&self) -> &ModelTable {
        match &self.models {
            Models::Read(table) => table,
            Models::Shipped(text, table) => {
                table.get_or_init(|| written::shipped_models(&self.id, text).unwrap_or_default())
            }
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    fn is_at(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| {
            host.strip_suffix(own.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }

    /// Takes over what it does not say itself.
    fn inherit(&mut self, below: &Self) {
        if self.names.is_empty() && self.hosts.is_empty() && self.backends.is_empty() {
            self.names.clone_from(&below.names);
            self.hosts.clone_from(&below.hosts);
            self.backends.clone_from(&below.backends);
        }
        if self.falls_back_to.is_empty() {
            self.falls_back_to.clone_from(&below.falls_back_to);
        }
    }
}

fn hostname(endpoint: &Endpoint) -> Option<&str> {
    match endpoint {
        Endpoint::Fqdn { hostname, .. } => Some(hostname),
        Endpoint::Ip { .. } | Endpoint::Unix { .. } => None,
    }
}

fn lower(model: &str) -> Cow<'_, str> {
    match model.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(model.to_ascii_lowercase()),
        false => Cow::Borrowed(model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_shipped_can_be_read() {
        let (shipped, whole) =
            (Catalog::shipped().expect("a catalog"), Catalog::parse(SHIPPED).expect("a catalog"));
        assert!(shipped.models().count() > 900);
        assert!(shipped.models().eq(whole.models()));
    }

    #[test]
    fn only_those_are_read_who_are_asked() {
        let catalog = written::outline(SHIPPED).expect("a catalog");
        assert!(catalog.price("openai", "gpt-4o-mini").is_some());
        let is_read =
            |it: &Arc<Provider>| matches!(&it.models, Models::Shipped(_, table) if table.get().is_some());
        let read: Vec<_> =
            catalog.providers.iter().filter(|it| is_read(it)).map(|it| it.id.as_str()).collect();
        assert_eq!(read, ["openai"]);
    }
}
