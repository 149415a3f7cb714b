//! Configurations as plain data.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tollgate_config::bundle::{
    Backend, Bundle, Credential, CredentialKind, CredentialSource, Endpoint, Limits, Listener, Mutation,
    OnLoss, Retry, Route, Rule, Schema, SecretRef, Target, Timeouts,
};
use tollgate_terms::{BackendName, RouteName};

use crate::PATIENCE;

/// A bare rule, retrying nothing.
pub fn rule(backends: &[&str]) -> Rule {
    Rule {
        name: None,
        matches: Vec::new(),
        targets: backends
            .iter()
            .zip(0..)
            .map(|(name, priority)| Target {
                backend: BackendName::new(*name),
                priority,
                weight: 1,
                model_override: None,
                mutation: Mutation::default(),
            })
            .collect(),
        timeouts: Timeouts { request: Some(PATIENCE), ..Timeouts::default() },
        retry: Retry {
            backoff_base: Duration::from_millis(10),
            backoff_max: Duration::from_millis(50),
            ..Retry::default()
        },
        limits: Vec::new(),
        models_owned_by: "tests".to_owned(),
        models_created_at: 0,
        access: None,
        broken: None,
    }
}

/// The same rule, retrying everything that can be retried.
pub fn retrying(mut rule: Rule) -> Rule {
    rule.retry.retries_max = 3;
    rule.retry.on_connect_failure = true;
    rule.retry.on_reset = true;
    rule.retry.on_timeout = true;
    rule.retry.on_statuses = vec![429, 500, 502, 503, 504, 529];
    rule
}

/// A backend without TLS and credential.
pub fn backend(name: &str, schema: Schema, address: SocketAddr) -> Backend {
    Backend {
        name: BackendName::new(name),
        schema,
        endpoints: vec![Endpoint::Ip { address: address.ip(), port: address.port() }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1024, requests_max: 1024, retries_max: 3 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    }
}

/// One that speaks OpenAI's dialect.
pub fn openai(name: &str, address: SocketAddr) -> Backend {
    backend(name, Schema::OpenAi { prefix: "v1".to_owned() }, address)
}

/// The same backend with an API key.
pub fn keyed(mut backend: Backend) -> Backend {
    backend.credential = Some(Credential {
        kind: CredentialKind::ApiKey,
        configured: Some(CredentialSource::Key(secret_ref())),
        override_headers: Vec::new(),
        fallback_to_configured: true,
    });
    backend
}

/// Where the key of [`keyed`] is.
pub fn secret_ref() -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "key".to_owned(), key: "apiKey".to_owned() }
}

/// The configuration of one rule.
pub fn bundle(port: u16, rule: Rule, backends: Vec<Backend>) -> Bundle {
    let by_name: BTreeMap<BackendName, Backend> =
        backends.into_iter().map(|backend| (backend.name.clone(), backend)).collect();
    Bundle {
        listeners: vec![Listener {
            name: "l".to_owned(),
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            hostname: None,
            tls: None,
            request_body_bytes_max: 4096,
        }],
        routes: vec![Route {
            name: RouteName::new("default/r"),
            listeners: vec!["l".to_owned()],
            hostnames: Vec::new(),
            created_at: 0,
            rules: vec![rule],
            costs: Vec::new(),
            on_loss: OnLoss::default(),
        }],
        backends: by_name,
        ..Bundle::default()
    }
}
