//! Dynamic metadata: token counts under the keys of `llmRequestCosts`, and what the access log tells.

use std::collections::BTreeMap;

use tollgate_envoy::{Struct, Value, value::Kind};
use tollgate_exchange::Attempt;
use tollgate_policy::cost;

use crate::names;

/// Largest number that is published. Envoy's rate limit service adds in 32 bits.
const COST_MAX: u64 = 1_000_000_000;

/// Members of the gateway's namespace.
#[derive(Debug, Default)]
pub(crate) struct Members(BTreeMap<String, Value>);

impl Members {
    /// The numbers that the route publishes of `attempt`, as far as they are known. All tokens stand in for what cannot be computed; the
    /// record tells of it.
    pub(crate) fn add_costs(&mut self, attempt: &Attempt) {
        let Some(target) = attempt.target() else { return };
        let (usage, _) = attempt.usage();
        let facts = attempt.cost_facts(target, &usage);
        for published in &attempt.rule().costs {
            self.add_number(&published.key, cost::value_or_total(&published.kind, &facts));
        }
    }

    /// What the access log tells of the target that is tried.
    pub(crate) fn add_target(&mut self, attempt: &Attempt) {
        if let Some(target) = attempt.target() {
            self.add_text("ai_service_backend_name", target.backend.name.as_ref());
            if let Some(model) = &target.model_override {
                self.add_text("model_name_override", model.as_str());
            }
        }
        self.add_text("route_name", attempt.rule().route.as_ref());
    }

    /// Adds a text.
    pub(crate) fn add_text(&mut self, key: &str, text: &str) {
        self.0.insert(key.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) });
    }

    /// Adds a number, at most [`COST_MAX`].
    pub(crate) fn add_number(&mut self, key: &str, number: u64) {
        // Exact: every whole number below 2^53 is a double.
        let number = u32::try_from(number.min(COST_MAX)).map_or(0.0, f64::from);
        self.0.insert(key.to_owned(), Value { kind: Some(Kind::NumberValue(number)) });
    }

    /// The metadata of a response; `None` when there is nothing to tell.
    pub(crate) fn into_metadata(self) -> Option<Struct> {
        if self.0.is_empty() {
            return None;
        }
        let members = Value { kind: Some(Kind::StructValue(Struct { fields: self.0 })) };
        Some(Struct { fields: BTreeMap::from([(names::METADATA.to_owned(), members)]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-11: Envoy's rate limit service adds in 32 bits.
    #[test]
    fn acc_11_numbers_are_published_up_to_a_thousand_million() {
        for (number, published) in
            [(0, 0.0), (7, 7.0), (1_000_000_000, 1e9), (1_000_000_001, 1e9), (u64::MAX, 1e9)]
        {
            let mut members = Members::default();
            members.add_number("k", number);
            assert_eq!(members.0["k"].kind, Some(Kind::NumberValue(published)));
        }
    }
}
