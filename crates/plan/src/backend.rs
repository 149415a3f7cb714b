//! AIServiceBackend: what it speaks, where it is, how it is reached.

use std::collections::BTreeMap;

use tollgate_config::bundle::{self, Endpoint, Mutation, Schema};
use tollgate_manifest::{
    AiServiceBackendSpec, AppProtocol, BackendSpec, BackendType, SchemaName, VersionedApiSchema,
};
use tollgate_terms::BackendName;

use crate::backend_traffic::Upstream;
use crate::credential::{self, Credentials};
use crate::findings::{Findings, ObjectId, Unresolved};
use crate::grant::{self, AI_BACKEND, AI_SECURITY, BACKEND, BACKEND_TLS, INFERENCE_POOL};
use crate::index::{Index, Item};
use crate::invalid::InvalidPolicies;
use crate::mutation::{self, Place};
use crate::quota::Quotas;
use crate::upstream_tls;

/// A backend that can be served, and its own changes to requests.
#[derive(Debug)]
pub(crate) struct PlannedBackend {
    pub(crate) id: ObjectId,
    pub(crate) backend: bundle::Backend,
    pub(crate) mutation: Mutation,
}

/// Every AIServiceBackend by namespace and name, or why it cannot be served.
pub(crate) type Backends = BTreeMap<(String, String), Result<PlannedBackend, String>>;

/// Resolves every AIServiceBackend, whether a route names it or not: mistakes show before they are used.
pub(crate) fn backends(index: &Index<'_>, quotas: &Quotas, findings: &mut Findings) -> Backends {
    let credentials = credential::credentials(index, findings);
    upstream_tls::check_policies(index, findings);
    let invalid = Invalid {
        credentials: InvalidPolicies::new(index, AI_SECURITY, [AI_BACKEND, INFERENCE_POOL]),
        tls: InvalidPolicies::new(index, BACKEND_TLS, [BACKEND]),
    };
    index
        .ai_service_backends
        .iter()
        .map(|backend| {
            let key = (backend.id.namespace.clone(), backend.id.name.clone());
            let resolved = resolve(index, backend, &credentials, &invalid, findings);
            let resolved = resolved.and_then(|mut planned| {
                planned.backend.quotas = quotas.of(&key)?;
                Ok(planned)
            });
            (key, resolved)
        })
        .collect()
}

/// The Backends that plain routes send to, as they are needed.
pub(crate) struct PlainBackends<'a> {
    index: &'a Index<'a>,
    invalid: InvalidPolicies,
}

impl<'a> PlainBackends<'a> {
    pub(crate) fn new(index: &'a Index<'a>) -> Self {
        Self { index, invalid: InvalidPolicies::new(index, BACKEND_TLS, [BACKEND]) }
    }

    /// Resolves `backend`, which speaks whatever its clients speak.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub(crate) fn resolve(
        &self,
        backend: &Item<'_, BackendSpec>,
        findings: &mut Findings,
    ) -> Result<bundle::Backend, String> {
        let address = address(self.index, backend, &self.invalid, findings)?;
        Ok(address.backend(BackendName::new(backend.id.to_string()), Schema::Plain, None))
    }

    /// How `backend` is reached by who asks it for a key set.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn key_host(
        &self,
        backend: &Item<'_, BackendSpec>,
        findings: &mut Findings,
    ) -> Result<bundle::KeyHost, String> {
        let Address { endpoints, tls, http2_cleartext } =
            address(self.index, backend, &self.invalid, findings)?;
        if http2_cleartext {
            return Err("key sets are asked for with HTTP/1.1".to_owned());
        }
        if tls.as_ref().is_some_and(|tls| !tls.subject_alt_names.is_empty()) {
            return Err("subjectAltNames are not looked at for key sets".to_owned());
        }
        Ok(bundle::KeyHost { endpoints, tls })
    }
}

/// Policies with mistakes, by what they are about.
struct Invalid {
    credentials: InvalidPolicies,
    tls: InvalidPolicies,
}

fn resolve(
    index: &Index<'_>,
    written: &Item<'_, AiServiceBackendSpec>,
    credentials: &Credentials,
    invalid: &Invalid,
    findings: &mut Findings,
) -> Result<PlannedBackend, String> {
    let spec = written.spec;
    // Every part is looked at, so that all mistakes show at once.
    let schema = schema(&written.id, &spec.schema, findings);
    let place = Place { object: &written.id, path: "spec." };
    let mutation =
        mutation::resolve(place, spec.header_mutation.as_ref(), spec.body_mutation.as_ref(), findings);
    let address = endpoint_object(index, written, findings)
        .and_then(|object| address(index, object, &invalid.tls, findings));
    let key = (written.id.namespace.clone(), written.id.name.clone());
    let credential = match invalid.credentials.over(&key.0, &key.1) {
        Some(reason) => Err(reason.to_owned()),
        None => credentials.get(&key).cloned().transpose(),
    };
    let (mut schema, mutation, address, mut credential) = (schema?, mutation?, address?, credential?);
    if let Some(credential) = &mut credential {
        schema.settle(&mut credential.kind);
    }
    let backend = address.backend(BackendName::new(written.full_name()), schema, credential);
    let is_signed = backend.credential.as_ref().is_some_and(|credential| credential.kind.is_signature());
    if is_signed && backend.one_authority().is_none() {
        let message = "requests are signed for one host: expected a Backend whose endpoints have one host name and port";
        findings.error(&written.id, "spec.backendRef", message);
        return Err(message.to_owned());
    }
    Ok(PlannedBackend { id: written.id.clone(), backend, mutation })
}

/// Takes the schema apart; the meaning of `version` and `prefix` depends on its name.
fn schema(id: &ObjectId, written: &VersionedApiSchema, findings: &mut Findings) -> Result<Schema, String> {
    let version = written.version.as_deref().filter(|version| !version.is_empty());
    let prefix = written.prefix.as_deref();
    let mut unused = |field: &str, is_set: bool| {
        if is_set {
            findings.warning(id, format!("spec.schema.{field}"), "has no effect with this schema");
        }
    };
    match written.name {
        // `version` is the older spelling of `prefix`.
        SchemaName::OpenAi => {
            unused("version", prefix.is_some() && version.is_some());
            Ok(Schema::OpenAi { prefix: prefix.or(version).unwrap_or("v1").to_owned() })
        }
        SchemaName::OpenAiResponses => {
            unused("version", version.is_some());
            Ok(Schema::OpenAiResponses { prefix: prefix.unwrap_or("v1").to_owned() })
        }
        SchemaName::Anthropic => {
            unused("version", version.is_some());
            Ok(Schema::Anthropic { prefix: prefix.unwrap_or("v1").to_owned() })
        }
        SchemaName::Cohere => {
            unused("prefix", prefix.is_some());
            Ok(Schema::Cohere { version: version.unwrap_or("v2").to_owned() })
        }
        SchemaName::AzureOpenAi => {
            unused("prefix", prefix.is_some());
            let message = "expected the api-version of Azure OpenAI";
            let version = version.ok_or_else(|| message.to_owned()).inspect_err(|message| {
                findings.error(id, "spec.schema.version", message.as_str());
            })?;
            Ok(Schema::AzureOpenAi { api_version: version.to_owned() })
        }
        SchemaName::AwsBedrock | SchemaName::SageMaker => {
            unused("prefix", prefix.is_some());
            unused("version", version.is_some());
            let is_bedrock = written.name == SchemaName::AwsBedrock;
            Ok(if is_bedrock { Schema::AwsBedrock } else { Schema::SageMaker })
        }
        SchemaName::AwsAnthropic => {
            unused("prefix", prefix.is_some());
            Ok(Schema::AwsAnthropic { version: version.map(str::to_owned) })
        }
        SchemaName::GcpVertexAi => {
            unused("prefix", prefix.is_some());
            unused("version", version.is_some());
            Ok(Schema::GcpVertexAi { location: None })
        }
        SchemaName::GcpAnthropic => {
            unused("prefix", prefix.is_some());
            Ok(Schema::GcpAnthropic { version: version.map(str::to_owned), location: None })
        }
        SchemaName::Gemini => {
            unused("version", version.is_some());
            Ok(Schema::Gemini { prefix: prefix.unwrap_or("v1beta").to_owned() })
        }
    }
}

/// The Backend that an AIServiceBackend names.
fn endpoint_object<'i, 'a>(
    index: &'i Index<'a>,
    written: &Item<'_, AiServiceBackendSpec>,
    findings: &mut Findings,
) -> Result<&'i Item<'a, BackendSpec>, String> {
    let reference = &written.spec.backend_ref;
    let own_namespace = &written.id.namespace;
    let namespace = reference.namespace.as_ref().unwrap_or(own_namespace);
    let name = &reference.name;
    let found = if !BACKEND.is(&reference.group, &reference.kind) {
        let found = format!("{} of group {:?}", reference.kind, reference.group);
        Err((Unresolved::InvalidKind, format!("expected a Backend of gateway.envoyproxy.io, found {found}")))
    } else if !grant::permits(index, (AI_BACKEND, own_namespace), (BACKEND, namespace, name)) {
        let message =
            format!("no ReferenceGrant in namespace {namespace:?} lets this object use Backend {name:?}");
        Err((Unresolved::RefNotPermitted, message))
    } else if index.is_invalid(BACKEND, namespace, name) {
        // What is wrong with it is told already.
        return Err(format!("Backend \"{namespace}/{name}\" has mistakes"));
    } else {
        let missing = || (Unresolved::BackendNotFound, format!("no Backend \"{namespace}/{name}\""));
        index.backends.get(namespace, name).ok_or_else(missing)
    };
    found.map_err(|(reason, message)| {
        findings.unresolved(&written.id, "spec.backendRef", reason, message.clone());
        message
    })
}

/// How a Backend is reached.
struct Address {
    endpoints: Vec<Endpoint>,
    tls: Option<bundle::UpstreamTls>,
    http2_cleartext: bool,
}

impl Address {
    /// The backend that is reached so, with the bounds that it has without a policy.
    fn backend(
        self,
        name: BackendName,
        schema: Schema,
        credential: Option<bundle::Credential>,
    ) -> bundle::Backend {
        let Self { endpoints, tls, http2_cleartext } = self;
        let Upstream { limits, ejection, connect_timeout, .. } = Upstream::default();
        bundle::Backend {
            name,
            schema,
            endpoints,
            tls,
            credential,
            limits,
            ejection,
            connect_timeout,
            http2_cleartext,
            quotas: Vec::new(),
        }
    }
}

fn address(
    index: &Index<'_>,
    backend: &Item<'_, BackendSpec>,
    invalid: &InvalidPolicies,
    findings: &mut Findings,
) -> Result<Address, String> {
    let endpoints = endpoints(backend, findings);
    let tls = match invalid.over(&backend.id.namespace, &backend.id.name) {
        Some(reason) => Err(reason.to_owned()),
        None => upstream_tls::resolve(index, backend, findings),
    };
    let http2_cleartext = http2_cleartext(backend, findings);
    if backend.spec.fallback == Some(true) {
        findings.warning(
            &backend.id,
            "spec.fallback",
            "has no effect: set priority in the backendRefs of the route",
        );
    }
    let (endpoints, tls) = (endpoints?, tls?);
    check_hostnames(backend, tls.as_ref(), findings);
    let is_https = |endpoint: &Endpoint| {
        matches!(endpoint, Endpoint::Fqdn { port: 443, .. } | Endpoint::Ip { port: 443, .. })
    };
    if tls.is_none() && endpoints.iter().any(is_https) {
        findings.warning(
            &backend.id,
            "spec.endpoints",
            "port 443 without TLS: a BackendTLSPolicy may be missing",
        );
    }
    Ok(Address { endpoints, tls, http2_cleartext })
}

/// Names host names of endpoints that are not asked for.
fn check_hostnames(
    backend: &Item<'_, BackendSpec>,
    tls: Option<&bundle::UpstreamTls>,
    findings: &mut Findings,
) {
    for (at, endpoint) in backend.spec.endpoints.iter().enumerate() {
        let message = match (&endpoint.hostname, tls) {
            (Some(_), None) => "has an effect on the server name of TLS only".to_owned(),
            (Some(hostname), Some(tls)) if *hostname != tls.server_name => {
                format!("has no effect: the server name is {:?}", tls.server_name)
            }
            _ => continue,
        };
        findings.warning(&backend.id, format!("spec.endpoints[{at}].hostname"), message);
    }
}

fn endpoints(backend: &Item<'_, BackendSpec>, findings: &mut Findings) -> Result<Vec<Endpoint>, String> {
    let id = &backend.id;
    if backend.spec.kind == BackendType::DynamicResolver {
        let message = "DynamicResolver is not served";
        findings.error(id, "spec.type", message);
        return Err(format!("{id}: {message}"));
    }
    let mut endpoints = Vec::new();
    for (at, written) in backend.spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{at}]");
        if written.zone.is_some() {
            findings.warning(id, format!("{path}.zone"), "has no effect");
        }
        match (&written.fqdn, &written.ip, &written.unix) {
            (Some(fqdn), None, None) => {
                endpoints.push(Endpoint::Fqdn { hostname: fqdn.hostname.clone(), port: fqdn.port });
            }
            (None, Some(ip), None) => endpoints.push(Endpoint::Ip { address: ip.address, port: ip.port }),
            (None, None, Some(unix)) => endpoints.push(Endpoint::Unix { path: unix.path.clone() }),
            _ => findings.error(id, path, "expected one of fqdn, ip or unix"),
        }
    }
    if endpoints.is_empty() {
        let message = "expected at least one endpoint";
        findings.error(id, "spec.endpoints", message);
        return Err(format!("{id}: {message}"));
    }
    Ok(endpoints)
}

fn http2_cleartext(backend: &Item<'_, BackendSpec>, findings: &mut Findings) -> bool {
    for (at, protocol) in backend.spec.app_protocols.iter().enumerate() {
        match protocol {
            AppProtocol::H2c => {}
            AppProtocol::Ws | AppProtocol::Wss => {
                findings.warning(&backend.id, format!("spec.appProtocols[{at}]"), "WebSocket is not served");
            }
        }
    }
    backend.spec.app_protocols.contains(&AppProtocol::H2c)
}
