//! Many routes on the Envoy data plane: until it is ready, what one change takes, and how much memory.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::envoy::Envoy;
use super::report::{Bound, Row};
use crate::machine::{self, Program, child_of, free_port, resident_bytes, serve};
use crate::release;

/// Routes, each with a model of its own, and the backends that they share.
const ROUTES: usize = 2_000;
const BACKENDS: usize = 100;

/// Longest wait for a change.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts an Envoy with many routes, and changes one.
pub(super) fn run(root: &Path, envoy: &Envoy, mock_port: u16) -> Result<Vec<Row>> {
    let (port, admin) = (free_port()?, free_port()?);
    let path = root.join("target/bench/routes.yaml");
    fs::write(&path, resources(port, mock_port, "unchanged"))?;
    let (admin_address, file) = (format!("127.0.0.1:{admin}"), path.to_string_lossy().into_owned());
    let envoy = envoy.path().to_string_lossy().into_owned();
    let arguments =
        ["run", "--data-plane", "envoy", "--envoy", &envoy, "--workers", "1", "--access-log", "off"];
    let arguments = [&arguments[..], &["--admin-address", &admin_address, &file]].concat();
    let program = Program::new(root.join(release::GATEWAY), &arguments);
    let server = serve(machine::measured(program), port)?;
    let ready = server.first_answer.as_secs_f64();
    let before = pushed_bytes(admin)?;
    let began = Instant::now();
    fs::write(&path, resources(port, mock_port, "changed"))?;
    while !is_changed(port)? {
        if began.elapsed() > PATIENCE {
            bail!("the change is not there after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let change = began.elapsed().as_secs_f64();
    let pushed = pushed_bytes(admin)? - before;
    let ours = resident_bytes(server.id())? / 1e6;
    let theirs = resident_bytes(child_of(server.id())?)? / 1e6;
    let row = |name: &str, unit: &str, value: f64| {
        Row::alone(&format!("{ROUTES} routes on Envoy: {name}"), Bound::None, unit, &[value])
    };
    Ok(vec![
        row("ready", "s", ready),
        row("one change is served", "s", change),
        row("pushed for one change", "KB", pushed / 1e3),
        row("memory of Tollgate", "MB", ours),
        row("memory of Envoy", "MB", theirs),
    ])
}

fn resources(port: u16, mock_port: u16, first: &str) -> String {
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: bench}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: {port}}}]}}
"
    );
    for number in 0..BACKENDS {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: b{number}}}
spec: {{schema: {{name: OpenAI}}, backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: b{number}}}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: b{number}}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {mock_port}}}}}]}}
"
        );
    }
    for number in 0..ROUTES {
        let model = if number == 0 { first.to_owned() } else { format!("model-{number}") };
        let _ = write!(
            text,
            "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: r{number}}}
spec:
  parentRefs: [{{name: bench}}]
  rules:
  - matches: [{{headers: [{{name: x-ai-eg-model, value: {model}}}]}}]
    backendRefs: [{{name: b{}}}]
",
            number % BACKENDS
        );
    }
    // The model by which a start is known.
    text.push_str(
        "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {name: started}
spec:
  parentRefs: [{name: bench}]
  rules:
  - matches: [{headers: [{name: x-ai-eg-model, value: m}]}]
    backendRefs: [{name: b0}]
",
    );
    text
}

/// Whether the first route has its other model.
fn is_changed(port: u16) -> Result<bool> {
    let body = r#"{"model":"changed","messages":[]}"#;
    let length = body.len();
    let answer = ask(
        port,
        &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    )?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// What the discovery service has sent so far.
fn pushed_bytes(admin: u16) -> Result<f64> {
    let metrics = ask(admin, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let values = metrics.lines().filter(|line| line.starts_with("tollgate_xds_pushed_bytes_total{"));
    let values: Vec<f64> = values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    if values.is_empty() {
        bail!("no tollgate_xds_pushed_bytes in the metrics")
    }
    Ok(values.iter().sum())
}

fn ask(port: u16, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("no connection")?;
    stream.set_read_timeout(Some(machine::PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
