//! The model servers of the demo, and the configuration that puts the gateway in front of them.

use anyhow::Result;
use tollgate_testkit::mock::Mock;

/// The servers; they end when dropped.
pub(super) struct Mocks {
    openai: Mock,
    anthropic: Mock,
}

/// Starts the servers.
///
/// # Errors
/// When no ports can be had.
pub(super) async fn start() -> Result<Mocks> {
    Ok(Mocks { openai: Mock::start().await?, anthropic: Mock::start().await? })
}

impl Mocks {
    /// The resources, with the Gateway at `port`.
    pub(super) fn manifests(&self, port: u16) -> String {
        let openai = self.openai.address().port();
        let anthropic = self.anthropic.address().port();
        let rule = |model: &str, targets: &str| {
            format!(
                "    - matches: [{{headers: [{{name: x-ai-eg-model, value: {model}}}]}}]\n      backendRefs: [{targets}]\n"
            )
        };
        let mut text = format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: demo}}
spec:
  gatewayClassName: tollgate
  listeners: [{{name: http, protocol: HTTP, port: {port}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: tollgate}}
spec: {{controllerName: gateway.envoyproxy.io/gatewayclass-controller}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {{name: demo}}
spec:
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIGatewayRoute, name: demo}}]
  retry:
    numRetries: 2
    retryOn: {{triggers: [connect-failure, retriable-status-codes], httpStatusCodes: [503]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: demo}}
spec:
  parentRefs: [{{name: demo}}]
  rules:
"
        );
        text += &rule("gpt-4o-mini", "{name: openai}");
        text += &rule("claude-sonnet-5", "{name: anthropic}");
        text += &rule(
            "always-on",
            "{name: openai, modelNameOverride: gpt-4o-mini--503}, \
             {name: anthropic, modelNameOverride: claude-sonnet-5, priority: 1}",
        );
        text += &backend("openai", "OpenAI", "APIKey", "apiKey", openai);
        text += &backend("anthropic", "Anthropic", "AnthropicAPIKey", "anthropicAPIKey", anthropic);
        text
    }
}

fn backend(name: &str, schema: &str, kind: &str, field: &str, port: u16) -> String {
    format!(
        "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: {name}}}
spec:
  schema: {{name: {schema}}}
  backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {name}}}
spec:
  endpoints: [{{ip: {{address: 127.0.0.1, port: {port}}}}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: {name}}}
spec:
  type: {kind}
  {field}: {{secretRef: {{name: {name}}}}}
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: {name}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{apiKey: the-key-that-only-the-gateway-knows}}
"
    )
}
