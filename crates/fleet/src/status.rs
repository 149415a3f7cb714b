//! How far the Envoys of a fleet are, for operators: a page, and metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Value, json};
use tollgate_xds::{Discovery, NodeStatus, TypeCounts, Version};

/// What is wanted, and how far each connected Envoy is, as JSON. It tells versions and errors and no content.
pub fn page(discovery: &Discovery) -> String {
    let status = discovery.status();
    let nodes: Vec<_> = status.nodes.iter().map(|node| node_page(node, status.published)).collect();
    let page = json!({ "published": status.published.map(text), "nodes": nodes });
    format!("{page:#}\n")
}

fn node_page(node: &NodeStatus, published: Option<Version>) -> Value {
    let types = node.types.iter().map(|(type_url, of_type)| {
        let value = json!({
            "sent": of_type.sent.map(text),
            "accepted": of_type.accepted.map(text),
            "error": of_type.error,
        });
        (kind(type_url).to_owned(), value)
    });
    json!({
        "node": node.node,
        "cluster": node.cluster,
        "is_current": node.acknowledged == published,
        "acknowledged": node.acknowledged.map(text),
        "last_error": node.last_rejection.as_ref().map(|rejection| {
            json!({ "type": kind(&rejection.type_url), "error": rejection.error })
        }),
        "types": types.collect::<serde_json::Map<_, _>>(),
    })
}

fn text(version: Version) -> String {
    version.to_string()
}

/// `Cluster` of `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
fn kind(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or(type_url)
}

/// One of the counts.
type Count = fn(&TypeCounts) -> u64;

/// The counts of a discovery service, read when the metrics are asked for.
#[derive(Debug)]
pub struct DiscoveryMetrics(pub Discovery);

impl Collector for DiscoveryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let nodes = i64::try_from(self.0.status().nodes.len()).unwrap_or(i64::MAX);
        let gauge = ConstGauge::new(nodes);
        let help = "Envoys that are connected to the control plane";
        gauge.encode(encoder.encode_descriptor("tollgate_xds_nodes", help, None, gauge.metric_type())?)?;
        let by_type = self.0.counts_by_type();
        let families: [(&str, &str, Count); 4] = [
            ("tollgate_xds_pushes", "Responses to Envoys, by type of resource", |of| of.responses),
            ("tollgate_xds_pushed_bytes", "Bytes of responses to Envoys", |of| of.bytes),
            ("tollgate_xds_acknowledgements", "Responses that an Envoy has taken", |of| of.acceptances),
            ("tollgate_xds_rejections", "Responses that an Envoy has rejected", |of| of.rejections),
        ];
        for (name, help, count) in families {
            let kind_of_metric = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind_of_metric)?;
            for (type_url, counts) in &by_type {
                let labels = [("type", kind(type_url))];
                let counter = ConstCounter::new(count(counts));
                counter.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
