//! Reads the metrics of a store.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tollgate_effects::quota::{QuotaMetrics, Quotas};

/// The sum of all lines that begin with `prefix`.
pub(crate) fn value(quotas: &Quotas, prefix: &str) -> u64 {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(QuotaMetrics(quotas.clone())));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(prefix)).collect();
    assert!(!lines.is_empty(), "no {prefix} in\n{text}");
    lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
