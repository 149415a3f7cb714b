//! What an attempt claims of the limits that are for it, and what it is charged in the end.

use std::cell::OnceCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use smallvec::SmallVec;
use tollgate_config::bundle::{
    CostFacts, Enforcement, Measure, OnExceeded, OnStoreFailure, Unpriced, Window,
};
use tollgate_config::prices::Price;
use tollgate_config::{CompiledLimit, CompiledTarget, Subject};
use tollgate_policy::claim::{self, Admission};
use tollgate_policy::quota::{Claim, Standing};
use tollgate_policy::{cost, price};
use tollgate_terms::{GatewayFault, HashedText, ModelName, Operation, Usage};

use crate::journal::Reserved;
use crate::refusal::Exceeded;
use crate::routed::{ClientRequest, Routed};

/// Headers by which clients are told how the limit stands that is nearest to its end, as Envoy's own filter names them.
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Seconds until more is there.
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// The limits of which more than a share is used that somebody wants to be warned at: a list of names, each with the share in percent.
const WARNING: HeaderName = HeaderName::from_static("x-tollgate-limit-warning");

/// What one attempt is charged by one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// What the limit is called.
    pub limit: Arc<str>,
    /// What its counter is called.
    pub counter: Arc<str>,
    /// What was taken before the attempt.
    pub taken: u64,
    /// What it used, the request itself included.
    pub used: u64,
}

/// The limits that are for an attempt.
#[derive(Debug, Default)]
pub(crate) struct Charging {
    claimed: Vec<Claimed>,
    /// What is claimed of each of them.
    claims: Arc<[Claim]>,
    /// The bound on the answer that the backend is told, because the client gave none.
    answer_tokens_max: Option<u64>,
    /// What the model costs that is asked for, if a limit had to know.
    price: Option<Option<Arc<Price>>>,
    standings: Vec<Standing>,
}

/// One limit of which something is claimed.
#[derive(Debug)]
struct Claimed {
    limit: Arc<CompiledLimit>,
    counter: HashedText,
    admission: Admission,
    /// Whose limit it is.
    owner: Owner,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The rule's: it holds whatever backend is tried.
    Rule,
    /// One backend's.
    Backend,
}

impl Charging {
    /// Looks for the limits that are for an attempt at `target`.
    pub(crate) fn new(
        routed: &Routed,
        client: &ClientRequest,
        target: &CompiledTarget,
        admission: Admission,
    ) -> Self {
        let room = routed.rule.limits.len() + target.quotas.len();
        if room == 0 {
            return Self::default();
        }
        let subject = Subject {
            headers: &client.headers,
            method: &client.method,
            path: &client.path,
            query: client.query.as_deref(),
            address: routed.client_address,
            principal: &routed.principal,
            requested_model: Some(&routed.model),
            upstream_model: Some(routed.upstream_model(target)),
        };
        let of_rule = routed.rule.limits.iter().map(|limit| (limit, Owner::Rule));
        let limits = of_rule.chain(target.quotas.iter().map(|limit| (limit, Owner::Backend)));
        let mut claimed = Vec::with_capacity(room);
        for (limit, owner) in limits {
            let Some(counter) = limit.counter(&subject) else { continue };
            // A backend is asked anew by each attempt, whoever was asked before.
            let admission = if owner == Owner::Backend { Admission::First } else { admission };
            claimed.push(Claimed { limit: Arc::clone(limit), counter, admission, owner });
        }
        let answer_tokens_max = answer_bound(routed, client, claimed.iter().map(|claimed| &*claimed.limit));
        let most = Most::new(routed, client, target, answer_tokens_max);
        let claim = |Claimed { limit, counter, admission, .. }: &Claimed| {
            let mut claim = claim::claim(limit, counter.clone(), *admission, |measure| most.of(measure));
            let detoured = routed.detoured.as_ref();
            claim.shadow |= detoured.is_some_and(|detoured| detoured.limits.contains(limit.name.text()));
            claim
        };
        let claims = claimed.iter().map(claim).collect();
        let price = most.price.into_inner().map(Option::<&Arc<Price>>::cloned);
        Self { claimed, claims, answer_tokens_max, price, standings: Vec::new() }
    }

    /// Looks for the limits that are for a request which is passed on as it is: only those on requests are.
    pub(crate) fn of_passage(limits: &[Arc<CompiledLimit>], subject: &Subject<'_>) -> Self {
        let claimed = limits.iter().filter_map(|limit| {
            let (limit, counter) = (Arc::clone(limit), limit.counter(subject)?);
            Some(Claimed { limit, counter, admission: Admission::First, owner: Owner::Rule })
        });
        let claimed: Vec<_> = claimed.collect();
        let claim = |Claimed { limit, counter, admission, .. }: &Claimed| {
            claim::claim(limit, counter.clone(), *admission, |_| 0)
        };
        let claims = claimed.iter().map(claim).collect();
        Self { claimed, claims, ..Self::default() }
    }

    /// The limit that lets in no model without a known price, if the model that is asked of `target` has none.
    pub(crate) fn unpriced(&self, routed: &Routed, target: &CompiledTarget) -> Option<Arc<str>> {
        let rejects = |(claimed, claim): &(&Claimed, &Claim)| {
            let limit = &claimed.limit.limit;
            limit.measure == Some(Measure::Money) && limit.unpriced == Unpriced::Reject && !claim.shadow
        };
        let (claimed, _) = self.each().find(rejects)?;
        let is_known = match &self.price {
            Some(price) => price.is_some(),
            None => routed.price(target, None).is_some(),
        };
        (!is_known).then(|| Arc::clone(claimed.limit.name.text()))
    }

    /// What `target` costs, which says that it served `served`, if it says that.
    pub(crate) fn price<'a>(
        &'a self,
        routed: &'a Routed,
        target: &'a CompiledTarget,
        served: Option<&ModelName>,
    ) -> Option<&'a Arc<Price>> {
        let is_asked = served.is_none_or(|served| served == routed.upstream_model(target));
        match &self.price {
            Some(price) if is_asked => price.as_ref(),
            _ => routed.price(target, served),
        }
    }

    /// The bound on the answer that the backend has to be told.
    pub(crate) fn answer_tokens_max(&self) -> Option<u64> {
        self.answer_tokens_max
    }

    /// What has to be asked for.
    pub(crate) fn claims(&self) -> Arc<[Claim]> {
        Arc::clone(&self.claims)
    }

    /// The limits, each with what is claimed of it.
    fn each(&self) -> impl Iterator<Item = (&Claimed, &Claim)> {
        self.claimed.iter().zip(&*self.claims)
    }

    /// Notes how the limits stand, now that everything is taken.
    pub(crate) fn granted(&mut self, standings: Vec<Standing>) {
        self.standings = standings;
    }

    /// Whether the limit at `at` is the backend's own: another may have something left.
    pub(crate) fn is_of_backend(&self, at: usize) -> bool {
        self.claimed.get(at).is_some_and(|claimed| claimed.owner == Owner::Backend)
    }

    /// Why the attempt is refused by the limit at `at`.
    pub(crate) fn exceeded(&self, at: usize, standings: &[Standing]) -> Option<Exceeded> {
        let ((claimed, claim), standing) = self.each().nth(at).zip(standings.get(at))?;
        Some(Exceeded {
            limit: Arc::clone(claimed.limit.name.text()),
            standing: *standing,
            asked: claim.take,
        })
    }

    /// Whether the attempt may go on although nobody knows how the limits stand.
    ///
    /// # Errors
    /// When one of them would rather have none.
    pub(crate) fn unchecked(&self) -> Result<(), GatewayFault> {
        let closed = |claimed: &Claimed| claimed.limit.limit.on_store_failure == OnStoreFailure::Closed;
        if self.claimed.iter().any(closed) { Err(GatewayFault::LimitStore) } else { Ok(()) }
    }

    /// The claims on limits that lead to another model when nothing is left, each with the name of the limit and that model.
    pub(crate) fn leading_elsewhere(self) -> impl Iterator<Item = (Claim, (Arc<str>, ModelName))> {
        let claims = self.claims;
        self.claimed.into_iter().enumerate().filter_map(move |(at, claimed)| {
            let OnExceeded::Reroute(model) = &claimed.limit.limit.on_exceeded else { return None };
            let bounds_flight = *claimed.limit.window == Window::InFlight;
            let claim = claims.get(at).filter(|_| !bounds_flight)?.clone();
            Some((claim, (Arc::clone(claimed.limit.name.text()), model.clone())))
        })
    }

    /// What was taken before the attempt.
    pub(crate) fn reserved(&self) -> SmallVec<[Reserved; 2]> {
        let taken = self.each().filter(|(_, claim)| claim.take > 0);
        taken
            .map(|(claimed, claim)| Reserved {
                limit: Arc::clone(claimed.limit.name.text()),
                amount: claim.take,
            })
            .collect()
    }

    /// What the attempt is charged.
    pub(crate) fn charges(self, facts: &CostFacts<'_>, cost_nanodollars: Option<u64>) -> Vec<Charge> {
        let charge = |(claimed, claim): (Claimed, &Claim)| {
            let measured = claimed.limit.limit.measure.as_ref();
            let measured = measured.map_or(0, |measure| match measure {
                Measure::Money => cost_nanodollars.unwrap_or(0),
                Measure::Tokens(kind) => cost::value_or_total(kind, facts),
            });
            Charge {
                limit: Arc::clone(claimed.limit.name.text()),
                counter: claimed.counter.into(),
                taken: claim.take,
                used: claim::used(&claimed.limit, claimed.admission, measured),
            }
        };
        self.claimed.into_iter().zip(&*self.claims).map(charge).collect()
    }

    /// Tells the client how the limits stand.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let of = self.claimed.iter().zip(&self.standings);
        let counting = of.clone().filter(|(claimed, _)| !claimed.limit.limit.shadow);
        // Of which the smallest share is left.
        let share = |standing: &Standing| u128::from(standing.remaining) << 64 | u128::from(standing.limit);
        let nearest = counting.min_by(|(_, a), (_, b)| {
            let (a, b) = (share(a), share(b));
            ((a >> 64) * (b & u128::from(u64::MAX))).cmp(&((b >> 64) * (a & u128::from(u64::MAX))))
        });
        if let Some((claimed, standing)) = nearest {
            write_standing(claimed.limit.amount.clone(), standing, headers);
        }
        let warnings: Vec<String> =
            of.filter_map(|(claimed, standing)| warning(&claimed.limit, standing)).collect();
        if !warnings.is_empty()
            && let Ok(value) = HeaderValue::try_from(warnings.join(", "))
        {
            headers.insert(WARNING, value);
        }
    }
}

/// Tells in headers how a limit of this `amount` stands.
pub(crate) fn write_standing(amount: HeaderValue, standing: &Standing, headers: &mut HeaderMap) {
    headers.insert(LIMIT, amount);
    headers.insert(REMAINING, digits(standing.remaining));
    if let Some(reset) = standing.reset {
        headers.insert(RESET, digits(seconds(reset)));
    }
}

/// A number as a header has it. `HeaderValue::from` keeps room behind it, which takes another allocation to share.
pub(crate) fn digits(number: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or(HeaderValue::from_static("0"))
}

/// Whole seconds, rounded up: who comes a moment early is refused again.
pub(crate) fn seconds(wait: std::time::Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// The highest share to warn at that is used.
fn warning(limit: &CompiledLimit, standing: &Standing) -> Option<String> {
    let reached =
        |percent: &&u8| u128::from(standing.used) * 100 >= u128::from(standing.limit) * u128::from(**percent);
    let percent = limit.limit.warn_at_percent.iter().filter(reached).max()?;
    Some(format!("\"{}\";used={percent}", limit.name.replace(['"', '\\'], "")))
}

/// The bound that the answer gets, if it has none and one of `limits` has to reserve for it.
fn answer_bound<'a>(
    routed: &Routed,
    client: &ClientRequest,
    limits: impl Iterator<Item = &'a CompiledLimit>,
) -> Option<u64> {
    if !answers(routed) || client.facts.output_tokens_max.is_some() {
        return None;
    }
    let reserving = limits.map(|limit| &limit.limit);
    let reserving =
        reserving.filter(|limit| limit.enforcement == Enforcement::Reserve && limit.measure.is_some());
    reserving.map(|limit| limit.answer_tokens_max).min()
}

/// The most that an attempt can use: a token has at least one byte, and what is around the texts of a request pays for the tokens that
/// part them. What is only referred to, such as an image by its URL, is not in it.
struct Most<'a> {
    input_tokens: u64,
    output_tokens: u64,
    routed: &'a Routed,
    target: &'a CompiledTarget,
    /// What the target costs, once that was asked.
    price: OnceCell<Option<&'a Arc<Price>>>,
}

impl<'a> Most<'a> {
    fn new(
        routed: &'a Routed,
        client: &ClientRequest,
        target: &'a CompiledTarget,
        answer_tokens_max: Option<u64>,
    ) -> Self {
        let answer =
            client.facts.output_tokens_max.or(answer_tokens_max).filter(|_| answers(routed)).unwrap_or(0);
        Self {
            input_tokens: client.body.len() as u64,
            output_tokens: answer.saturating_mul(client.facts.choices),
            routed,
            target,
            price: OnceCell::new(),
        }
    }

    fn of(&self, measure: &Measure) -> u64 {
        match measure {
            Measure::Money => {
                let price = *self.price.get_or_init(|| self.routed.price(self.target, None));
                let at = self.routed.arrived_at_unix_ms;
                let bound =
                    |price: &Arc<Price>| price::upper_bound(price, self.input_tokens, self.output_tokens, at);
                price.map_or(0, bound)
            }
            Measure::Tokens(kind) => {
                // An expression may weigh the parts as it likes: the dearest way to use all of it counts.
                let all = Usage {
                    input_tokens: self.input_tokens,
                    output_tokens: self.output_tokens,
                    ..Usage::default()
                };
                let cached = Usage { cached_input_tokens: self.input_tokens, ..all };
                let written = Usage { cache_creation_input_tokens: self.input_tokens, ..all };
                let thought = Usage { reasoning_tokens: self.output_tokens, ..all };
                let of = |usage| cost::value_or_total(kind, &self.routed.cost_facts(self.target, usage));
                [&all, &cached, &written, &thought].map(of).into_iter().max().unwrap_or_default()
            }
        }
    }
}

/// Whether what is asked for has an answer of as many tokens as the model likes.
fn answers(routed: &Routed) -> bool {
    matches!(routed.operation, Operation::Chat | Operation::Complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_headers_as_they_are() {
        for number in [0, 7, 10, 1_000_000_000_000, u64::MAX] {
            assert_eq!(digits(number), number.to_string());
        }
    }
}
