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

    /// The program.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Starts it with one worker, in front of the backend at `mock_port`.
    pub(super) fn start(&self, root: &Path, mock_port: u16) -> Result<Server> {
        self.start_with(root, "envoy.yaml", |port| configuration(port, mock_port, "", "", ""))
    }

    /// The same with an external processor at `socket`, called as Tollgate has its own called.
    pub(super) fn start_with_processor(&self, root: &Path, mock_port: u16, socket: &Path) -> Result<Server> {
        let listener = processor(
            "exchange",
            "request_body_mode: BUFFERED, response_header_mode: SEND, response_body_mode: NONE",
        );
        let attempt = processor(
            "attempt",
            "request_body_mode: NONE, response_header_mode: SEND, response_body_mode: FULL_DUPLEX_STREAMED, \
             response_trailer_mode: SEND",
        );
        let socket = socket.to_string_lossy();
        self.start_with(root, "envoy-continue.yaml", |port| {
            configuration(
                port,
                mock_port,
                &format!("          - {listener}\n"),
                &upstream(&attempt),
                &cluster(&socket),
            )
        })
    }

    fn start_with(
        &self,
        root: &Path,
        file: &str,
        configuration: impl FnOnce(u16) -> String,
    ) -> Result<Server> {
        let port = free_port()?;
        let path = root.join("target/bench").join(file);
        std::fs::write(&path, configuration(port))?;
        let path = path.to_string_lossy().into_owned();
        let arguments =
            ["--config-path", &path, "--concurrency", "1", "--log-level", "off", "--disable-hot-restart"];
        serve(super::measured(Program::new(self.0.clone(), &arguments)), port)
    }
}

/// A filter that calls the external processor.
fn processor(name: &str, mode: &str) -> String {
    format!(
        "{{name: {name}, typed_config: {{\
         '@type': type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, \
         grpc_service: {{envoy_grpc: {{cluster_name: processor}}}}, message_timeout: 10s, \
         processing_mode: {{request_header_mode: SEND, {mode}}}}}}}"
    )
}

/// The filters of the backend's cluster.
fn upstream(processor: &str) -> String {
    format!(
        "    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http_protocol_options: {{}}}}
        http_filters:
        - {processor}
        - name: codec
          typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}
"
    )
}

/// The processor at `socket`.
fn cluster(socket: &str) -> String {
    format!(
        "  - name: processor
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    circuit_breakers: {{thresholds: [{{max_connections: 65535, max_pending_requests: 65535, max_requests: 65535}}]}}
    load_assignment:
      cluster_name: processor
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: {socket}}}}}}}}}]}}]
"
    )
}

fn configuration(port: u16, mock_port: u16, filters: &str, options: &str, clusters: &str) -> String {
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
{filters}          - name: router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: mock
    type: STATIC
{options}    circuit_breakers: {{thresholds: [{{max_connections: 65535, max_pending_requests: 65535, max_requests: 65535}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {mock_port}}}}}}}
{clusters}"
    )
}
