//! Bounds on what requests may use together in a time: rate limits, quotas and budgets, all of one shape.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tollgate_terms::ModelName;

use super::{CostKind, PathMatch, QueryMatch, TextMatch};

/// A bound on what some requests may use together in a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What it is called, here and in the store: kind, `namespace/name`, and the place in it. Limits of one name share their counters.
    pub name: String,
    /// Which requests it is for: all conditions must hold. Those that tell requests apart give each value a counter of its own.
    pub select: Vec<Selector>,
    /// How much may be used in each window.
    pub amount: u64,
    /// The time for which that is.
    pub window: Window,
    /// What is taken for the request itself, before it is made, such as the 1 of a limit on requests.
    pub request: u64,
    /// What a request uses beside that, known when it is over; `None` if nothing.
    pub measure: Option<Measure>,
    /// When what it uses is taken.
    pub enforcement: Enforcement,
    /// The bound on its answer, in tokens, that a request without one gets where it has to be reserved for.
    pub answer_tokens_max: u64,
    /// Whether it only counts, and refuses nobody.
    pub shadow: bool,
    /// Limits of one group allow together what any of them allows; `None` stands alone.
    pub group: Option<String>,
    /// Where its counters are.
    pub store: LimitStore,
    /// What becomes of requests while the store does not answer.
    pub on_store_failure: OnStoreFailure,
    /// What becomes of a request for which nothing is left.
    pub on_exceeded: OnExceeded,
    /// Shares of the amount, in percent, at which a warning is given; ascending.
    pub warn_at_percent: Vec<u8>,
    /// What becomes of a request for a model without a known price, where money is counted.
    #[serde(default, skip_serializing_if = "Unpriced::is_allowed")]
    pub unpriced: Unpriced,
}

impl Limit {
    /// Those of `limits` that a rate limit service counts.
    pub fn served(limits: &[Self]) -> Vec<Self> {
        limits.iter().filter(|limit| limit.store == LimitStore::Service).cloned().collect()
    }
}

/// What becomes of a request whose model has no known price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Unpriced {
    /// It is let in, and uses no money.
    #[default]
    Allow,
    /// It is refused.
    Reject,
}

impl Unpriced {
    fn is_allowed(&self) -> bool {
        *self == Self::Allow
    }
}

/// A condition on a request. Several texts on one header tell requests apart by it only where it is `Distinct`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Selector {
    /// A header has a value like this. `x-ai-eg-model` stands for the model in the body.
    Header {
        /// Its name, lower case.
        name: String,
        /// What its value must be.
        value: TextMatch,
        /// Whether it must not be that.
        invert: bool,
    },
    /// A header is there; each value has a counter of its own.
    DistinctHeader {
        /// Its name, lower case.
        name: String,
    },
    /// The method is one of these.
    Method {
        /// The conditions, of which one has to hold.
        any: Vec<MethodMatch>,
    },
    /// The path is like this.
    Path {
        /// What it must be.
        path: PathMatch,
        /// Whether it must not be that.
        invert: bool,
    },
    /// A parameter of the query has a value like this.
    Query {
        /// The parameter, and what its value must be.
        parameter: QueryMatch,
        /// Whether it must not be that.
        invert: bool,
    },
    /// A parameter of the query is there; each value has a counter of its own.
    DistinctQuery {
        /// Its name.
        name: String,
    },
    /// The client's address is in one of these networks.
    SourceAddress {
        /// The networks.
        networks: Vec<Network>,
        /// Whether each address has a counter of its own.
        distinct: bool,
        /// Whether the address must be in none of them.
        invert: bool,
    },
    /// Something of the caller has one of these values. Without values: it is known, and each value has a counter of its own.
    Principal {
        /// What of the caller.
        attribute: PrincipalAttribute,
        /// The values; empty is any.
        values: Vec<String>,
    },
    /// The model in the body is one of these. Without models: each model has a counter of its own.
    RequestedModel {
        /// The models; empty is any.
        models: Vec<ModelName>,
    },
    /// The model asked of the backend is one of these.
    UpstreamModel {
        /// The models.
        models: Vec<ModelName>,
    },
}

/// A condition on the method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodMatch {
    /// The method.
    pub method: String,
    /// Whether it must not be that.
    pub invert: bool,
}

/// What of a caller is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalAttribute {
    /// The person or service.
    User,
    /// The team.
    Team,
    /// The application.
    Application,
    /// The API key or issuer.
    KeyId,
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Network {
    /// An address in it.
    pub address: IpAddr,
    /// How many leading bits they share.
    pub prefix_bits: u8,
}

/// A time for which an amount is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Window {
    /// So many seconds, counted from the Unix epoch, as the rate limit service of Envoy counts them: weeks begin on a Thursday,
    /// and a month has 30 days.
    Fixed {
        /// Its length. Never 0.
        seconds: u64,
    },
    /// A day, week, month or year of the calendar.
    Calendar {
        /// Which.
        period: CalendarPeriod,
        /// Name of the time zone, such as `Europe/Berlin`.
        time_zone: String,
    },
    /// The last so many seconds, at any moment.
    Rolling {
        /// Its length. Never 0.
        seconds: u64,
    },
    /// As long as requests are in flight: what is taken is given back when they end.
    InFlight,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CalendarPeriod {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day.
    Month,
    /// From January to December.
    Year,
}

/// What of a request is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Measure {
    /// Tokens.
    Tokens(CostKind),
    /// Money, in billionths of a dollar.
    Money,
}

/// When what a request uses is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Enforcement {
    /// Afterwards: a request is let in while something is left, and then charged what it used. Requests at the same time may use more
    /// than there is.
    #[default]
    Settle,
    /// Before: the most that it can use is taken, and what it did not use is given back. The limit is never passed.
    Reserve,
}

/// Where counters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LimitStore {
    /// Where all gateways see them, if such a store is configured.
    #[default]
    Shared,
    /// In each gateway alone.
    Local,
    /// In a rate limit service, which a filter of Envoy asks: the gateway itself claims nothing of the limit.
    Service,
}

/// What becomes of requests while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnStoreFailure {
    /// They are let through, and counted as such.
    #[default]
    Open,
    /// They are refused with a 503.
    Closed,
}

/// What becomes of a request for which nothing is left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnExceeded {
    /// It is refused with a 429.
    #[default]
    Reject,
    /// It is routed anew, as if it had asked for this model.
    Reroute(ModelName),
}
