//! What the tests of whole exchanges share.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_config::Snapshot;
use tollgate_config::bundle::{
    Backend, Bundle, Endpoint, Limits, Listener, Mutation, OnLoss, Retry, Route, Rule, Schema, Target,
    Timeouts,
};
use tollgate_terms::{BackendName, ModelName, RouteName};

/// A gateway whose one rule has a backend of each dialect.
pub(crate) fn snapshot() -> Arc<Snapshot> {
    let schemas = [
        ("openai", Schema::OpenAi { prefix: "v1".to_owned() }),
        ("anthropic", Schema::Anthropic { prefix: "v1".to_owned() }),
    ];
    let target = |name: &str| Target {
        backend: BackendName::new(name),
        priority: 0,
        weight: 1,
        model_override: ModelName::parse("another-model").ok(),
        mutation: Mutation::default(),
    };
    let rule = Rule {
        name: None,
        matches: Vec::new(),
        targets: schemas.iter().map(|(name, _)| target(name)).collect(),
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
        request_body_bytes_max: 1 << 20,
    };
    let backends = schemas.into_iter().map(|(name, schema)| backend(name, schema));
    let (snapshot, _) = Snapshot::compile(Bundle {
        listeners: vec![listener],
        routes: vec![route],
        backends: backends.map(|backend| (backend.name.clone(), backend)).collect(),
        ..Bundle::default()
    });
    Arc::new(snapshot)
}

fn backend(name: &str, schema: Schema) -> Backend {
    Backend {
        name: BackendName::new(name),
        schema,
        endpoints: vec![Endpoint::Ip { address: Ipv4Addr::LOCALHOST.into(), port: 1 }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    }
}
