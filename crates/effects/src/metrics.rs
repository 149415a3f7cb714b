//! Metrics of credentials that are fetched.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::live::ledger;

/// Tells how often the sources of credentials of this process were asked, and when what they gave ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct CredentialMetrics;

impl Collector for CredentialMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let entries = ledger::entries();
        if entries.is_empty() {
            return Ok(());
        }
        let help = "Times that a source was asked for a credential, by what became of it";
        let mut family =
            encoder.encode_descriptor("tollgate_credential_fetches", help, None, MetricType::Counter)?;
        for (source, entry) in &entries {
            for (result, count) in [("success", entry.successes), ("failure", entry.failures)] {
                let labels = [("source", source.as_str()), ("result", result)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "When the last credential of a source ends, Unix seconds";
        let mut family =
            encoder.encode_descriptor("tollgate_credential_end_seconds", help, None, MetricType::Gauge)?;
        for (source, entry) in &entries {
            let Some(end) = entry.end else { continue };
            let end_s = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let end_s = i64::try_from(end_s).unwrap_or(i64::MAX);
            ConstGauge::new(end_s).encode(family.encode_family(&[("source", source.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn tells_how_often_a_source_was_asked_and_when_its_credential_ends() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        ledger::failed("measured");
        ledger::succeeded("measured", Some(end));
        ledger::succeeded("measured", Some(end));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(CredentialMetrics));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for line in [
            "tollgate_credential_fetches_total{source=\"measured\",result=\"success\"} 2",
            "tollgate_credential_fetches_total{source=\"measured\",result=\"failure\"} 1",
            "tollgate_credential_end_seconds{source=\"measured\"} 4000000000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
