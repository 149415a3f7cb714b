//! What rate limits, quotas and budgets have in common when they are resolved.

use std::net::IpAddr;

use tollgate_config::bundle::{
    CostExpression, CostKind, Enforcement, MethodMatch, Network, OnStoreFailure, QueryMatch, Selector,
    TextMatch,
};
use tollgate_manifest::{
    PathMatchType, RateLimitHeaderMatch, RateLimitHeaderMatchType, RateLimitMethodMatch, RateLimitPathMatch,
    RateLimitQueryParamMatch, RateLimitSelectCondition, SourceMatch, SourceMatchType,
};

use crate::findings::{Findings, ObjectId};
use crate::index::Item;
use crate::plain_route::path_match;

/// The largest amount that every store of counters can count to exactly: scripts in Redis count in doubles.
const AMOUNT_MAX: u64 = 1 << 53;

/// The bound on answers without one, where they have to be reserved for.
pub(crate) const ANSWER_TOKENS_MAX: u64 = 4096;

/// The annotation of a policy of somebody else's that says when requests are charged.
const ENFORCEMENT: &str = "tollgate.dev/enforcement";
/// The annotation that says what becomes of requests while no counter can be had.
const FAILURE_MODE: &str = "tollgate.dev/failure-mode";
/// The annotation with the bound on answers without one.
const DEFAULT_MAX_TOKENS: &str = "tollgate.dev/default-max-tokens";

/// How a policy's limits are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) enforcement: Enforcement,
    pub(crate) on_store_failure: OnStoreFailure,
    /// `None` is the default.
    pub(crate) answer_tokens_max: Option<u64>,
}

impl Keeping {
    /// As the annotations of `policy` say, whose kind has no fields for it.
    ///
    /// # Errors
    /// When one of them says something else.
    pub(crate) fn annotated<S>(policy: &Item<'_, S>, findings: &mut Findings) -> Result<Self, String> {
        let annotations = &policy.metadata.annotations;
        let mut wrong = |annotation: &str, expected: &str, found: &str| {
            let message = format!("expected {expected}, found {found:?}");
            findings.error(&policy.id, format!("metadata.annotations[{annotation:?}]"), message.as_str());
            format!("{annotation}: {message}")
        };
        let enforcement = match annotations.get(ENFORCEMENT).map(String::as_str) {
            None | Some("Settle") => Ok(Enforcement::Settle),
            Some("Reserve") => Ok(Enforcement::Reserve),
            Some(other) => Err(wrong(ENFORCEMENT, "Settle or Reserve", other)),
        };
        let on_store_failure = match annotations.get(FAILURE_MODE).map(String::as_str) {
            None | Some("Open") => Ok(OnStoreFailure::Open),
            Some("Closed") => Ok(OnStoreFailure::Closed),
            Some(other) => Err(wrong(FAILURE_MODE, "Open or Closed", other)),
        };
        let answer_tokens_max = match annotations.get(DEFAULT_MAX_TOKENS) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(tokens) if (1..=u64::from(u32::MAX)).contains(&tokens) => Ok(Some(tokens)),
                _ => Err(wrong(DEFAULT_MAX_TOKENS, "a number of tokens above 0", text)),
            },
        };
        Ok(Self {
            enforcement: enforcement?,
            on_store_failure: on_store_failure?,
            answer_tokens_max: answer_tokens_max?,
        })
    }
}

/// Checks that every store can hold `amount`.
///
/// # Errors
/// When none may promise that.
pub(crate) fn check_amount(
    amount: u64,
    (object, path): (&ObjectId, &str),
    findings: &mut Findings,
) -> Result<u64, String> {
    if amount <= AMOUNT_MAX {
        return Ok(amount);
    }
    let message = format!("is {amount}: counters count to {AMOUNT_MAX} at most");
    findings.error(object, path, message.as_str());
    Err(message)
}

/// An expression that says what a request uses.
///
/// # Errors
/// When it cannot be evaluated.
pub(crate) fn expression(
    text: &str,
    (object, path): (&ObjectId, &str),
    findings: &mut Findings,
) -> Result<CostKind, String> {
    CostExpression::compile(text)
        .map(CostKind::Cel)
        .inspect_err(|message| findings.error(object, path, message.as_str()))
        .map_err(|message| format!("{path} {message}"))
}

/// The conditions of a limit: all of them hold together.
///
/// # Errors
/// When one cannot be understood. What is said of it is found where it stands.
pub(crate) fn selectors(
    written: &[RateLimitSelectCondition],
    (object, path): (&ObjectId, &str),
    findings: &mut Findings,
) -> Result<Vec<Selector>, String> {
    let mut selectors = Vec::new();
    let mut first_mistake = Ok(());
    for (at, condition) in written.iter().enumerate() {
        let path = format!("{path}.clientSelectors[{at}]");
        let headers = condition.headers.iter().enumerate().map(|(nth, header)| {
            let path = format!("{path}.headers[{nth}].value");
            of_header(header).inspect_err(|message| findings.error(object, path, message.as_str()))
        });
        let mut found: Vec<_> = headers.collect();
        if !condition.methods.is_empty() {
            found.push(Ok(Selector::Method { any: condition.methods.iter().map(of_method).collect() }));
        }
        if let Some(written) = &condition.path {
            let path = format!("{path}.path.value");
            found
                .push(of_path(written).inspect_err(|message| findings.error(object, path, message.as_str())));
        }
        for (nth, parameter) in condition.query_params.iter().enumerate() {
            let path = format!("{path}.queryParams[{nth}].value");
            let of_query = of_query(parameter);
            found.push(of_query.inspect_err(|message| findings.error(object, path, message.as_str())));
        }
        if let Some(source) = &condition.source_cidr {
            let path = format!("{path}.sourceCIDR.value");
            found.push(
                of_source(source).inspect_err(|message| findings.error(object, path, message.as_str())),
            );
        }
        for one in found {
            match one {
                Ok(selector) => selectors.push(selector),
                Err(message) => first_mistake = first_mistake.and(Err(message)),
            }
        }
    }
    first_mistake.map(|()| selectors)
}

fn of_header(header: &RateLimitHeaderMatch) -> Result<Selector, String> {
    let name = header.name.to_ascii_lowercase();
    let invert = header.invert == Some(true);
    Ok(match text(header.kind, header.value.as_ref())? {
        None => Selector::DistinctHeader { name },
        Some(value) => Selector::Header { name, value, invert },
    })
}

fn of_query(written: &RateLimitQueryParamMatch) -> Result<Selector, String> {
    let name = written.name.clone();
    let invert = written.invert == Some(true);
    Ok(match text(written.kind, written.value.as_ref())? {
        None => Selector::DistinctQuery { name },
        Some(value) => Selector::Query { parameter: QueryMatch { name, value }, invert },
    })
}

/// What a value must be; `None` if each has a counter of its own.
fn text(kind: RateLimitHeaderMatchType, value: Option<&String>) -> Result<Option<TextMatch>, String> {
    let value = value.cloned().unwrap_or_default();
    match kind {
        RateLimitHeaderMatchType::Distinct => Ok(None),
        RateLimitHeaderMatchType::Exact => Ok(Some(TextMatch::Exact(value))),
        RateLimitHeaderMatchType::RegularExpression => {
            tollgate_config::check_regular_expression(&value)?;
            Ok(Some(TextMatch::RegularExpression(value)))
        }
    }
}

fn of_method(written: &RateLimitMethodMatch) -> MethodMatch {
    MethodMatch { method: written.value.clone(), invert: written.invert == Some(true) }
}

fn of_path(written: &RateLimitPathMatch) -> Result<Selector, String> {
    if written.kind == PathMatchType::RegularExpression {
        tollgate_config::check_regular_expression(&written.value)?;
    }
    let path = path_match(written.kind, &written.value);
    Ok(Selector::Path { path, invert: written.invert == Some(true) })
}

fn of_source(source: &SourceMatch) -> Result<Selector, String> {
    Ok(Selector::SourceAddress {
        networks: vec![network(&source.value)?],
        distinct: source.kind == SourceMatchType::Distinct,
        invert: source.invert == Some(true),
    })
}

/// A network such as `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    let wrong = || format!("expected a network such as 10.0.0.0/8, found {text:?}");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
    if prefix_bits > most { Err(wrong()) } else { Ok(Network { address, prefix_bits }) }
}
