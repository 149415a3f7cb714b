//! BackendSecurityPolicy: how the gateway proves itself to a backend.

mod identity;
mod reference;

use std::collections::BTreeMap;

use tollgate_config::bundle::{Credential, CredentialKind, CredentialSource};
use tollgate_config::{header_name, header_value};
use tollgate_manifest::{BackendSecurityPolicySpec, CredentialOverride, CredentialType, SecretCredential};

use crate::findings::{Findings, Unresolved};
use crate::grant::AI_BACKEND;
use crate::index::{Index, Item};
use identity::Identity;
use reference::Policy;

/// The key of an API key in its Secret.
const API_KEY: &str = "apiKey";

type Written<'a> = Item<'a, BackendSecurityPolicySpec>;

/// The credential of each backend that has a policy, or why it has none and must not be used.
pub(crate) type Credentials = BTreeMap<(String, String), Result<Credential, String>>;

/// Resolves every policy for every backend that it is about.
pub(crate) fn credentials(index: &Index<'_>, findings: &mut Findings) -> Credentials {
    let mut by_backend: BTreeMap<(String, String), Vec<&Written<'_>>> = BTreeMap::new();
    let mut policies: Vec<_> = index.backend_security_policies.iter().collect();
    policies.sort_by_key(|policy| policy.age());
    for policy in policies {
        if policy.spec.target_refs.is_empty() {
            findings.warning(&policy.id, "spec.targetRefs", "has no effect: it is about no backend");
            // Its mistakes are worth telling all the same.
            let _ = credential(index, policy, findings);
        }
        for (at, target) in policy.spec.target_refs.iter().enumerate() {
            let path = format!("spec.targetRefs[{at}]");
            if !AI_BACKEND.is(&target.group, &target.kind) {
                findings.warning(
                    &policy.id,
                    path,
                    format!("{} is not served yet: has no effect", target.kind),
                );
            } else if index.is_invalid(AI_BACKEND, &policy.id.namespace, &target.name) {
                // What is wrong with it is told already.
            } else if index.ai_service_backends.get(&policy.id.namespace, &target.name).is_none() {
                let message =
                    format!("no AIServiceBackend {:?} in namespace {:?}", target.name, policy.id.namespace);
                findings.unresolved(&policy.id, path + ".name", Unresolved::BackendNotFound, message);
            } else {
                let key = (policy.id.namespace.clone(), target.name.clone());
                let policies = by_backend.entry(key).or_default();
                if !policies.iter().any(|other| other.id == policy.id) {
                    policies.push(policy);
                }
            }
        }
    }
    by_backend
        .into_iter()
        .map(|(backend, policies)| {
            let credential = one_of(&backend, &policies, findings).and_then(|policy| {
                credential(index, policy, findings).map_err(|why| format!("{}: {why}", policy.id))
            });
            (backend, credential)
        })
        .collect()
}

/// The only policy of a backend: of two, neither can be trusted to be the one that was meant.
fn one_of<'a, 'p>(
    (_, backend): &(String, String),
    policies: &[&'p Written<'a>],
    findings: &mut Findings,
) -> Result<&'p Written<'a>, String> {
    if let [only] = policies {
        return Ok(only);
    }
    let names: Vec<_> = policies.iter().map(|policy| format!("{:?}", policy.id.name)).collect();
    let message =
        format!("AIServiceBackend {backend:?} has several BackendSecurityPolicies: {}", names.join(", "));
    for policy in policies {
        findings.error(&policy.id, "spec.targetRefs", message.clone());
    }
    Err(message)
}

fn credential(
    index: &Index<'_>,
    policy: &Written<'_>,
    findings: &mut Findings,
) -> Result<Credential, String> {
    let policy = Policy { index, item: policy };
    let (kind, configured) = identity(&policy, findings)?;
    let (override_headers, wants_fallback) = match &policy.item.spec.credential_override {
        None => (Vec::new(), true),
        Some(written) => per_request(&policy, written, &kind, findings)?,
    };
    let fallback_to_configured = wants_fallback && configured.is_some();
    Ok(Credential { kind, configured, override_headers, fallback_to_configured })
}

/// How the credential is shown, and where the configured one is, if there is one.
fn identity(
    policy: &Policy<'_>,
    findings: &mut Findings,
) -> Result<(CredentialKind, Option<CredentialSource>), String> {
    let spec = policy.item.spec;
    let some = |(kind, source): Identity| (kind, Some(source));
    let key = |kind: CredentialKind, field: &str, written: &SecretCredential, findings: &mut Findings| {
        let path = format!("spec.{field}.secretRef");
        let key = policy.secret(&path, &written.secret_ref, (API_KEY, &can_be_sent), findings)?;
        Ok((kind, Some(CredentialSource::Key(key))))
    };
    let (kind, field) = match spec.kind {
        CredentialType::ApiKey => match &spec.api_key {
            Some(written) => return key(CredentialKind::ApiKey, "apiKey", written, findings),
            None => (Some(CredentialKind::ApiKey), "apiKey"),
        },
        CredentialType::AzureApiKey => match &spec.azure_api_key {
            Some(written) => return key(CredentialKind::AzureApiKey, "azureAPIKey", written, findings),
            None => (Some(CredentialKind::AzureApiKey), "azureAPIKey"),
        },
        CredentialType::AnthropicApiKey => match &spec.anthropic_api_key {
            Some(written) => {
                return key(CredentialKind::AnthropicApiKey, "anthropicAPIKey", written, findings);
            }
            None => (Some(CredentialKind::AnthropicApiKey), "anthropicAPIKey"),
        },
        CredentialType::AzureCredentials => match &spec.azure_credentials {
            Some(written) => return policy.azure(written, findings).map(some),
            None => (Some(CredentialKind::AzureToken), "azureCredentials"),
        },
        // Without them there is no region.
        CredentialType::AwsCredentials => match &spec.aws_credentials {
            Some(written) => return policy.aws(written, findings).map(some),
            None => (None, "awsCredentials"),
        },
        CredentialType::GcpCredentials => match &spec.gcp_credentials {
            Some(written) => return policy.google(written, findings).map(some),
            None => (None, "gcpCredentials"),
        },
    };
    match kind {
        Some(kind) if spec.credential_override.is_some() => Ok((kind, None)),
        _ => Err(policy.mistake("spec", format!("expected {field}, as the type says"), findings)),
    }
}

fn can_be_sent(key: &str) -> Result<(), String> {
    header_value(key).map(drop).map_err(|_| "cannot stand in a header".to_owned())
}

/// The header for credentials of a request, or what the names of several begin with.
fn default_header(kind: &CredentialKind) -> &'static str {
    match kind {
        CredentialKind::ApiKey | CredentialKind::GoogleApiKey => "x-aigw-api-key",
        CredentialKind::AzureApiKey => "x-aigw-azure-api-key",
        CredentialKind::AnthropicApiKey => "x-aigw-anthropic-api-key",
        CredentialKind::AzureToken => "x-aigw-azure-access-token",
        CredentialKind::GoogleToken { .. } => "x-aigw-gcp-access-token",
        CredentialKind::AwsSignature { .. } => "x-aigw-aws-",
    }
}

/// The headers with a credential per request, and whether the configured one serves in its place.
fn per_request(
    policy: &Policy<'_>,
    written: &CredentialOverride,
    kind: &CredentialKind,
    findings: &mut Findings,
) -> Result<(Vec<String>, bool), String> {
    if let Some(headers) = &written.from_request_headers {
        let header = headers.header.as_deref().unwrap_or(default_header(kind));
        let names = kind.offered_parts().iter().map(|part| header_name(&format!("{header}{part}")));
        let names: Vec<_> = names.collect::<Result<_, _>>().inspect_err(|message| {
            let path = "spec.credentialOverride.fromRequestHeaders.header";
            findings.error(&policy.item.id, path, message.as_str());
        })?;
        let names = names.iter().map(|name| name.as_str().to_owned()).collect();
        return Ok((names, headers.fallback_to_configured));
    }
    let Some(metadata) = &written.from_dynamic_metadata else { return Ok((Vec::new(), true)) };
    let path = "spec.credentialOverride.fromDynamicMetadata";
    if metadata.fallback_to_configured {
        findings.warning(
            &policy.item.id,
            path,
            "there is no dynamic metadata on the embedded data plane: the configured credential serves",
        );
        return Ok((Vec::new(), true));
    }
    let message =
        "there is no dynamic metadata on the embedded data plane: no request can bring a credential";
    findings.error(&policy.item.id, path, message);
    Err(message.to_owned())
}
