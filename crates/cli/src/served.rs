//! What `/config` tells: the configuration that is served, which one it is, and what is wrong with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tollgate_config::Bundle;

use crate::finding::Finding;

/// Stands for a value that somebody wrote into a change of requests by hand: it may be a credential, whatever it is called.
const REDACTED: &str = "[redacted]";

/// The configuration that is served, as JSON, shared with the admin address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<Mutex<Page>>);

#[derive(Debug, Default)]
struct Page {
    version: u64,
    text: String,
}

#[derive(Serialize)]
struct Content<'a> {
    /// 1 for the configuration of the start, one more for each that was taken since.
    version: u64,
    /// The same for equal configurations.
    hash: String,
    findings: &'a [Finding],
    bundle: &'a Bundle,
}

impl Served {
    /// Replaces what is told; returns the version.
    pub(crate) fn replace(&self, bundle: &Bundle, findings: &[Finding]) -> u64 {
        let bundle = redacted(bundle);
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.version += 1;
        let content = Content { version: page.version, hash: hash(&bundle), findings, bundle: &bundle };
        page.text = serde_json::to_string_pretty(&content).unwrap_or_default();
        page.version
    }

    /// The JSON text.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

fn hash(bundle: &Bundle) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(bundle).unwrap_or_default().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A bundle refers to secrets and holds none, but for those that stand in changes of requests.
pub(crate) fn redacted(bundle: &Bundle) -> Bundle {
    let mut bundle = bundle.clone();
    let rules = bundle.routes.iter_mut().flat_map(|route| &mut route.rules);
    for target in rules.flat_map(|rule| &mut rule.targets) {
        let mutation = &mut target.mutation;
        for (_, value) in mutation.headers_set.iter_mut().chain(&mut mutation.body_set) {
            REDACTED.clone_into(value);
        }
    }
    // Some tell callers apart by what only they can say.
    let authorizations = bundle.access.values_mut().filter_map(|access| access.authorization.as_mut());
    for rule in authorizations.flat_map(|authorization| &mut authorization.rules) {
        for (_, values) in &mut rule.headers {
            values.iter_mut().for_each(|value| REDACTED.clone_into(value));
        }
    }
    for rule in bundle.plain_routes.iter_mut().flat_map(|route| &mut route.rules) {
        for edit in [&mut rule.request_headers, &mut rule.response_headers] {
            for (_, value) in edit.set.iter_mut().chain(&mut edit.add) {
                REDACTED.clone_into(value);
            }
        }
    }
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_have_equal_hashes_and_new_versions() {
        let served = Served::default();
        assert_eq!(served.replace(&Bundle::default(), &[]), 1);
        let first = served.text();
        assert_eq!(served.replace(&Bundle::default(), &[]), 2);
        assert_eq!(first.replace("\"version\": 1", "\"version\": 2"), served.text());
    }

    #[test]
    fn changes_of_requests_are_told_without_their_values() {
        let loaded = crate::load::text("a.yaml", MANIFESTS, std::net::Ipv4Addr::LOCALHOST.into());
        let served = Served::default();
        served.replace(&loaded.bundle, &loaded.findings);
        let text = served.text();
        for name in ["x-custom", "metadata", "x-route", "user", "x-plain", "x-answer"] {
            assert!(text.contains(&format!("\"{name}\"")), "{text}");
        }
        assert!(!text.contains("confidential"), "{text}");
    }

    const MANIFESTS: &str = "
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {name: a}
spec:
  rules:
  - backendRefs:
    - name: a
      headerMutation: {set: [{name: x-route, value: confidential}]}
      bodyMutation: {set: [{path: metadata, value: '\"confidential\"'}]}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {name: a}
spec:
  schema: {name: OpenAI}
  backendRef: {name: a, kind: Backend, group: gateway.envoyproxy.io}
  headerMutation: {set: [{name: x-custom, value: Bearer confidential}]}
  bodyMutation: {set: [{path: user, value: '\"confidential\"'}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: a}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 8000}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plain}
spec:
  rules:
  - filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-plain, value: confidential}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-answer, value: confidential}]}}
    backendRefs: [{name: a, kind: Backend, group: gateway.envoyproxy.io}]
";
}
