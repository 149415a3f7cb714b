//! Metrics of the counters of limits.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::tally::UNITS;
use super::{Quotas, StoreFailure, Unsettled};

/// Tells what became of claims, and how much was not counted that should be.
#[derive(Debug, Clone)]
pub struct QuotaMetrics(pub Quotas);

impl Collector for QuotaMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.amounts(&mut encoder)?;
        self.failures(&mut encoder)?;
        self.gauges(&mut encoder)
    }
}

impl QuotaMetrics {
    fn amounts(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let tally = &self.0.0.tally;
        let help = "What attempts have used of limits, by unit";
        let mut family =
            encoder.encode_descriptor("tollgate_quota_settled", help, None, MetricType::Counter)?;
        for (unit, name) in UNITS {
            ConstCounter::new(tally.settled_of(unit)).encode(family.encode_family(&[("unit", name)])?)?;
        }
        let help = "What attempts have used of limits and no counter says, by reason and unit";
        let mut family =
            encoder.encode_descriptor("tollgate_quota_unsettled", help, None, MetricType::Counter)?;
        for why in Unsettled::ALL {
            for (unit, name) in UNITS {
                let labels = [("reason", why.name()), ("unit", name)];
                ConstCounter::new(tally.unsettled_of(why, unit)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "What was taken of limits, was not used, and could not be given back, by unit";
        let mut family = encoder.encode_descriptor("tollgate_quota_kept", help, None, MetricType::Counter)?;
        for (unit, name) in UNITS {
            ConstCounter::new(tally.kept_of(unit)).encode(family.encode_family(&[("unit", name)])?)?;
        }
        Ok(())
    }

    fn failures(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let tally = &self.0.0.tally;
        let help = "Times that a store did not say whether something is left, by reason";
        let mut family =
            encoder.encode_descriptor("tollgate_quota_store_failures", help, None, MetricType::Counter)?;
        for why in StoreFailure::ALL {
            let labels = [("reason", why.name())];
            ConstCounter::new(tally.failures_of(why)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Requests that were let in though no store said that something is left";
        let encoded = encoder.encode_descriptor(
            "tollgate_quota_admitted_unchecked",
            help,
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(tally.unchecked_count()).encode(encoded)?;
        if self.0.0.saver.get().is_none() {
            return Ok(());
        }
        let (name, help) =
            ("tollgate_quota_save_failures", "Times that counters in memory could not be saved");
        let encoded = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(tally.unsaved_count()).encode(encoded)
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let inner = &self.0.0;
        gauge(
            encoder,
            "tollgate_quota_counters",
            "Counters in the memory of this process",
            inner.memory.len(),
        )?;
        let Some(shared) = &inner.shared else { return Ok(()) };
        let help = "Attempts that wait to be put right in the shared store";
        gauge(encoder, "tollgate_quota_settlements_waiting", help, shared.settling.depth())?;
        let help = "Whether the shared store is asked";
        gauge(encoder, "tollgate_quota_store_up", help, usize::from(shared.is_up()))?;
        let help = "How long the oldest of the attempts that wait to be put right has waited";
        let name = "tollgate_quota_settlement_oldest_seconds";
        let encoded = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(shared.settling.oldest().as_secs_f64()).encode(encoded)
    }
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: usize) -> fmt::Result {
    let encoded = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoded)
}
