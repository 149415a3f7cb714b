//! What remains of an attempt: what is known of it before it begins, and its record.

use std::sync::Arc;
use std::time::Instant;

use tollgate_policy::{cost, estimate, price};
use tollgate_terms::{ClientFault, Fault, UsageSource};

use super::{Attempt, Ending, State};
use crate::journal::Opening;
use crate::record::{Outcome, Record};

impl Attempt {
    /// What is known of the attempt before it is dispatched, with what was reserved for it.
    pub fn opening(&self) -> Opening {
        Opening { facts: Arc::clone(&self.facts), reserved: self.charging.reserved() }
    }

    /// The fact sheet of the attempt, once it is over.
    pub fn finish(mut self, ending: Ending, now: Instant) -> Option<Record> {
        self.collect();
        let routed = Arc::clone(&self.routed);
        let target = routed.rule.targets.get(self.target)?;
        // A backend whose client left it may well have read the prompt; one that failed has charged nothing.
        let left = matches!(&ending, Ending::Broken(Fault::Client(_))) && self.upstream_status.is_none();
        let answered = left || self.upstream_status.is_some_and(|status| status < 400);
        let (usage, usage_source) = estimate::complete(
            self.observer.usage(),
            answered,
            routed.prompt_bytes,
            self.observer.output_bytes(),
        );
        let (delivered, fault) = match ending {
            Ending::Delivered => (true, self.fault),
            Ending::Broken(Fault::Client(ClientFault::Gone)) if self.observer.is_complete() => {
                (true, self.fault)
            }
            Ending::Broken(fault) => (true, Some(fault)),
            Ending::GivenUp(fault) => (false, Some(fault)),
        };
        let cost_nanodollars = self
            .charging
            .price(&routed, target, self.observer.served_model())
            .filter(|_| usage_source != UsageSource::None)
            .map(|price| price::cost(price, &usage, self.facts.started_at_ms));
        let facts = routed.cost_facts(target, &usage);
        let time_per_output_token = self.token_times.and_then(|(first, last)| {
            let gaps = u32::try_from(usage.output_tokens.checked_sub(1)?).ok()?;
            last.saturating_duration_since(first).checked_div(gaps)
        });
        Some(Record {
            facts: self.facts,
            served_model: self.observer.served_model().cloned(),
            outcome: fault.as_ref().map_or(Outcome::Complete, Outcome::of),
            fault: fault.as_ref().map(Fault::label),
            upstream_status: self.upstream_status,
            usage,
            usage_source,
            charges: self.charging.charges(&facts, cost_nanodollars),
            cost_nanodollars,
            cost_errors: cost::errors(&routed.rule.costs, &facts),
            losses: self.losses,
            duration: now.saturating_duration_since(self.started),
            time_to_first_token: self
                .token_times
                .map(|(first, _)| first.saturating_duration_since(routed.arrived)),
            time_per_output_token,
            delivered,
        })
    }

    /// Takes out of the stream what the record wants of it.
    fn collect(&mut self) {
        if let State::AwaitEvents(events, _) = &self.state {
            self.losses.extend_from_slice(events.losses());
            self.token_times = events.token_times();
        }
    }
}
