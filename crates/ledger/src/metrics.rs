//! Metrics of a ledger.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::status::{Status, Trouble};

/// Tells how much a ledger has taken in, and what was in its way.
#[derive(Debug)]
pub struct LedgerMetrics(pub(crate) Arc<Status>);

impl Collector for LedgerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let status = &self.0;
        let help = "Entries added to the ledger, by kind";
        let mut family =
            encoder.encode_descriptor("tollgate_ledger_entries", help, None, MetricType::Counter)?;
        for (kind, count) in
            [("opened", &status.opened), ("settled", &status.settled), ("orphaned", &status.orphaned)]
        {
            ConstCounter::new(count.get()).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let counters = [
            ("tollgate_ledger_bytes", "Bytes written to the ledger", &status.bytes),
            ("tollgate_ledger_lost_entries", "Entries that the disk did not take", &status.lost),
            ("tollgate_ledger_damaged_bytes", "Bytes of the ledger that cannot be read", &status.damaged),
            ("tollgate_ledger_unnamed_entries", "Entries whose names cannot be read", &status.unnamed),
            ("tollgate_ledger_indexed_entries", "Entries read into the database", &status.indexed),
            ("tollgate_ledger_removed_rows", "Old rows removed from the database", &status.removed),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count.get());
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let troubles: [(&str, &Trouble); 3] =
            [("write", &status.write), ("sync", &status.sync), ("index", &status.index)];
        let help = "Times that the disk or the database has failed, by what was tried";
        let mut family =
            encoder.encode_descriptor("tollgate_ledger_errors", help, None, MetricType::Counter)?;
        for (what, trouble) in troubles {
            ConstCounter::new(trouble.failures()).encode(family.encode_family(&[("what", what)])?)?;
        }
        let help = "Whether it failed the last time, by what was tried";
        let mut family =
            encoder.encode_descriptor("tollgate_ledger_failing", help, None, MetricType::Gauge)?;
        for (what, trouble) in troubles {
            let gauge = ConstGauge::new(i64::from(trouble.fails()));
            gauge.encode(family.encode_family(&[("what", what)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn tells_what_was_taken_in_and_what_failed() {
        let status = Arc::new(Status::default());
        status.opened.add(3);
        status.lost.add(1);
        status.index.failed("the database cannot be filled", &"it is away");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(LedgerMetrics(status)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for line in [
            "tollgate_ledger_entries_total{kind=\"opened\"} 3",
            "tollgate_ledger_lost_entries_total 1",
            "tollgate_ledger_errors_total{what=\"index\"} 1",
            "tollgate_ledger_failing{what=\"index\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
