//! The configuration as it is looked up: a tree of descriptors for each domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_config::bundle::Window;
use tollgate_envoy::limiting::rate_limit_response::rate_limit::Unit;

use crate::config::{ConfigError, Descriptor, File, RateLimit};

/// All domains.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    domains: BTreeMap<String, Node>,
}

/// What may come after some entries of a descriptor.
#[derive(Debug, Default)]
struct Node {
    /// By `key_value`, or `key` for all values that have no node of their own.
    next: BTreeMap<String, Node>,
    /// Those of `next` that stand for all values that begin alike, without their star.
    wildcards: Vec<String>,
    rule: Option<Arc<Rule>>,
    metric: Metric,
    shares_values: bool,
}

/// What of an entry is in the names of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Metric {
    /// As it is configured.
    #[default]
    Configured,
    /// With the value that the request has.
    Asked,
}

/// A limit.
#[derive(Debug)]
pub(crate) struct Rule {
    /// How much there is; `None` without a limit.
    pub(crate) limit: Option<Amount>,
    pub(crate) name: String,
    pub(crate) replaces: Vec<String>,
    pub(crate) shadow: bool,
    pub(crate) is_quota: bool,
    is_detailed: bool,
}

/// So many in a unit of time.
#[derive(Debug, Clone)]
pub(crate) struct Amount {
    pub(crate) requests: u32,
    pub(crate) unit: Unit,
    pub(crate) window: Arc<Window>,
}

/// A limit that is for a descriptor.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rule: Arc<Rule>,
    /// The name of its counter.
    pub(crate) counter: String,
    /// Its place, for metrics.
    pub(crate) path: Vec<String>,
}

/// Separates parts of the name of a counter; no text that Envoy sends has it.
const SEPARATOR: char = '\u{1f}';

impl Amount {
    pub(crate) fn new(requests: u32, unit: Unit) -> Option<Self> {
        let seconds = seconds(unit)?;
        Some(Self { requests, unit, window: Arc::new(Window::Fixed { seconds }) })
    }
}

/// How long a unit is: a month has 30 days, and a year 365.
fn seconds(unit: Unit) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    match unit {
        Unit::Unknown => None,
        Unit::Second => Some(1),
        Unit::Minute => Some(60),
        Unit::Hour => Some(60 * 60),
        Unit::Day => Some(DAY),
        Unit::Week => Some(7 * DAY),
        Unit::Month => Some(30 * DAY),
        Unit::Year => Some(365 * DAY),
    }
}

impl Tree {
    /// Adds the domain of a file.
    pub(crate) fn add(&mut self, name: &str, file: File) -> Result<(), ConfigError> {
        let wrong = |reason: String| ConfigError::Wrong { file: name.to_owned(), reason };
        if self.domains.contains_key(&file.domain) {
            return Err(wrong(format!("domain {:?} is in another file already", file.domain)));
        }
        let mut root = Node::default();
        root.fill(file.descriptors).map_err(wrong)?;
        self.domains.insert(file.domain, root);
        Ok(())
    }

    /// The limit for the entries of a descriptor, if there is one.
    pub(crate) fn find(&self, domain: &str, entries: &[(&str, &str)]) -> Option<Found> {
        let mut node = self.domains.get(domain)?;
        let mut counter = domain.to_owned();
        let mut path = Vec::with_capacity(entries.len());
        let mut asked = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (name, next) = node.next(key, value)?;
            let shown = match next.metric {
                Metric::Configured => name,
                Metric::Asked => full(key, value),
            };
            let shared = next.shares_values.then(|| shown.clone());
            counter.push(SEPARATOR);
            counter.push_str(&shared.unwrap_or_else(|| format!("{key}{SEPARATOR}{value}")));
            path.push(shown);
            asked.push(full(key, value));
            node = next;
        }
        let rule = Arc::clone(node.rule.as_ref()?);
        let path = if rule.is_detailed { asked } else { path };
        Some(Found { rule, counter, path })
    }

    /// All limits, a line for each.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.domains.iter().for_each(|(domain, node)| node.write(domain, &mut text));
        text
    }
}

/// The limit that a request brings itself.
pub(crate) fn brought(domain: &str, entries: &[(&str, &str)], amount: Amount) -> Found {
    let mut counter = domain.to_owned();
    for (key, value) in entries {
        counter.push_str(&format!("{SEPARATOR}{key}{SEPARATOR}{value}"));
    }
    let path = entries.iter().map(|(key, value)| full(key, value)).collect();
    let rule = Rule {
        limit: Some(amount),
        name: String::new(),
        replaces: Vec::new(),
        shadow: false,
        is_quota: false,
        is_detailed: true,
    };
    Found { rule: Arc::new(rule), counter, path }
}

fn full(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}_{value}") }
}

impl Node {
    fn write(&self, name: &str, text: &mut String) {
        if let Some(rule) = &self.rule {
            let limit = rule.limit.as_ref().map_or_else(
                || "unlimited".to_owned(),
                |amount| format!("unit={} requests_per_unit={}", amount.unit.as_str_name(), amount.requests),
            );
            let (shadow, quota) = (rule.shadow, rule.is_quota);
            text.push_str(&format!("{name}: {limit}, shadow_mode: {shadow}, quota_mode: {quota}\n"));
        }
        self.next.iter().for_each(|(key, next)| next.write(&format!("{name}.{key}"), text));
    }

    fn next(&self, key: &str, value: &str) -> Option<(String, &Self)> {
        let name = full(key, value);
        if let Some(next) = self.next.get(&name) {
            return Some((name, next));
        }
        let star = self.wildcards.iter().find(|begin| name.starts_with(begin.as_str()));
        let name = star.map_or_else(|| key.to_owned(), |begin| format!("{begin}*"));
        let next = self.next.get(&name)?;
        Some((name, next))
    }

    fn fill(&mut self, descriptors: Vec<Descriptor>) -> Result<(), String> {
        for descriptor in descriptors {
            if descriptor.key.is_empty() {
                return Err("expected a key in every descriptor".to_owned());
            }
            let name = full(&descriptor.key, &descriptor.value);
            if self.next.contains_key(&name) {
                return Err(format!("descriptor {name:?} is there twice"));
            }
            if let Some(begin) = name.strip_suffix('*').filter(|_| !descriptor.value.is_empty()) {
                self.wildcards.push(begin.to_owned());
            }
            let mut node = Self {
                rule: rule(&descriptor, &name)?,
                metric: if descriptor.value_to_metric { Metric::Asked } else { Metric::Configured },
                shares_values: descriptor.share_threshold,
                ..Self::default()
            };
            node.fill(descriptor.descriptors)?;
            self.next.insert(name, node);
        }
        Ok(())
    }
}

fn rule(descriptor: &Descriptor, name: &str) -> Result<Option<Arc<Rule>>, String> {
    let Some(written) = &descriptor.rate_limit else { return Ok(None) };
    let limit = amount(written, name)?;
    let replaces: Vec<String> = written.replaces.iter().map(|replaced| replaced.name.clone()).collect();
    if replaces.iter().any(|replaced| replaced.is_empty() || *replaced == written.name) {
        return Err(format!("the limit of {name:?} replaces one without a name, or itself"));
    }
    Ok(Some(Arc::new(Rule {
        limit,
        name: written.name.clone(),
        replaces,
        shadow: descriptor.shadow_mode,
        is_quota: descriptor.quota_mode,
        is_detailed: descriptor.detailed_metric,
    })))
}

fn amount(written: &RateLimit, name: &str) -> Result<Option<Amount>, String> {
    if written.unlimited {
        if !written.unit.is_empty() {
            return Err(format!("the limit of {name:?} has a unit and is unlimited"));
        }
        return Ok(None);
    }
    let amount = Unit::from_str_name(&written.unit.to_uppercase())
        .and_then(|unit| Amount::new(written.requests_per_unit, unit));
    match amount {
        Some(amount) => Ok(Some(amount)),
        None => Err(format!("the limit of {name:?} has the unknown unit {:?}", written.unit)),
    }
}
