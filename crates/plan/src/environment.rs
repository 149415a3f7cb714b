//! Configuration from nothing but the environment variables that SDKs know.
//!
//! It makes manifests and no shortcut around them, so whatever holds for a file holds here, and the text is a
//! starting point for a file of one's own. Keys are not in it: its Secrets name the variable to take each from.

use std::fmt::Write;

use crate::base_url::{BaseUrl, Host};
use crate::proxy_variables::ProxyVariables;

const OPENAI_URL: &str = "https://api.openai.com/v1";
const ANTHROPIC_URL: &str = "https://api.anthropic.com";

/// Manifests made from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Documents in YAML. Their Secrets have the annotation `substitution.aigw.run/env/apiKey`; nothing else in
    /// them is to be substituted.
    pub manifests: String,
    /// What was decided, one sentence each, for the person who starts the gateway.
    pub notes: Vec<String>,
}

/// Why the environment is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// There is no key.
    #[error(
        "nothing to serve: expected OPENAI_API_KEY, ANTHROPIC_API_KEY or AZURE_OPENAI_API_KEY, or a path to manifests"
    )]
    Nothing,
    /// A variable is needed along with another that is set.
    #[error("AZURE_OPENAI_API_KEY is set: expected {0} too")]
    Incomplete(&'static str),
    /// A variable is not what it should be.
    #[error("{variable}: {expected}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// What was expected.
        expected: &'static str,
    },
}

/// Makes manifests from the variables that `variable` looks up. An empty variable counts as absent.
///
/// Azure goes before OpenAI; Anthropic is served beside either, with the models whose names begin with `claude-`,
/// or alone with every model. The listener is on port 1975. What is asked with `https://` is asked through the proxy in `HTTPS_PROXY`, unless
/// `NO_PROXY` says otherwise.
///
/// # Errors
/// When there is no key, when one of Azure's three variables is missing, or when a URL or the proxy is none.
pub fn environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Environment, EnvironmentError> {
    let lookup =
        |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let mut notes = Vec::new();
    let openai = openai_or_azure(&lookup, &mut notes)?;
    let anthropic = anthropic(&lookup)?;
    let rules: Vec<(&str, Provider)> = match (openai, anthropic) {
        (None, None) => return Err(EnvironmentError::Nothing),
        (Some(only), None) | (None, Some(only)) => vec![(".*", only)],
        (Some(openai), Some(anthropic)) => vec![("claude-.*", anthropic), (".*", openai)],
    };
    for (pattern, provider) in &rules {
        let models = match *pattern {
            "claude-.*" => "models claude-*",
            _ if rules.len() > 1 => "every other model",
            _ => "every model",
        };
        notes.push(format!("{models}: {} at {}", provider.schema, provider.url));
    }
    let proxy = Proxied::choose(&lookup, &rules)?;
    notes.extend(proxy.as_ref().map(Proxied::note));
    let mut manifests = front(&rules, proxy.as_ref());
    for (_, provider) in &rules {
        provider.write(&mut manifests);
    }
    if let Some(proxy) = &proxy {
        proxy.write(&mut manifests);
    }
    Ok(Environment { manifests, notes })
}

/// A backend that the environment describes.
struct Provider {
    /// Name of its objects.
    name: &'static str,
    /// Name of its schema.
    schema: &'static str,
    /// The field of the schema beside its name, and its value.
    schema_detail: Option<(&'static str, String)>,
    url: String,
    address: BaseUrl,
    /// Where its key is.
    key_variable: &'static str,
    /// Type of its BackendSecurityPolicy, and the field that goes with it.
    policy: (&'static str, &'static str),
    /// Headers to set.
    headers: Vec<(&'static str, String)>,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn openai_or_azure(
    lookup: Lookup<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Provider>, EnvironmentError> {
    let has_openai = lookup("OPENAI_API_KEY").is_some();
    if lookup("AZURE_OPENAI_API_KEY").is_some() {
        if has_openai {
            notes.push("AZURE_OPENAI_API_KEY goes before OPENAI_API_KEY, which is not used".to_owned());
        }
        return azure(lookup).map(Some);
    }
    if has_openai { openai(lookup).map(Some) } else { Ok(None) }
}

fn azure(lookup: Lookup<'_>) -> Result<Provider, EnvironmentError> {
    const ENDPOINT: &str = "AZURE_OPENAI_ENDPOINT";
    let url = lookup(ENDPOINT).ok_or(EnvironmentError::Incomplete(ENDPOINT))?;
    let version = lookup("OPENAI_API_VERSION").ok_or(EnvironmentError::Incomplete("OPENAI_API_VERSION"))?;
    let address = address(ENDPOINT, &url)?;
    if !address.path.is_empty() {
        return Err(EnvironmentError::Invalid {
            variable: ENDPOINT,
            expected: "expected a URL without a path",
        });
    }
    Ok(Provider {
        name: "azure-openai",
        schema: "AzureOpenAI",
        schema_detail: Some(("version", version)),
        url,
        address,
        key_variable: "AZURE_OPENAI_API_KEY",
        policy: ("AzureAPIKey", "azureAPIKey"),
        headers: Vec::new(),
    })
}

fn openai(lookup: Lookup<'_>) -> Result<Provider, EnvironmentError> {
    let url = lookup("OPENAI_BASE_URL").unwrap_or_else(|| OPENAI_URL.to_owned());
    let address = address("OPENAI_BASE_URL", &url)?;
    let headers = [("OpenAI-Organization", "OPENAI_ORG_ID"), ("OpenAI-Project", "OPENAI_PROJECT_ID")];
    Ok(Provider {
        name: "openai",
        schema: "OpenAI",
        schema_detail: (!address.path.is_empty()).then(|| ("prefix", address.path.clone())),
        url,
        address,
        key_variable: "OPENAI_API_KEY",
        policy: ("APIKey", "apiKey"),
        headers: headers.into_iter().filter_map(|(header, name)| Some((header, lookup(name)?))).collect(),
    })
}

fn anthropic(lookup: Lookup<'_>) -> Result<Option<Provider>, EnvironmentError> {
    if lookup("ANTHROPIC_API_KEY").is_none() {
        return Ok(None);
    }
    let url = lookup("ANTHROPIC_BASE_URL").unwrap_or_else(|| ANTHROPIC_URL.to_owned());
    let address = address("ANTHROPIC_BASE_URL", &url)?;
    // Anthropic's SDKs add `/v1/messages` to their base URL, unlike OpenAI's, whose base URL has the `/v1`.
    let prefix = match address.path.as_str() {
        "" | "v1" => None,
        path if path.ends_with("/v1") => Some(path.to_owned()),
        path => Some(format!("{path}/v1")),
    };
    Ok(Some(Provider {
        name: "anthropic",
        schema: "Anthropic",
        schema_detail: prefix.map(|prefix| ("prefix", prefix)),
        url,
        address,
        key_variable: "ANTHROPIC_API_KEY",
        policy: ("AnthropicAPIKey", "anthropicAPIKey"),
        headers: Vec::new(),
    }))
}

fn address(variable: &'static str, url: &str) -> Result<BaseUrl, EnvironmentError> {
    let invalid = |expected| EnvironmentError::Invalid { variable, expected };
    let address = BaseUrl::parse(url).map_err(invalid)?;
    // A server name in TLS is a DNS name; an IPv4 address at least looks like one to the CRD's pattern.
    if address.is_https && matches!(address.host, Host::Address(ip) if ip.is_ipv6()) {
        return Err(invalid("expected a host name or IPv4 address with https"));
    }
    Ok(address)
}

/// The proxy, and who is asked through it.
struct Proxied {
    proxy: ProxyVariables,
    /// Hosts that are.
    hosts: Vec<String>,
    /// Hosts that are not.
    bypass: Vec<String>,
}

impl Proxied {
    /// Reads it, unless nobody would be asked through it.
    fn choose(lookup: Lookup<'_>, rules: &[(&str, Provider)]) -> Result<Option<Self>, EnvironmentError> {
        let Some(proxy) = ProxyVariables::read(lookup)? else { return Ok(None) };
        let (through, around): (Vec<_>, Vec<_>) =
            rules.iter().map(|(_, provider)| &provider.address).partition(|address| proxy.is_for(address));
        let hosts =
            |addresses: Vec<&BaseUrl>| addresses.into_iter().map(|url| url.host.to_string()).collect();
        let (hosts, bypass): (Vec<String>, Vec<String>) = (hosts(through), hosts(around));
        Ok((!hosts.is_empty()).then_some(Self { proxy, hosts, bypass }))
    }

    fn note(&self) -> String {
        let ProxyVariables { variable, address, .. } = &self.proxy;
        format!("{}: through the proxy {address} of {variable}", self.hosts.join(", "))
    }

    /// Appends the GatewayConfig, and the Secret if the proxy asks who comes.
    fn write(&self, text: &mut String) {
        let ProxyVariables { variable, address, is_secure, has_credential, .. } = &self.proxy;
        let mut annotations = Vec::new();
        if *is_secure {
            annotations.push("tollgate.dev/forward-proxy-tls: System".to_owned());
        }
        if *has_credential {
            annotations.push("tollgate.dev/forward-proxy-secret: tollgate-proxy".to_owned());
        }
        if !self.bypass.is_empty() {
            annotations
                .push(format!("tollgate.dev/forward-proxy-bypass: {}", quoted(&self.bypass.join(","))));
        }
        let annotations = match annotations.join(", ") {
            none if none.is_empty() => none,
            some => format!(", annotations: {{{some}}}"),
        };
        let _ = write!(
            text,
            "\
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: GatewayConfig
metadata: {{name: tollgate, namespace: default{annotations}}}
spec: {{forwardProxy: {{address: {}}}}}
",
            quoted(address)
        );
        if *has_credential {
            let _ = write!(
                text,
                "\
---
apiVersion: v1
kind: Secret
metadata:
  name: tollgate-proxy
  namespace: default
  annotations: {{substitution.aigw.run/env/url: {variable}}}
"
            );
        }
    }
}

/// The Gateway and the route.
fn front(rules: &[(&str, Provider)], proxy: Option<&Proxied>) -> String {
    let mut text = String::from(
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tollgate}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
",
    );
    text.push_str(match proxy {
        None => "metadata: {name: tollgate, namespace: default}\n",
        Some(_) => {
            "\
metadata:
  name: tollgate
  namespace: default
  annotations: {aigateway.envoyproxy.io/gateway-config: tollgate}
"
        }
    });
    text.push_str(
        "\
spec:
  gatewayClassName: tollgate
  listeners:
  - {name: http, protocol: HTTP, port: 1975}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {name: tollgate, namespace: default}
spec:
  parentRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, name: tollgate}
  rules:
",
    );
    for (pattern, provider) in rules {
        // Ten minutes is what the SDKs of OpenAI and Anthropic wait.
        let _ = write!(
            text,
            "  - matches:
    - headers:
      - {{type: RegularExpression, name: x-ai-eg-model, value: {pattern:?}}}
    backendRefs:
    - {{name: {name}}}
    timeouts: {{request: 10m}}
",
            name = provider.name,
        );
    }
    text
}

impl Provider {
    /// Appends the objects of this backend.
    fn write(&self, text: &mut String) {
        let name = self.name;
        let detail = match &self.schema_detail {
            None => String::new(),
            Some((field, value)) => format!(", {field}: {}", quoted(value)),
        };
        let endpoint = match &self.address.host {
            Host::Name(host) => format!("fqdn: {{hostname: {}", quoted(host)),
            Host::Address(address) => format!("ip: {{address: {}", quoted(&address.to_string())),
        };
        let (policy_type, policy_field) = self.policy;
        let key_variable = self.key_variable;
        let port = self.address.port;
        let schema = self.schema;
        let mutation = self.header_mutation();
        let _ = write!(
            text,
            "\
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: {name}, namespace: default}}
spec:
  schema: {{name: {schema}{detail}}}
  backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}
{mutation}\
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {name}, namespace: default}}
spec:
  endpoints:
  - {endpoint}, port: {port}}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  targetRefs:
  - {{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: {name}}}
  type: {policy_type}
  {policy_field}:
    secretRef: {{name: {name}}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {name}
  namespace: default
  annotations: {{substitution.aigw.run/env/apiKey: {key_variable}}}
"
        );
        if self.address.is_https {
            self.write_tls(text);
        }
    }

    fn header_mutation(&self) -> String {
        if self.headers.is_empty() {
            return String::new();
        }
        let mut text = String::from("  headerMutation:\n    set:\n");
        for (name, value) in &self.headers {
            let _ = writeln!(text, "    - {{name: {name}, value: {}}}", quoted(value));
        }
        text
    }

    fn write_tls(&self, text: &mut String) {
        let name = self.name;
        let hostname = match &self.address.host {
            Host::Name(host) => quoted(host),
            Host::Address(address) => quoted(&address.to_string()),
        };
        let _ = write!(
            text,
            "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  targetRefs:
  - {{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}
  validation:
    hostname: {hostname}
    wellKnownCACertificates: System
"
        );
    }
}

/// A YAML scalar that is `value` whatever is in it: JSON strings are YAML.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
