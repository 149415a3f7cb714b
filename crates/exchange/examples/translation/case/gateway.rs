//! A gateway whose one rule has one backend.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Endpoint, Limits, Listener, Mutation, OnLoss, Retry, Route, Rule, Schema, Target,
    Timeouts,
};
use tollgate_terms::{BackendName, RouteName};

const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// The gateway, before a backend of `schema`.
pub(crate) fn snapshot(schema: Schema) -> Arc<Snapshot> {
    let name = BackendName::new("b");
    let target = Target {
        backend: name.clone(),
        priority: 0,
        weight: 1,
        model_override: None,
        mutation: Mutation::default(),
    };
    let rule = Rule {
        name: None,
        matches: Vec::new(),
        targets: vec![target],
        timeouts: Timeouts::default(),
        retry: Retry::default(),
        limits: Vec::new(),
        models_owned_by: String::new(),
        models_created_at: 0,
        access: None,
        broken: None,
    };
    let route = Route {
        name: RouteName::new("r"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![rule],
        costs: Vec::new(),
        on_loss: OnLoss::default(),
    };
    let listener = Listener {
        name: "l".to_owned(),
        address: Ipv4Addr::LOCALHOST.into(),
        port: 1,
        hostname: None,
        tls: None,
        request_body_bytes_max: REQUEST_BYTES_MAX,
    };
    let backend = Backend {
        name: name.clone(),
        schema,
        endpoints: vec![Endpoint::Ip { address: Ipv4Addr::LOCALHOST.into(), port: 1 }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    };
    let (snapshot, _) = Snapshot::compile(Bundle {
        listeners: vec![listener],
        routes: vec![route],
        backends: [(name, backend)].into(),
        ..Bundle::default()
    });
    Arc::new(snapshot)
}
