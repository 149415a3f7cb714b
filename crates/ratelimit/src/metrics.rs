//! Counts by the names that envoyproxy/ratelimit gives them in Prometheus form. They do not end in `_total`, as OpenMetrics has it for counters, so they are
//! written by hand, without a type.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most limits that are counted apart: values of requests may be among their names.
const LIMITS_MAX: usize = 20_000;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    limits: BTreeMap<(String, Vec<String>), Hits>,
    requests: u64,
    service_errors: u64,
    store_errors: u64,
    global_shadow: u64,
    loads: u64,
    load_errors: u64,
    answered: Duration,
}

/// The hits of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hits {
    pub(crate) total: u64,
    pub(crate) over: u64,
    pub(crate) near: u64,
    pub(crate) within: u64,
    pub(crate) shadow: u64,
}

impl Hits {
    /// How `hits` divide that have come to `after`, where `limit` is allowed. Near begins at four fifths.
    pub(crate) fn divided(hits: u64, after: u64, limit: u64) -> Self {
        let before = after.saturating_sub(hits);
        let near_from = limit / 5 * 4 + limit % 5 * 4 / 5;
        let counted = after.min(limit);
        let near = counted.saturating_sub(before.max(near_from));
        let over = after.saturating_sub(before.max(limit));
        let within = if after > limit { 0 } else { hits };
        Self { total: hits, over, near, within, shadow: 0 }
    }
}

/// Something that happens now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    ServiceError,
    StoreError,
    GlobalShadow,
    Loaded,
    LoadError,
}

impl Metrics {
    /// Adds the hits of a limit.
    pub(crate) fn hit(&self, domain: &str, path: &[String], hits: Hits) {
        let mut counts = self.lock();
        let name = (domain.to_owned(), path.to_vec());
        if counts.limits.len() >= LIMITS_MAX && !counts.limits.contains_key(&name) {
            return;
        }
        let sum = counts.limits.entry(name).or_default();
        sum.total = sum.total.saturating_add(hits.total);
        sum.over = sum.over.saturating_add(hits.over);
        sum.near = sum.near.saturating_add(hits.near);
        sum.within = sum.within.saturating_add(hits.within);
        sum.shadow = sum.shadow.saturating_add(hits.shadow);
    }

    /// Counts something.
    pub(crate) fn count(&self, event: Event) {
        let mut counts = self.lock();
        let number = match event {
            Event::ServiceError => &mut counts.service_errors,
            Event::StoreError => &mut counts.store_errors,
            Event::GlobalShadow => &mut counts.global_shadow,
            Event::Loaded => &mut counts.loads,
            Event::LoadError => &mut counts.load_errors,
        };
        *number += 1;
    }

    /// A request was answered after this time.
    pub(crate) fn answered(&self, after: Duration) {
        let mut counts = self.lock();
        counts.requests += 1;
        counts.answered += after;
    }

    /// All of them, as the lines of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let counts = self.lock();
        let mut text = String::new();
        type Part = fn(&Hits) -> u64;
        let parts: [(&str, Part); 5] = [
            ("total_hits", |hits| hits.total),
            ("over_limit", |hits| hits.over),
            ("near_limit", |hits| hits.near),
            ("within_limit", |hits| hits.within),
            ("shadow_mode", |hits| hits.shadow),
        ];
        for (name, part) in parts {
            let name = format!("ratelimit_service_rate_limit_{name}");
            line(&mut text, format_args!("# TYPE {name} unknown"));
            for ((domain, path), hits) in &counts.limits {
                line(&mut text, format_args!("{name}{{{}}} {}", labels(domain, path), part(hits)));
            }
        }
        for (name, number) in [
            ("total_requests", counts.requests),
            ("config_load_success", counts.loads),
            ("config_load_error", counts.load_errors),
            ("global_shadow_mode", counts.global_shadow),
            ("call_should_rate_limit_service_error", counts.service_errors),
            ("call_should_rate_limit_redis_error", counts.store_errors),
        ] {
            line(&mut text, format_args!("# TYPE ratelimit_service_{name} unknown"));
            line(&mut text, format_args!("ratelimit_service_{name} {number}"));
        }
        let name = "ratelimit_service_response_time_seconds";
        line(&mut text, format_args!("# TYPE {name} summary"));
        line(&mut text, format_args!("{name}_sum {}", counts.answered.as_secs_f64()));
        line(&mut text, format_args!("{name}_count {}", counts.requests));
        text
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn labels(domain: &str, path: &[String]) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut labels = format!("domain=\"{}\"", quoted(domain));
    for (at, part) in path.iter().enumerate() {
        let _ = write!(labels, ",key{}=\"{}\"", at + 1, quoted(part));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_divide_as_envoys_do() {
        let parts = |hits, after, limit| {
            let hits = Hits::divided(hits, after, limit);
            (hits.within, hits.near, hits.over)
        };
        assert_eq!(parts(1, 8, 10), (1, 0, 0));
        assert_eq!(parts(1, 9, 10), (1, 1, 0));
        assert_eq!(parts(5, 10, 10), (5, 2, 0));
        assert_eq!(parts(5, 12, 10), (0, 2, 2));
        assert_eq!(parts(3, 20, 10), (0, 0, 3));
        assert_eq!(parts(u64::MAX, u64::MAX, 10), (0, 2, u64::MAX - 10));
    }

    #[test]
    fn names_are_those_that_dashboards_have() {
        let metrics = Metrics::default();
        metrics.hit("d", &["a_b".to_owned(), "c".to_owned()], Hits::divided(1, 1, 1));
        metrics.count(Event::LoadError);
        let text = metrics.text();
        for line in [
            "ratelimit_service_rate_limit_total_hits{domain=\"d\",key1=\"a_b\",key2=\"c\"} 1",
            "ratelimit_service_config_load_error 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
