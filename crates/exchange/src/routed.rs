//! A request once it is understood and routed. It never changes again: every attempt is made afresh from it.
//!
//! It is in two parts: what the client sent, which is needed only as long as another attempt may be made, and what is known of
//! it, which lives as long as the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use tollgate_config::bundle::{Call, CostFacts};
use tollgate_config::prices::Price;
use tollgate_config::{CompiledRule, CompiledTarget, Snapshot};
use tollgate_dialect::{Facts, VectorEncoding};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, Principal, Usage};

use crate::detour::Detoured;
use crate::explain::Explain;
use crate::shape::Shape;
use crate::step::Offered;

/// What is known of a request, and the rule that takes it. It holds nothing of the client's own bytes.
#[derive(Debug, Clone)]
pub struct Routed {
    pub(crate) request_id: Arc<str>,
    pub(crate) arrived: Instant,
    pub(crate) arrived_at_unix_ms: u64,
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    /// The model asked for, or that which it was led to instead.
    pub(crate) model: ModelName,
    /// What led it there.
    pub(crate) detoured: Option<Detoured>,
    pub(crate) delivery: Delivery,
    /// In which form the client wants its answer.
    pub(crate) shape: Shape,
    /// Whether the client asked for the usage of a stream.
    pub(crate) usage_wanted: bool,
    pub(crate) prompt_bytes: u64,
    /// How the client wants vectors written.
    pub(crate) vectors: VectorEncoding,
    /// Whether the client is told what a translation lost.
    pub(crate) explain: Explain,
    /// Where it came from, if that is an address.
    pub(crate) client_address: Option<IpAddr>,
    /// Who called.
    pub(crate) principal: Arc<Principal>,
    pub(crate) rule: Arc<CompiledRule>,
    /// The configuration that the rule is of.
    pub(crate) snapshot: Arc<Snapshot>,
}

/// What a client sent: every attempt is made from it. Large, and worth dropping once there can be no other attempt.
#[derive(Debug)]
pub struct ClientRequest {
    pub(crate) method: Method,
    /// The path, for limits that look at it: empty if there are none.
    pub(crate) path: String,
    /// The query, for limits, without keys and tokens that stood in it.
    pub(crate) query: Option<String>,
    /// As the client sent them, but for its credentials.
    pub(crate) headers: HeaderMap,
    /// What the client sent in headers that are for credentials.
    pub(crate) credentials: Vec<(HeaderName, Offered)>,
    pub(crate) body: Bytes,
    pub(crate) facts: Facts,
}

impl ClientRequest {
    /// The body as the client sent it.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

impl Routed {
    /// The rule that takes the request: its targets, timeouts and retries.
    pub fn rule(&self) -> &Arc<CompiledRule> {
        &self.rule
    }

    /// The model by which the request is routed: that which the client asks for, unless a budget leads it elsewhere.
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The model that the client asks for.
    pub(crate) fn requested_model(&self) -> &ModelName {
        self.detoured.as_ref().map_or(&self.model, |detoured| &detoured.asked)
    }

    /// What `target` costs: the model that it says it served, where that is known, else the one that it is asked for.
    pub fn price(&self, target: &CompiledTarget, served: Option<&ModelName>) -> Option<&Arc<Price>> {
        let price = |model: &ModelName| self.snapshot.price(&target.backend, model);
        served.and_then(price).or_else(|| price(self.upstream_model(target)))
    }

    /// What numbers that are published or counted for `usage` at `target` are computed from.
    pub(crate) fn cost_facts<'a>(&'a self, target: &'a CompiledTarget, usage: &'a Usage) -> CostFacts<'a> {
        let model = self.upstream_model(target).as_str();
        CostFacts { model, backend: target.backend.name.as_ref(), route: self.rule.route.as_ref(), usage }
    }

    /// Whether `target` can serve this request, in the client's dialect or through a translation.
    pub fn is_served_by(&self, target: &CompiledTarget) -> bool {
        self.backend_dialect(target).is_some()
    }

    /// The dialect in which `target` is to be asked: the client's own wherever it is served, so that bytes go
    /// through; else one that the client's can be translated to.
    pub(crate) fn backend_dialect(&self, target: &CompiledTarget) -> Option<Dialect> {
        let schema = &target.backend.schema;
        if schema.serves(&self.call(target, self.dialect)) {
            return Some(self.dialect);
        }
        schema.dialects(self.operation, self.upstream_model(target)).iter().copied().find(|&dialect| {
            schema.serves(&self.call(target, dialect))
                && tollgate_dialect::can_translate(self.dialect, dialect, self.operation)
        })
    }

    /// What `target` is asked for, in `dialect`.
    pub(crate) fn call<'a>(&'a self, target: &'a CompiledTarget, dialect: Dialect) -> Call<'a> {
        let model = self.upstream_model(target);
        Call { dialect, operation: self.operation, delivery: self.delivery, model }
    }

    /// The model to ask `target` for.
    pub(crate) fn upstream_model<'a>(&'a self, target: &'a CompiledTarget) -> &'a ModelName {
        target.model_override.as_ref().unwrap_or(&self.model)
    }
}
