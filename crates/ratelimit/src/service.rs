//! The service itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tollgate_config::bundle::LimitStore;
use tollgate_effects::quota::{QuotaMetrics, Quotas, Reserved};
use tollgate_envoy::limiting::rate_limit_response::rate_limit::Unit as Period;
use tollgate_envoy::limiting::rate_limit_response::{Code, DescriptorStatus};
use tollgate_envoy::limiting::rate_limit_service_server::RateLimitService;
use tollgate_envoy::limiting::{RateLimitDescriptor, RateLimitRequest, RateLimitResponse};
use tollgate_policy::quota::{Charge, Claim, OnRefusal, Standing, Unit};
use tonic::{Request, Response, Status};

use crate::answer;
use crate::live::Live;
use crate::metrics::{Event, Hits, Metrics};
use crate::tree::{Amount, Found, Tree, brought};

/// Most descriptors of a request that are looked at.
const DESCRIPTORS_MAX: usize = 256;

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether a request that is refused counts.
    pub consumption: Consumption,
    /// Whether answers name limits in headers.
    pub headers: Headers,
    /// Whether it only counts, and refuses nobody.
    pub shadow: bool,
}

/// Whether a request that is refused counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consumption {
    /// It does, as with envoyproxy/ratelimit.
    #[default]
    All,
    /// It does not.
    AllowedOnly,
}

/// Whether answers name limits in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Headers {
    /// They do not.
    #[default]
    Untold,
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` are added.
    Told,
}

/// The service. Cloning it copies pointers.
#[derive(Debug, Clone)]
pub struct RateLimits {
    live: Live,
    quotas: Quotas,
    options: Options,
}

#[tonic::async_trait]
impl RateLimitService for RateLimits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.answer(request.get_ref()).await.map(Response::new)
    }
}

#[expect(clippy::disallowed_methods, reason = "a request comes at some time, and is answered after another")]
fn clock() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// A descriptor, with what was found for it.
struct Asked {
    hits: u64,
    found: Option<Found>,
    /// Which claim is its own.
    claim: Option<usize>,
}

impl RateLimits {
    /// Limits from `live`, counted in `quotas`.
    pub fn new(live: Live, quotas: Quotas, options: Options) -> Self {
        Self { live, quotas, options }
    }

    /// All metrics, in the OpenMetrics text format: those of envoyproxy/ratelimit, and those of the counters.
    pub fn metrics_text(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(QuotaMetrics(self.quotas.clone())));
        let mut counters = String::new();
        if encode(&mut counters, &registry).is_err() {
            // Writing to a string does not fail; an end is needed all the same.
            counters = "# EOF\n".to_owned();
        }
        self.live.metrics().text() + &counters
    }

    /// The configuration that is served: a line for each limit, `DOMAIN.KEY_VALUE.KEY: unit=DAY requests_per_unit=5, shadow_mode: false`.
    pub fn config_text(&self) -> String {
        self.live.tree().text()
    }

    /// Answers one request, whatever way it came.
    pub(crate) async fn answer(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let (began, now) = clock();
        let answered = self.decide(request, now).await;
        self.live.metrics().answered(began.elapsed());
        answered
    }

    async fn decide(&self, request: &RateLimitRequest, now: SystemTime) -> Result<RateLimitResponse, Status> {
        let metrics = self.live.metrics();
        if let Some(missing) = missing(request) {
            metrics.count(Event::ServiceError);
            return Err(Status::unknown(missing));
        }
        let mut asked = found(&self.live.tree(), request);
        let claims = claims(&mut asked);
        let (refused, standings) = self.ask(claims, now).await?;
        let mut statuses = Vec::with_capacity(asked.len());
        for asked in &asked {
            statuses.push(self.status(&request.domain, asked, &standings));
        }
        let overall = match (refused, self.options.shadow) {
            (true, true) => {
                metrics.count(Event::GlobalShadow);
                Code::Ok
            }
            (true, false) => Code::OverLimit,
            (false, _) => Code::Ok,
        };
        Ok(answer::response(overall, statuses, self.options.headers))
    }

    /// Whether claims are refused, and how they stand. They are counted for good.
    async fn ask(&self, claims: Vec<Claim>, now: SystemTime) -> Result<(bool, Vec<Standing>), Status> {
        if claims.is_empty() {
            return Ok((false, Vec::new()));
        }
        let on_refusal = match self.options.consumption {
            Consumption::All => OnRefusal::Take,
            Consumption::AllowedOnly => OnRefusal::Keep,
        };
        match self.quotas.count(claims, on_refusal, now).reserved().await {
            Reserved::Granted(granted) => Ok((false, granted.standings().to_vec())),
            Reserved::Refused(refused) => Ok((true, refused.standings)),
            Reserved::Failed(unchecked) => {
                self.live.metrics().count(Event::StoreError);
                // Whether it is let in then is for Envoy to say.
                Err(Status::unavailable(format!("the store does not answer: {}", unchecked.why.name())))
            }
        }
    }

    fn status(&self, domain: &str, asked: &Asked, standings: &[Standing]) -> DescriptorStatus {
        let Some(found) = &asked.found else { return answer::unlimited(None) };
        let metrics: &Metrics = self.live.metrics();
        let limited = asked.claim.and_then(|claim| standings.get(claim)).zip(found.rule.limit.as_ref());
        let Some((standing, amount)) = limited else {
            let hits = Hits { total: asked.hits, within: asked.hits, ..Hits::default() };
            metrics.hit(domain, &found.path, hits);
            return answer::unlimited(Some(&found.rule));
        };
        let after = match (self.options.consumption, standing.over) {
            (Consumption::AllowedOnly, true) => standing.used.saturating_add(asked.hits),
            (Consumption::AllowedOnly, false) | (Consumption::All, _) => standing.used,
        };
        let mut hits = Hits::divided(asked.hits, after, standing.limit);
        if standing.over && found.rule.shadow {
            hits.shadow = asked.hits;
        }
        metrics.hit(domain, &found.path, hits);
        answer::limited(&found.rule, amount, standing)
    }
}

fn missing(request: &RateLimitRequest) -> Option<&'static str> {
    if request.domain.is_empty() {
        return Some("a request has a domain");
    }
    if request.descriptors.is_empty() {
        return Some("a request has descriptors");
    }
    (request.descriptors.len() > DESCRIPTORS_MAX).then_some("a request has too many descriptors")
}

/// The limit of each descriptor. Those that another one replaces are left out.
fn found(tree: &Tree, request: &RateLimitRequest) -> Vec<Asked> {
    let usual = u64::from(request.hits_addend.max(1));
    let look = |descriptor: &RateLimitDescriptor| {
        let entries: Vec<(&str, &str)> =
            descriptor.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        let own = descriptor.limit.as_ref().and_then(|limit| {
            let amount = Amount::new(limit.requests_per_unit, period(limit.unit))?;
            Some(brought(&request.domain, &entries, amount))
        });
        // What would have to be given back is only looked at.
        let hits = if descriptor.is_negative_hits { 0 } else { descriptor.hits_addend.unwrap_or(usual) };
        Asked { hits, found: own.or_else(|| tree.find(&request.domain, &entries)), claim: None }
    };
    let mut asked: Vec<Asked> = request.descriptors.iter().map(look).collect();
    let replaced: Vec<String> = asked
        .iter()
        .filter_map(|asked| asked.found.as_ref())
        .flat_map(|found| found.rule.replaces.iter().cloned())
        .collect();
    let is_replaced = |found: &Found| replaced.contains(&found.rule.name);
    asked.iter_mut().for_each(|asked| asked.found = asked.found.take().filter(|found| !is_replaced(found)));
    asked
}

/// The unit of a limit that a request brings: the same names, and other numbers.
fn period(unit: i32) -> Period {
    use tollgate_envoy::limiting::RateLimitUnit as Brought;
    match Brought::try_from(unit).unwrap_or(Brought::Unknown) {
        Brought::Unknown => Period::Unknown,
        Brought::Second => Period::Second,
        Brought::Minute => Period::Minute,
        Brought::Hour => Period::Hour,
        Brought::Day => Period::Day,
        Brought::Month => Period::Month,
        Brought::Year => Period::Year,
    }
}

fn claims(asked: &mut [Asked]) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(asked.len());
    for asked in asked {
        let Some(found) = &asked.found else { continue };
        let Some(amount) = &found.rule.limit else { continue };
        asked.claim = Some(claims.len());
        claims.push(Claim {
            key: format!("ratelimit/{}", found.counter).as_str().into(),
            limit: u64::from(amount.requests),
            window: Arc::clone(&amount.window),
            take: asked.hits,
            charge: Charge::Current,
            unit: Unit::Requests,
            group: found.rule.is_quota.then_some(0),
            shadow: found.rule.shadow,
            store: LimitStore::Shared,
        });
    }
    claims
}
