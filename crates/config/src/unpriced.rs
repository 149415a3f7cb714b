//! Models without a known price, where money is counted.

use tollgate_terms::ModelName;

use crate::bundle::{Limit, Measure, Rule, TextMatch, Unpriced};
use crate::condition::MODEL_HEADER;
use crate::diagnostic::{Diagnostic, Severity};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// Warnings about models that rules name, which are under a limit in money and have no known price at a backend.
    pub fn unpriced(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        for route in &self.bundle().routes {
            for (at, rule) in route.rules.iter().enumerate() {
                let Some(limit) = rule.limits.iter().find(|it| it.measure == Some(Measure::Money)) else {
                    continue;
                };
                warnings.extend(self.of_rule(rule).into_iter().map(|(model, backend)| Diagnostic {
                    object: format!("AIGatewayRoute {}", route.name),
                    path: format!("spec.rules[{at}]"),
                    severity: Severity::Warning,
                    message: format!(
                        "model {:?} has no known price at {backend:?}: {}",
                        model.as_str(),
                        consequence(limit)
                    ),
                }));
            }
        }
        warnings
    }

    /// The models of a rule without a price, each with its backend.
    fn of_rule(&self, rule: &Rule) -> Vec<(ModelName, &str)> {
        let named: Vec<ModelName> = rule.matches.iter().filter_map(|it| exact_model(&it.headers)).collect();
        let mut found = Vec::new();
        for target in rule.targets.iter().filter(|target| target.weight > 0) {
            let Some(backend) = self.bundle().backends.get(&target.backend) else { continue };
            let models = target.model_override.as_ref().map_or(&named[..], std::slice::from_ref);
            let unpriced = models.iter().filter(|model| self.price(backend, model).is_none());
            found.extend(unpriced.map(|model| (model.clone(), backend.name.as_ref())));
        }
        found.dedup();
        found
    }
}

fn exact_model(headers: &[crate::bundle::HeaderMatch]) -> Option<ModelName> {
    headers.iter().find(|header| header.name == MODEL_HEADER).and_then(|header| match &header.value {
        TextMatch::Exact(model) => ModelName::parse(model).ok(),
        TextMatch::RegularExpression(_) => None,
    })
}

fn consequence(limit: &Limit) -> String {
    match limit.unpriced {
        Unpriced::Allow => format!("it uses nothing of {}", limit.name),
        Unpriced::Reject => format!("{} refuses it", limit.name),
    }
}
