//! GatewayClass: who serves the Gateways of a class.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ParametersReference;

/// What a GatewayClass says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Name of the controller, a domain and a path, such as `gateway.envoyproxy.io/gatewayclass-controller`.
    #[schemars(
        length(min = 1, max = 253),
        regex(
            pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
        )
    )]
    pub controller_name: String,
    /// Parameters of the controller.
    pub parameters_ref: Option<ParametersReference>,
    /// For people.
    #[schemars(length(max = 64))]
    pub description: Option<String>,
}
