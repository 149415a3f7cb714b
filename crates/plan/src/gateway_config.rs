//! GatewayConfigs: what they say for the Gateways that name them.

use std::collections::BTreeMap;

use tollgate_config::bundle::ForwardProxy;
use tollgate_manifest::{GatewayConfigSpec, GatewaySpec, LlmRequestCost};

use crate::findings::Findings;
use crate::index::{Index, Item};
use crate::{cost, forward_proxy, grant};

/// The annotation of a Gateway that names its GatewayConfig.
const ANNOTATION: &str = "aigateway.envoyproxy.io/gateway-config";

/// What a GatewayConfig says; where a Gateway names none, nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayConfig<'a> {
    /// Numbers that routes publish unless they say otherwise.
    pub(crate) costs: &'a [LlmRequestCost],
    /// The proxy through which backends of models are reached.
    pub(crate) proxy: Option<ForwardProxy>,
}

/// All of them by namespace and name, or why nothing can be served that depends on one.
pub(crate) struct GatewayConfigs<'a>(BTreeMap<(&'a str, &'a str), Result<GatewayConfig<'a>, String>>);

impl<'a> GatewayConfigs<'a> {
    /// Looks at each, also at those that no Gateway names, so that mistakes show before they are used.
    pub(crate) fn resolve(index: &'a Index<'a>, findings: &mut Findings) -> Self {
        let of_one = |config: &'a Item<'a, GatewayConfigSpec>| {
            let Item { id, spec, .. } = config;
            if spec.ext_proc.is_some() {
                findings.warning(id, "spec.extProc", "has an effect on the Envoy data plane only");
            }
            let costs = spec.global_llm_request_costs.as_slice();
            cost::check(id, "spec.globalLLMRequestCosts", costs, findings);
            let proxy = forward_proxy::resolve(index, config, findings);
            let said = proxy.map(|proxy| GatewayConfig { costs, proxy });
            let said = said.map_err(|message| format!("forward proxy: {message}"));
            ((id.namespace.as_str(), id.name.as_str()), said)
        };
        Self(index.gateway_configs.iter().map(of_one).collect())
    }

    /// That of `gateway`, in its own namespace.
    ///
    /// # Errors
    /// When it is not known what it says: it may be there to have requests sent through a proxy, so none may be sent around it.
    pub(crate) fn of(
        &self,
        index: &Index<'_>,
        gateway: &Item<'_, GatewaySpec>,
        findings: &mut Findings,
    ) -> Result<GatewayConfig<'a>, String> {
        let Some(name) = gateway.metadata.annotations.get(ANNOTATION) else {
            return Ok(GatewayConfig::default());
        };
        let namespace = &gateway.id.namespace;
        if let Some(said) = self.0.get(&(namespace.as_str(), name.as_str())) {
            return said.clone();
        }
        if index.is_invalid(grant::GATEWAY_CONFIG, namespace, name) {
            return Err(format!("GatewayConfig \"{namespace}/{name}\" has mistakes"));
        }
        let message = format!("no GatewayConfig {name:?} in namespace {namespace:?}");
        findings.error(&gateway.id, format!("metadata.annotations[{ANNOTATION:?}]"), message.as_str());
        Err(message)
    }
}
