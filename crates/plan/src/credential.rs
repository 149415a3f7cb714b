//! BackendSecurityPolicy: how the gateway proves itself to a backend.

use std::collections::BTreeMap;

use tollgate_config::bundle::{Credential, CredentialKind, SecretRef};
use tollgate_config::{header_name, header_value};
use tollgate_manifest::{BackendSecurityPolicySpec, CredentialOverride, CredentialType, SecretCredential};

use crate::findings::{Findings, Unresolved};
use crate::grant::{self, AI_BACKEND, AI_SECURITY, SECRET};
use crate::index::{Index, Item};

/// The key of an API key in its Secret.
const API_KEY: &str = "apiKey";

type Policy<'a> = Item<'a, BackendSecurityPolicySpec>;

/// The credential of each backend that has a policy, or why it has none and must not be used.
pub(crate) type Credentials = BTreeMap<(String, String), Result<Credential, String>>;

/// Resolves every policy for every backend that it is about.
pub(crate) fn credentials(index: &Index<'_>, findings: &mut Findings) -> Credentials {
    let mut by_backend: BTreeMap<(String, String), Vec<&Policy<'_>>> = BTreeMap::new();
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
    policies: &[&'p Policy<'a>],
    findings: &mut Findings,
) -> Result<&'p Policy<'a>, String> {
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

fn credential(index: &Index<'_>, policy: &Policy<'_>, findings: &mut Findings) -> Result<Credential, String> {
    let spec = policy.spec;
    let (kind, field, written, header) = match spec.kind {
        CredentialType::ApiKey => (CredentialKind::ApiKey, "apiKey", &spec.api_key, "x-aigw-api-key"),
        CredentialType::AzureApiKey => {
            (CredentialKind::AzureApiKey, "azureAPIKey", &spec.azure_api_key, "x-aigw-azure-api-key")
        }
        CredentialType::AnthropicApiKey => (
            CredentialKind::AnthropicApiKey,
            "anthropicAPIKey",
            &spec.anthropic_api_key,
            "x-aigw-anthropic-api-key",
        ),
        CredentialType::AwsCredentials
        | CredentialType::AzureCredentials
        | CredentialType::GcpCredentials => {
            let message = "credentials of this type are not served yet";
            findings.error(&policy.id, "spec.type", message);
            return Err(message.to_owned());
        }
    };
    let configured = match written {
        None => None,
        Some(written) => Some(secret(index, policy, field, written, findings)?),
    };
    if configured.is_none() && spec.credential_override.is_none() {
        let message = format!("expected {field}, as the type says");
        findings.error(&policy.id, "spec", message.clone());
        return Err(message);
    }
    let (override_header, wants_fallback) = match &spec.credential_override {
        None => (None, true),
        Some(written) => per_request(policy, written, header, findings)?,
    };
    let fallback_to_configured = wants_fallback && configured.is_some();
    Ok(Credential { kind, configured, override_header, fallback_to_configured })
}

/// The header with a credential per request, and whether the configured one serves in its place.
fn per_request(
    policy: &Policy<'_>,
    written: &CredentialOverride,
    default_header: &str,
    findings: &mut Findings,
) -> Result<(Option<String>, bool), String> {
    if let Some(headers) = &written.from_request_headers {
        let header = headers.header.as_deref().unwrap_or(default_header);
        let header = header_name(header).inspect_err(|message| {
            findings.error(&policy.id, "spec.credentialOverride.fromRequestHeaders.header", message.as_str());
        })?;
        return Ok((Some(header.as_str().to_owned()), headers.fallback_to_configured));
    }
    let Some(metadata) = &written.from_dynamic_metadata else { return Ok((None, true)) };
    let path = "spec.credentialOverride.fromDynamicMetadata";
    if metadata.fallback_to_configured {
        findings.warning(
            &policy.id,
            path,
            "there is no dynamic metadata on the embedded data plane: the configured credential serves",
        );
        return Ok((None, true));
    }
    let message =
        "there is no dynamic metadata on the embedded data plane: no request can bring a credential";
    findings.error(&policy.id, path, message);
    Err(message.to_owned())
}

/// The reference to a key that is there and can be sent.
fn secret(
    index: &Index<'_>,
    policy: &Policy<'_>,
    field: &str,
    written: &SecretCredential,
    findings: &mut Findings,
) -> Result<SecretRef, String> {
    let reference = &written.secret_ref;
    let name = &reference.name;
    let own_namespace = &policy.id.namespace;
    let namespace = reference.namespace.as_ref().unwrap_or(own_namespace);
    let path = format!("spec.{field}.secretRef");
    let found = if !SECRET.is(&reference.group, &reference.kind) {
        Err((Unresolved::InvalidKind, "expected a Secret".to_owned()))
    } else {
        match index.secrets.get(namespace, name).map(|secret| secret.spec.data.get(API_KEY)) {
            None => Err(format!("no Secret \"{namespace}/{name}\"")),
            Some(None) => Err(format!("no key {API_KEY:?} in Secret \"{namespace}/{name}\"")),
            Some(Some(key)) => match key.expose().trim() {
                "" => Err(format!("key {API_KEY:?} of Secret \"{namespace}/{name}\" is empty")),
                key if header_value(key).is_err() => {
                    Err(format!("key {API_KEY:?} of Secret \"{namespace}/{name}\" cannot stand in a header"))
                }
                _ => Ok(()),
            },
        }
        .map_err(|message| (Unresolved::ValueNotFound, message))
    };
    if let Err((reason, message)) = found {
        findings.unresolved(&policy.id, path, reason, message.clone());
        return Err(message);
    }
    // Envoy AI Gateway reads Secrets of any namespace, so manifests that rely on it have to go on working.
    if !grant::permits(index, (AI_SECURITY, own_namespace), (SECRET, namespace, name)) {
        let message =
            format!("no ReferenceGrant in namespace {namespace:?} lets this policy use Secret {name:?}");
        findings.warning(&policy.id, path, message + ": used all the same");
    }
    Ok(SecretRef { namespace: namespace.clone(), name: name.clone(), key: API_KEY.to_owned() })
}
