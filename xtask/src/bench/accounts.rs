//! What it costs to know who calls, to hold limits and to keep a ledger: the whole gateway with all of it beside the same one without.

use std::path::Path;

use anyhow::{Context, Result};

use super::report::{Bound, Row};
use super::{Load, Measured, Options, measure};
use crate::machine::{self, Running, Server, free_port};

/// Fewest answers per second with everything on, beside none of it.
const RATE_MIN: f64 = 0.85;

/// Turns that each gateway has for each round of other loads, of half its time, and the shortest one. The two differ by a tenth, and a machine that others use changes by more within
/// a second, so that they have to take turns often.
pub(super) const TURNS: usize = 20;
const TURN_MILLIS_MIN: u64 = 200;

/// Most that a Redis may add to the median of an answer, microseconds.
const REDIS_ADDS_MAX: f64 = 300.0;

/// A key, two limits on tokens, and a budget of money, all of which are far away.
pub(crate) const POLICIES: &str = r#"---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {bench: any}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: keys}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: bench}]
  apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [Authorization]}], forwardClientIDHeader: x-client}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: GatewayConfig
metadata: {name: bench}
spec: {globalLLMRequestCosts: [{metadataKey: input, type: InputToken}, {metadataKey: total, type: TotalToken}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: tokens}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: bench}]
  rateLimit:
    global:
      rules:
      - clientSelectors: [{headers: [{name: x-client, type: Distinct}]}]
        limit: {requests: 1000000000000, unit: Hour}
        cost: {request: {from: Number, number: 0}, response: {from: Metadata, metadata: {namespace: io.envoy.ai_gateway, key: input}}}
      - limit: {requests: 1000000000000, unit: Day}
        cost: {request: {from: Number, number: 0}, response: {from: Metadata, metadata: {namespace: io.envoy.ai_gateway, key: total}}}
---
apiVersion: tollgate.dev/v1alpha1
kind: Budget
metadata: {name: money}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: bench}]
  per: [User]
  enforcement: Reserve
  limits: [{unit: USD, amount: "1000000", window: {calendar: Month, timeZone: Europe/Berlin}}]
"#;

/// Measures chats and streams with everything on, and what a Redis adds.
pub(super) fn run(root: &Path, mock_port: u16, options: &Options) -> Result<Vec<Row>> {
    let bare = machine::write_resources(root, mock_port, "")?;
    let full = machine::write_resources(root, mock_port, POLICIES)?;
    let ledger = root.join("target/bench/ledger");
    // What an earlier run has left is of another time.
    let _ = std::fs::remove_dir_all(&ledger);
    let ledger = ledger.to_string_lossy().into_owned();
    let alone = machine::gateway(root, &bare)?;
    let all = machine::gateway_on(root, &full, &["--ledger", &ledger])?;
    let mut rows = Vec::new();
    for is_stream in [false, true] {
        let name = if is_stream { "stream of 30 events" } else { "chat of 1 KB" };
        let load = Load { name, connections: 16, body_bytes: 1024, is_stream, bound: Bound::None };
        let (with, without) = in_turn(root, &load, [&all, &alone], options)?;
        let name = format!("{name}, key, two limits, budget, ledger, beside none");
        rows.push(Row::compared(&name, Bound::RateAtLeast(RATE_MIN), &with, &without));
    }
    drop(all);
    rows.push(redis(root, &full, &alone, options)?);
    Ok(rows)
}

/// What a Redis on the same machine adds to an answer.
fn redis(root: &Path, full: &Path, alone: &Server, options: &Options) -> Result<Row> {
    let port = free_port()?;
    let _redis = start_redis(port)?;
    let url = format!("redis://127.0.0.1:{port}");
    let shared = machine::gateway_on(root, full, &["--redis", &url])?;
    let load =
        Load { name: "chat of 1 KB", connections: 1, body_bytes: 1024, is_stream: false, bound: Bound::None };
    let (with, without) = in_turn(root, &load, [&shared, alone], options)?;
    let added: Vec<f64> =
        with.iter().zip(&without).map(|(with, without)| with.p50_us - without.p50_us).collect();
    Ok(Row::alone(
        "what a Redis and all limits add to a chat, p50",
        Bound::AtMost(REDIS_ADDS_MAX),
        "us",
        &added,
    ))
}

/// Debian's package `redis-server` has it; `cargo xtask test` installs that.
fn start_redis(port: u16) -> Result<Running> {
    let port = port.to_string();
    let arguments =
        ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"];
    let running = machine::Program::new("redis-server".into(), &arguments).start()?;
    let until = std::time::Instant::now() + machine::PATIENCE;
    let address = format!("127.0.0.1:{port}");
    while std::net::TcpStream::connect(&address).is_err() {
        anyhow::ensure!(std::time::Instant::now() < until, "no Redis at {address}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(running)
}

/// Both in turn, after a turn that warms them.
fn in_turn(
    root: &Path,
    load: &Load,
    servers: [&Server; 2],
    options: &Options,
) -> Result<(Vec<Measured>, Vec<Measured>)> {
    let mut measured: [Vec<Measured>; 2] = Default::default();
    let millis = (options.millis / 2).max(TURN_MILLIS_MIN);
    for turn in 0..=options.rounds * TURNS {
        for (server, measured) in servers.iter().zip(&mut measured) {
            let one = measure(root, load, server.port, millis).with_context(|| load.name)?;
            if turn > 0 {
                measured.push(one);
            }
        }
    }
    let [with, without] = measured;
    Ok((with, without))
}
