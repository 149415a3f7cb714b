//! Limits, ready to be asked which requests they are for.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate_terms::{HashedText, ModelName, Principal, content_hash};

use crate::bundle::{self, HeaderMatch, MethodMatch, Network, PrincipalAttribute, Selector, Window};
use crate::condition::{Condition, MODEL_HEADER};
use crate::plain::{Path, QueryCondition, parameter};

/// Longest value that stands in the name of a counter as it is, in bytes. Callers choose values, and stores keep names.
const VALUE_BYTES_MAX: usize = 128;

/// A bound on what requests may use, ready to be asked which ones it is for.
#[derive(Debug)]
pub struct CompiledLimit {
    /// As it was resolved.
    pub limit: bundle::Limit,
    /// What it is called; its counters are called so, or begin so.
    pub name: HashedText,
    /// The time for which its amount is.
    pub window: Arc<Window>,
    /// Its amount, as a header has it.
    pub amount: HeaderValue,
    /// The number of its group among the limits beside it.
    pub group: Option<u16>,
    conditions: Vec<Selected>,
}

/// What limits look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The client's headers, with those by which the gateway names its caller.
    pub headers: &'a HeaderMap,
    /// Its method.
    pub method: &'a Method,
    /// Its path, as it was sent, without the query.
    pub path: &'a str,
    /// Its query, without keys and tokens that stood in it.
    pub query: Option<&'a str>,
    /// The client's address, if it has one.
    pub address: Option<IpAddr>,
    /// Who calls.
    pub principal: &'a Principal,
    /// The model in the body, if the request is for one.
    pub requested_model: Option<&'a ModelName>,
    /// The model that the backend is asked for.
    pub upstream_model: Option<&'a ModelName>,
}

#[derive(Debug)]
enum Selected {
    Header { condition: Condition, invert: bool },
    Distinct(HeaderName),
    DistinctModel,
    Method(Vec<(Method, bool)>),
    Path { path: Path, invert: bool },
    Query { condition: QueryCondition, invert: bool },
    DistinctQuery(String),
    Address { networks: Vec<Network>, distinct: bool, invert: bool },
    Principal { attribute: PrincipalAttribute, values: Vec<String> },
    Requested(Vec<ModelName>),
    Upstream(Vec<ModelName>),
}

impl CompiledLimit {
    /// Compiles the limits of one rule or backend. Those that a service counts are looked at like all others, and left out.
    ///
    /// # Errors
    /// Why nothing may be served under them: the limit, and what is wrong with it.
    pub(crate) fn compile_all(limits: &[bundle::Limit]) -> Result<Vec<Arc<Self>>, String> {
        let mut groups: Vec<&str> = Vec::new();
        let compiled: Result<Vec<Arc<Self>>, String> = limits
            .iter()
            .map(|limit| {
                let group = limit.group.as_deref().map(|group| {
                    let known = groups.iter().position(|other| *other == group);
                    known.unwrap_or_else(|| {
                        groups.push(group);
                        groups.len() - 1
                    })
                });
                let conditions = limit.select.iter().map(Selected::compile).collect::<Result<_, _>>();
                Ok(Arc::new(Self {
                    name: limit.name.as_str().into(),
                    window: Arc::new(limit.window.clone()),
                    amount: limit.amount.into(),
                    group: group.and_then(|group| u16::try_from(group).ok()),
                    conditions: conditions.map_err(|message| format!("{}: {message}", limit.name))?,
                    limit: limit.clone(),
                }))
            })
            .collect();
        let is_own = |limit: &Arc<Self>| limit.limit.store != bundle::LimitStore::Service;
        compiled.map(|compiled| compiled.into_iter().filter(is_own).collect())
    }

    /// The counter of this request; `None` if the limit is not for it.
    pub fn counter(&self, subject: &Subject<'_>) -> Option<HashedText> {
        thread_local! {
            /// Where names are made: what is kept of one is its own copy.
            static NAME: RefCell<String> = const { RefCell::new(String::new()) };
        }
        if self.conditions.is_empty() {
            return Some(self.name.clone());
        }
        NAME.with_borrow_mut(|key| {
            key.clear();
            let holds = |condition: &Selected| {
                condition.holds(subject, |value| {
                    if key.is_empty() {
                        key.push_str(&self.name);
                    }
                    add(key, value);
                })
            };
            if !self.conditions.iter().all(holds) {
                return None;
            }
            // Conditions that do not tell requests apart make no name.
            Some(if key.is_empty() { self.name.clone() } else { key.as_str().into() })
        })
    }

    /// Whether the path of a request may be looked at: by it, or by the limits of a model to which it leads.
    pub fn needs_path(&self) -> bool {
        let leads_elsewhere = matches!(self.limit.on_exceeded, bundle::OnExceeded::Reroute(_));
        leads_elsewhere || self.conditions.iter().any(|condition| matches!(condition, Selected::Path { .. }))
    }
}

/// Adds a value to the name of a counter, so that no two lists of values make the same name.
fn add(key: &mut String, value: &[u8]) {
    key.push('|');
    let stands_for_itself = |byte: &u8| !matches!(byte, b'|' | b'%' | 0..=0x20 | 0x7f..);
    let kept = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    match str::from_utf8(kept) {
        Ok(text) if kept.iter().all(stands_for_itself) => key.push_str(text),
        _ => {
            for byte in kept {
                // Writing to a String does not fail.
                let _ = match stands_for_itself(byte) {
                    true => key.write_char(char::from(*byte)),
                    false => write!(key, "%{byte:02X}"),
                };
            }
        }
    }
    if value.len() > VALUE_BYTES_MAX {
        let _ = write!(key, "%{}%{:016x}", value.len(), content_hash(value));
    }
}

impl Selected {
    fn compile(selector: &Selector) -> Result<Self, String> {
        Ok(match selector {
            Selector::Header { name, value, invert } => {
                let written = HeaderMatch { name: name.clone(), value: value.clone() };
                let condition = Condition::compile(&written).map_err(|(_, message)| message)?;
                Self::Header { condition, invert: *invert }
            }
            Selector::DistinctHeader { name } if name == MODEL_HEADER => Self::DistinctModel,
            Selector::DistinctHeader { name } => Self::Distinct(crate::header_name(name)?),
            Selector::Method { any } => Self::Method(any.iter().map(method).collect::<Result<_, _>>()?),
            Selector::Path { path, invert } => Self::Path { path: Path::compile(path)?, invert: *invert },
            Selector::Query { parameter, invert } => {
                Self::Query { condition: QueryCondition::compile(parameter)?, invert: *invert }
            }
            Selector::DistinctQuery { name } => Self::DistinctQuery(name.clone()),
            Selector::SourceAddress { networks, distinct, invert } => {
                Self::Address { networks: networks.clone(), distinct: *distinct, invert: *invert }
            }
            Selector::Principal { attribute, values } => {
                Self::Principal { attribute: *attribute, values: values.clone() }
            }
            Selector::RequestedModel { models } => Self::Requested(models.clone()),
            Selector::UpstreamModel { models } => Self::Upstream(models.clone()),
        })
    }

    /// Whether it holds. Hands out the value by which it tells requests apart.
    fn holds(&self, subject: &Subject<'_>, mut tell: impl FnMut(&[u8])) -> bool {
        match self {
            Self::Header { condition, invert } => {
                condition.holds(subject.headers, subject.requested_model) != *invert
            }
            Self::Distinct(name) => {
                let mut lines = subject.headers.get_all(name).iter().map(|value| value.as_bytes());
                let Some(first) = lines.next() else { return false };
                match lines.next() {
                    None => tell(first),
                    Some(second) => {
                        let several: Vec<_> = [first, second].into_iter().chain(lines).collect();
                        tell(&several.join(&b","[..]));
                    }
                }
                true
            }
            Self::DistinctModel => {
                let Some(model) = subject.requested_model else { return false };
                tell(model.as_str().as_bytes());
                true
            }
            Self::Method(any) => any.iter().any(|(method, invert)| (method == subject.method) != *invert),
            Self::Path { path, invert } => path.holds(subject.path) != *invert,
            Self::Query { condition, invert } => {
                condition.holds(subject.query.unwrap_or_default()) != *invert
            }
            Self::DistinctQuery(name) => {
                let Some(value) = parameter(subject.query.unwrap_or_default(), name) else { return false };
                tell(value.as_bytes());
                true
            }
            Self::Address { networks, distinct, invert } => {
                let Some(address) = subject.address.map(|address| address.to_canonical()) else {
                    return false;
                };
                if networks.iter().any(|network| network.contains(address)) == *invert {
                    return false;
                }
                if *distinct {
                    tell(address.to_string().as_bytes());
                }
                true
            }
            Self::Principal { attribute, values: wanted } => {
                let Some(value) = attribute.of(subject.principal) else { return false };
                if wanted.is_empty() {
                    tell(value.as_bytes());
                    return true;
                }
                wanted.iter().any(|wanted| **wanted == **value)
            }
            Self::Requested(models) => {
                let Some(model) = subject.requested_model else { return false };
                if models.is_empty() {
                    tell(model.as_str().as_bytes());
                }
                models.is_empty() || models.contains(model)
            }
            Self::Upstream(models) => subject.upstream_model.is_some_and(|model| models.contains(model)),
        }
    }
}

fn method(written: &MethodMatch) -> Result<(Method, bool), String> {
    let method = Method::from_bytes(written.method.as_bytes());
    let method = method.map_err(|_| format!("expected a method, found {:?}", written.method))?;
    Ok((method, written.invert))
}

impl PrincipalAttribute {
    /// What `principal` has of it.
    pub fn of(self, principal: &Principal) -> Option<&Arc<str>> {
        match self {
            Self::User => principal.user.as_ref(),
            Self::Team => principal.team.as_ref(),
            Self::Application => principal.application.as_ref(),
            Self::KeyId => principal.key_id.as_ref(),
        }
    }
}

impl Network {
    /// Whether `address` is in it. An IPv4 address in IPv6's clothes is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, bits) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let free = 128_u32.min(u32::saturating_sub(bits, u32::from(self.prefix_bits)));
        own.checked_shr(free) == other.checked_shr(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject<'a>(headers: &'a HeaderMap, principal: &'a Principal, model: &'a ModelName) -> Subject<'a> {
        let address = Some("10.1.2.3".parse().expect("an address"));
        Subject {
            headers,
            method: &Method::POST,
            path: "/v1/chat",
            query: Some("a=1&b&a=2"),
            address,
            principal,
            requested_model: Some(model),
            upstream_model: Some(model),
        }
    }

    fn limit(select: Vec<Selector>) -> Arc<CompiledLimit> {
        let limit = bundle::Limit {
            name: "L".to_owned(),
            select,
            amount: 1,
            window: Window::Fixed { seconds: 1 },
            request: 1,
            measure: None,
            enforcement: bundle::Enforcement::Settle,
            answer_tokens_max: 1,
            shadow: false,
            group: None,
            store: bundle::LimitStore::Shared,
            on_store_failure: bundle::OnStoreFailure::Open,
            on_exceeded: bundle::OnExceeded::Reject,
            warn_at_percent: Vec::new(),
            unpriced: bundle::Unpriced::Allow,
        };
        CompiledLimit::compile_all(&[limit]).expect("it compiles").remove(0)
    }

    #[test]
    fn what_a_service_counts_is_looked_at_and_left_out() {
        let own = limit(Vec::new()).limit.clone();
        let served = bundle::Limit { store: bundle::LimitStore::Service, ..own.clone() };
        let compiled = CompiledLimit::compile_all(&[served.clone(), own.clone()]).expect("it compiles");
        assert_eq!(compiled.len(), 1);
        assert_eq!(bundle::Limit::served(&[own, served.clone()]), std::slice::from_ref(&served));
        let wrong = Selector::DistinctHeader { name: "a b".to_owned() };
        assert!(CompiledLimit::compile_all(&[bundle::Limit { select: vec![wrong], ..served }]).is_err());
    }

    #[test]
    fn gives_each_list_of_values_a_counter_of_its_own() {
        let limit = limit(vec![
            Selector::DistinctHeader { name: "x-a".to_owned() },
            Selector::DistinctHeader { name: "x-b".to_owned() },
        ]);
        let (principal, model) = (Principal::default(), ModelName::parse("m").expect("a name"));
        let key = |a: &str, b: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-a", a.parse().expect("a value"));
            headers.insert("x-b", b.parse().expect("a value"));
            limit.counter(&subject(&headers, &principal, &model)).expect("it is for it").to_string()
        };
        assert_eq!(key("one", "two"), "L|one|two");
        assert_ne!(key("one|two", ""), key("one", "two|"));
        assert_ne!(key(&"x".repeat(200), ""), key(&"x".repeat(201), ""));
        assert!(key(&"x".repeat(8000), "").len() < 200);
        assert_eq!(limit.counter(&subject(&HeaderMap::new(), &principal, &model)), None);
    }

    #[test]
    fn looks_at_the_method_the_path_and_the_query() {
        let (headers, principal) = (HeaderMap::new(), Principal::default());
        let model = ModelName::parse("m").expect("a name");
        let method = |list: &[(&str, bool)]| Selector::Method {
            any: list
                .iter()
                .map(|(method, invert)| MethodMatch { method: (*method).to_owned(), invert: *invert })
                .collect(),
        };
        let path = |path, invert| Selector::Path { path, invert };
        let exact = |text: &str| bundle::PathMatch::Exact(text.to_owned());
        let prefix = |text: &str| bundle::PathMatch::Prefix(text.to_owned());
        let pattern = |text: &str| bundle::PathMatch::RegularExpression(text.to_owned());
        let query = |name: &str, value: &str, invert| Selector::Query {
            parameter: bundle::QueryMatch {
                name: name.to_owned(),
                value: bundle::TextMatch::Exact(value.to_owned()),
            },
            invert,
        };
        let distinct = |name: &str| Selector::DistinctQuery { name: name.to_owned() };
        for (selector, expected) in [
            (method(&[("GET", false), ("POST", false)]), Some("L")),
            (method(&[("GET", false)]), None),
            (method(&[("GET", true)]), Some("L")),
            (method(&[("POST", true)]), None),
            (path(exact("/v1/chat"), false), Some("L")),
            (path(exact("/v1/chat"), true), None),
            (path(exact("/v1"), false), None),
            (path(prefix("/v1/"), false), Some("L")),
            (path(prefix("/v1/ch"), false), None),
            (path(pattern("/v./ch.*"), false), Some("L")),
            (path(pattern("/v"), false), None),
            (query("a", "1", false), Some("L")),
            (query("a", "2", false), None),
            (query("b", "", false), Some("L")),
            (query("c", "", false), None),
            (query("c", "", true), Some("L")),
            (distinct("a"), Some("L|1")),
            (distinct("c"), None),
        ] {
            let counter = limit(vec![selector.clone()]).counter(&subject(&headers, &principal, &model));
            assert_eq!(counter.as_deref(), expected, "{selector:?}");
        }
    }

    #[test]
    fn looks_at_networks_bit_by_bit() {
        let network = |address: &str, prefix_bits| Network {
            address: address.parse().expect("an address"),
            prefix_bits,
        };
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        assert!(network("10.0.0.0", 8).contains(address("10.255.0.1")));
        assert!(!network("10.0.0.0", 8).contains(address("11.0.0.1")));
        assert!(network("0.0.0.0", 0).contains(address("11.0.0.1")));
        assert!(!network("0.0.0.0", 0).contains(address("::1")));
        assert!(network("::", 0).contains(address("::1")));
        assert!(network("2001:db8::", 33).contains(address("2001:db8:7fff::1")));
        assert!(!network("2001:db8::", 33).contains(address("2001:db8:8000::1")));
        assert!(network("10.1.2.3", 32).contains(address("10.1.2.3")));
    }
}
