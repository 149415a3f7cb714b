//! A real Envoy that passes everything through: what a gateway that does nothing would cost.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::machine::{Program, Server, free_port, serve};

/// An installed Envoy.
pub(super) struct Envoy(PathBuf);

impl Envoy {
    /// Installs it under `target/`, unless it is there.
    pub(super) fn install(root: &Path) -> Result<Self> {
        crate::envoy::install_alone(root).map(Self)
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
