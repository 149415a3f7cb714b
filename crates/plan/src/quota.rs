//! QuotaPolicy: what may be used of each backend, as a whole and of each model.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_config::bundle::{CostKind, Limit, LimitStore, Measure, OnExceeded, Selector, Unpriced, Window};
use tollgate_manifest::{PerModelQuota, QuotaDuration, QuotaPolicySpec, QuotaValue};
use tollgate_terms::ModelName;

use crate::findings::{Findings, Unresolved};
use crate::grant::{AI_BACKEND, QUOTA};
use crate::index::{Index, Item};
use crate::invalid::InvalidPolicies;
use crate::limit::{ANSWER_TOKENS_MAX, Keeping, check_amount, expression as expression_kind, selectors};

type Written<'a> = Item<'a, QuotaPolicySpec>;

/// The quotas of each backend by namespace and name, or why it must not be used.
#[derive(Debug)]
pub(crate) struct Quotas {
    by_backend: BTreeMap<(String, String), Result<Vec<Limit>, String>>,
    invalid: InvalidPolicies,
}

impl Quotas {
    /// Resolves every policy for every backend that it is about. Of two about the same model of a backend the one whose name sorts first
    /// counts, as in Envoy AI Gateway.
    pub(crate) fn resolve(index: &Index<'_>, findings: &mut Findings) -> Self {
        let mut by_backend: BTreeMap<_, Result<Vec<Limit>, String>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for policy in index.quota_policies.iter() {
            if policy.spec.target_refs.is_empty() {
                findings.warning(&policy.id, "spec.targetRefs", "has no effect: it is about no backend");
            }
            let resolved = limits(policy, findings);
            for (at, target) in policy.spec.target_refs.iter().enumerate() {
                let key = (policy.id.namespace.clone(), target.name.clone());
                if index.ai_service_backends.get(&key.0, &key.1).is_none() {
                    if !index.is_invalid(AI_BACKEND, &key.0, &key.1) {
                        let path = format!("spec.targetRefs[{at}].name");
                        let message =
                            format!("no AIServiceBackend {:?} in namespace {:?}", target.name, key.0);
                        findings.unresolved(&policy.id, path, Unresolved::BackendNotFound, message);
                    }
                    continue;
                }
                let limits = resolved.clone().map(|quotas| {
                    let mut limits = Vec::new();
                    for quota in quotas {
                        let subject = (key.clone(), quota.model.clone());
                        if !taken.insert(subject) {
                            let message = format!(
                                "has no effect on AIServiceBackend {:?}: a policy whose name sorts first counts",
                                target.name
                            );
                            findings.warning(&policy.id, quota.path, message);
                            continue;
                        }
                        limits.extend(quota.limits.into_iter().map(|limit| of_backend(limit, &key)));
                    }
                    limits
                });
                let all = by_backend.entry(key).or_insert_with(|| Ok(Vec::new()));
                match (all, limits) {
                    (Ok(all), Ok(limits)) => all.extend(limits),
                    (all @ Ok(_), Err(reason)) => *all = Err(reason),
                    (Err(_), _) => {}
                }
            }
        }
        Self { by_backend, invalid: InvalidPolicies::new(index, QUOTA, [AI_BACKEND]) }
    }

    /// The quotas of a backend.
    ///
    /// # Errors
    /// When a policy about it has mistakes.
    pub(crate) fn of(&self, key: &(String, String)) -> Result<Vec<Limit>, String> {
        if let Some(reason) = self.invalid.over(&key.0, &key.1) {
            return Err(reason.to_owned());
        }
        self.by_backend.get(key).cloned().unwrap_or_else(|| Ok(Vec::new()))
    }
}

/// The limits of one model, or of none in particular.
#[derive(Debug, Clone)]
struct Quota {
    model: Option<String>,
    path: String,
    limits: Vec<Limit>,
}

/// Each backend has counters of its own.
fn of_backend(limit: Limit, (namespace, name): &(String, String)) -> Limit {
    let label = |text: &str| format!("{text} of {namespace}/{name}");
    Limit { name: label(&limit.name), group: limit.group.as_deref().map(label), ..limit }
}

fn limits(policy: &Written<'_>, findings: &mut Findings) -> Result<Vec<Quota>, String> {
    let keep = Keeping::annotated(policy, findings);
    let mut planner = Planner { policy, keep: keep.clone().unwrap_or_default(), findings };
    let of_service = policy.spec.service_quota.as_ref().map(|service| {
        let path = "spec.serviceQuota";
        let measure = planner.measure(service.cost_expression.as_deref(), path);
        let limit = planner.limit(&format!("{path}.quota"), &service.quota, Vec::new());
        Ok(Quota {
            model: None,
            path: path.to_owned(),
            limits: vec![Limit { measure: Some(measure?), ..limit? }],
        })
    });
    let of_models = policy.spec.per_model_quotas.iter().enumerate();
    let of_models: Vec<_> = of_models.map(|(at, quota)| planner.of_model(at, quota)).collect();
    let name = |message: String| format!("{}: {message}", policy.id);
    keep.map_err(name)?;
    of_service.into_iter().chain(of_models).collect::<Result<_, _>>().map_err(name)
}

struct Planner<'a, 'w> {
    policy: &'a Written<'w>,
    keep: Keeping,
    findings: &'a mut Findings,
}

impl Planner<'_, '_> {
    fn of_model(&mut self, at: usize, written: &PerModelQuota) -> Result<Quota, String> {
        let path = format!("spec.perModelQuotas[{at}]");
        let object = &self.policy.id;
        let model = ModelName::parse(&written.model_name).map_err(|error| error.to_string());
        let model = model.inspect_err(|message| {
            self.findings.error(object, format!("{path}.modelName"), message.as_str());
        });
        let measure = self.measure(written.quota.cost_expression.as_deref(), &format!("{path}.quota"));
        let mut limits = Vec::new();
        for (nth, rule) in written.quota.bucket_rules.iter().enumerate() {
            let path = format!("{path}.quota.bucketRules[{nth}]");
            let select = selectors(&rule.client_selectors, (object, &path), self.findings);
            let limit = select.and_then(|select| self.limit(&path, &rule.quota, select));
            limits.push(limit.map(|limit| Limit { shadow: rule.shadow_mode == Some(true), ..limit }));
        }
        limits.push(self.limit(
            &format!("{path}.quota.defaultBucket"),
            &written.quota.default_bucket,
            Vec::new(),
        ));
        let (model, measure) = (model?, measure?);
        let group = Some(format!("{object} {}", written.model_name));
        let limits = limits.into_iter().map(|limit| {
            let mut limit = limit?;
            limit.select.push(Selector::UpstreamModel { models: vec![model.clone()] });
            Ok(Limit { group: group.clone(), measure: Some(measure.clone()), ..limit })
        });
        Ok(Quota {
            model: Some(written.model_name.clone()),
            path,
            limits: limits.collect::<Result<_, String>>()?,
        })
    }

    /// What a request uses.
    fn measure(&mut self, expression: Option<&str>, path: &str) -> Result<Measure, String> {
        let Some(expression) = expression else { return Ok(Measure::Tokens(CostKind::TotalToken)) };
        let path = format!("{path}.costExpression");
        expression_kind(expression, (&self.policy.id, &path), self.findings).map(Measure::Tokens)
    }

    fn limit(&mut self, path: &str, quota: &QuotaValue, select: Vec<Selector>) -> Result<Limit, String> {
        let amount = check_amount(quota.limit, (&self.policy.id, &format!("{path}.limit")), self.findings)?;
        let seconds = match quota.duration {
            QuotaDuration::Second => 1,
            QuotaDuration::Minute => 60,
            QuotaDuration::Hour => 3_600,
            QuotaDuration::Day => 86_400,
        };
        Ok(Limit {
            name: format!("{} {}", self.policy.id, path.trim_start_matches("spec.")),
            select,
            amount,
            window: Window::Fixed { seconds },
            request: 0,
            measure: None,
            enforcement: self.keep.enforcement,
            answer_tokens_max: self.keep.answer_tokens_max.unwrap_or(ANSWER_TOKENS_MAX),
            shadow: false,
            group: None,
            store: LimitStore::Shared,
            on_store_failure: self.keep.on_store_failure,
            on_exceeded: OnExceeded::Reject,
            warn_at_percent: Vec::new(),
            unpriced: Unpriced::Allow,
        })
    }
}
