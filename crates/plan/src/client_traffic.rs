//! ClientTrafficPolicy: what it says of listeners.

use tollgate_manifest::ClientTrafficPolicySpec;

use crate::findings::Findings;
use crate::grant::CLIENT_TRAFFIC;
use crate::index::{Index, Item};
use crate::target::{Policies, Reach, Several, Targets};

/// Largest request body unless a policy says otherwise: what the documents of Envoy AI Gateway advise.
pub(crate) const REQUEST_BODY_BYTES_MAX: u64 = 50 << 20;

/// Reads every ClientTrafficPolicy, and names what in them has no effect.
pub(crate) fn policies<'a>(
    index: &'a Index<'a>,
    findings: &mut Findings,
) -> Policies<'a, ClientTrafficPolicySpec> {
    for policy in index.client_traffic_policies.iter() {
        check(policy, findings);
    }
    let targets = |spec: &'a ClientTrafficPolicySpec| Targets {
        target_ref: spec.target_ref.as_ref(),
        target_refs: &spec.target_refs,
        selectors: &spec.target_selectors,
    };
    let all = index.client_traffic_policies.iter();
    Policies::attach(index, (CLIENT_TRAFFIC, all), targets, (Reach::Gateways, Several::Oldest), findings)
}

/// Largest request body of a listener under `policy`.
pub(crate) fn request_body_bytes_max(policy: Option<&Item<'_, ClientTrafficPolicySpec>>) -> u64 {
    policy
        .and_then(|policy| policy.spec.connection.as_ref()?.buffer_limit)
        .map_or(REQUEST_BODY_BYTES_MAX, |limit| limit.bytes())
}

fn check(policy: &Item<'_, ClientTrafficPolicySpec>, findings: &mut Findings) {
    let connection = policy.spec.connection.as_ref();
    let tcp = policy.spec.timeout.as_ref().and_then(|timeout| timeout.tcp.as_ref());
    let http = policy.spec.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    let unserved = [
        ("connection.connectionLimit", connection.is_some_and(|one| one.connection_limit.is_some())),
        ("connection.socketBufferLimit", connection.is_some_and(|one| one.socket_buffer_limit.is_some())),
        ("timeout.tcp.idleTimeout", tcp.is_some_and(|one| one.idle_timeout.is_some())),
        (
            "timeout.http.requestReceivedTimeout",
            http.is_some_and(|one| one.request_received_timeout.is_some()),
        ),
        ("timeout.http.idleTimeout", http.is_some_and(|one| one.idle_timeout.is_some())),
        ("timeout.http.streamIdleTimeout", http.is_some_and(|one| one.stream_idle_timeout.is_some())),
    ];
    for (field, _) in unserved.into_iter().filter(|(_, is_set)| *is_set) {
        findings.warning(&policy.id, format!("spec.{field}"), "not served yet: has no effect");
    }
}
