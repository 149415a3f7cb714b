//! TLS towards backends: BackendTLSPolicy over the `tls` of a Backend.

use tollgate_config::bundle::{Trust, UpstreamTls};
use tollgate_manifest::{
    BackendSpec, BackendTls, BackendTlsPolicySpec, LocalObjectReference, SubjectAltNameType,
    WellKnownCaCertificates,
};

use crate::findings::{Findings, ObjectId, Unresolved};
use crate::grant::{BACKEND, CONFIG_MAP, SECRET};
use crate::index::{Index, Item};

/// The key of a certificate authority in a ConfigMap or Secret.
const CA: &str = "ca.crt";

type Policy<'a> = Item<'a, BackendTlsPolicySpec>;

/// Resolves the TLS of `backend`; `Ok(None)` is cleartext.
///
/// # Errors
/// When TLS is wanted and cannot be had as written. The backend must not be reached in another way.
pub(crate) fn resolve(
    index: &Index<'_>,
    backend: &Item<'_, BackendSpec>,
    findings: &mut Findings,
) -> Result<Option<UpstreamTls>, String> {
    check_own(backend, findings)?;
    match (policy(index, backend, findings), &backend.spec.tls) {
        (Some(policy), own) => {
            let by_policy = by_policy(index, policy, findings);
            let own = own.as_ref().map_or(Ok(()), |own| overruled(index, backend, own, policy, findings));
            own.and(by_policy).map(Some)
        }
        (None, Some(tls)) => {
            let server_name = server_name(backend, tls.sni.as_deref()).inspect_err(|message| {
                findings.error(&backend.id, "spec.tls.sni", message.as_str());
            })?;
            let path = "spec.tls.caCertificateRefs";
            let trust = trust(index, &backend.id, path, &tls.ca_certificate_refs, findings)?;
            Ok(Some(UpstreamTls { server_name, trust, subject_alt_names: Vec::new() }))
        }
        (None, None) => Ok(None),
    }
}

/// Checks that every policy is about something, and names what in it has no effect.
pub(crate) fn check_policies(index: &Index<'_>, findings: &mut Findings) {
    for policy in index.backend_tls_policies.iter() {
        for (at, target) in policy.spec.target_refs.iter().enumerate() {
            let path = format!("spec.targetRefs[{at}]");
            let (namespace, name) = (&policy.id.namespace, &target.name);
            if !BACKEND.is(&target.group, &target.kind) {
                let message =
                    format!("expected a Backend, found {} of group {:?}", target.kind, target.group);
                findings.error(&policy.id, path, message);
            } else if index.is_invalid(BACKEND, namespace, name) {
                // What is wrong with it is told already.
            } else if index.backends.get(namespace, name).is_none() {
                let message = format!("no Backend {name:?} in namespace {namespace:?}");
                findings.unresolved(&policy.id, path + ".name", Unresolved::BackendNotFound, message);
            } else if target.section_name.is_some() {
                findings.warning(
                    &policy.id,
                    path + ".sectionName",
                    "has no effect: holds for the whole Backend",
                );
            }
        }
        if !policy.spec.options.is_empty() {
            findings.warning(&policy.id, "spec.options", "has no effect");
        }
    }
}

fn check_own(backend: &Item<'_, BackendSpec>, findings: &mut Findings) -> Result<(), String> {
    let Some(tls) = &backend.spec.tls else { return Ok(()) };
    if tls.client_certificate_ref.is_some() {
        findings.warning(
            &backend.id,
            "spec.tls.clientCertificateRef",
            "not served yet: no certificate is shown",
        );
    }
    if tls.insecure_skip_verify == Some(true) {
        let message = "refused: a backend that anybody could stand in for gets no credentials; \
                       trust its authority in caCertificateRefs";
        findings.error(&backend.id, "spec.tls.insecureSkipVerify", message);
        return Err("insecureSkipVerify is refused".to_owned());
    }
    Ok(())
}

/// Names what a Backend says and its policy says otherwise: as in Envoy Gateway the policy counts, and what the Backend
/// refers to has to be there all the same.
fn overruled(
    index: &Index<'_>,
    backend: &Item<'_, BackendSpec>,
    own: &BackendTls,
    policy: &Policy<'_>,
    findings: &mut Findings,
) -> Result<(), String> {
    let validation = &policy.spec.validation;
    let fields = [
        ("sni", own.sni.as_ref().is_some_and(|sni| *sni != validation.hostname)),
        ("caCertificateRefs", !own.ca_certificate_refs.is_empty()),
        (
            "wellKnownCACertificates",
            own.well_known_ca_certificates.is_some() && validation.well_known_ca_certificates.is_none(),
        ),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_overruled)| *is_overruled) {
        let message = format!("has no effect: {} stands before it", policy.id);
        findings.warning(&backend.id, format!("spec.tls.{field}"), message);
    }
    let path = "spec.tls.caCertificateRefs";
    trust(index, &backend.id, path, &own.ca_certificate_refs, findings).map(|_| ())
}

/// The oldest policy about `backend`; the others conflict with it.
fn policy<'i, 'a>(
    index: &'i Index<'a>,
    backend: &Item<'_, BackendSpec>,
    findings: &mut Findings,
) -> Option<&'i Policy<'a>> {
    let is_about = |policy: &&Policy<'_>| {
        let mut targets = policy.spec.target_refs.iter();
        targets.any(|target| BACKEND.is(&target.group, &target.kind) && target.name == backend.id.name)
    };
    let mut policies: Vec<_> =
        index.backend_tls_policies.in_namespace(&backend.id.namespace).filter(is_about).collect();
    policies.sort_by_key(|policy| policy.age());
    let (first, others) = policies.split_first()?;
    for other in others {
        let message = format!("has no effect on Backend {:?}: {} is older", backend.id.name, first.id);
        findings.error(&other.id, "spec.targetRefs", message);
    }
    Some(first)
}

fn by_policy(index: &Index<'_>, policy: &Policy<'_>, findings: &mut Findings) -> Result<UpstreamTls, String> {
    let validation = &policy.spec.validation;
    let mut subject_alt_names = Vec::new();
    for (at, name) in validation.subject_alt_names.iter().enumerate() {
        match (name.kind, &name.hostname) {
            (SubjectAltNameType::Hostname, Some(hostname)) => subject_alt_names.push(hostname.clone()),
            (SubjectAltNameType::Hostname | SubjectAltNameType::Uri, _) => {
                let message = "expected a name of type Hostname, the only type that is served";
                findings.error(&policy.id, format!("spec.validation.subjectAltNames[{at}]"), message);
                return Err(format!("{}: {message}", policy.id));
            }
        }
    }
    let path = "spec.validation.caCertificateRefs";
    let trust = match validation.well_known_ca_certificates {
        Some(WellKnownCaCertificates::System) => Trust::System,
        None => trust(index, &policy.id, path, &validation.ca_certificate_refs, findings)?,
    };
    Ok(UpstreamTls { server_name: validation.hostname.clone(), trust, subject_alt_names })
}

/// The name to ask for and verify: the one given, else the one that all endpoints have.
fn server_name(backend: &Item<'_, BackendSpec>, sni: Option<&str>) -> Result<String, String> {
    if let Some(sni) = sni {
        return Ok(sni.to_owned());
    }
    let mut names = backend.spec.endpoints.iter().map(|endpoint| {
        let fqdn = endpoint.fqdn.as_ref().map(|fqdn| &fqdn.hostname);
        endpoint.hostname.as_ref().or(fqdn)
    });
    match names.next() {
        Some(Some(first)) if names.all(|name| name == Some(first)) => Ok(first.clone()),
        _ => Err("expected a server name: the endpoints have none in common".to_owned()),
    }
}

/// The authorities in `references`; those of the system when there are none.
pub(crate) fn trust(
    index: &Index<'_>,
    object: &ObjectId,
    path: &str,
    references: &[LocalObjectReference],
    findings: &mut Findings,
) -> Result<Trust, String> {
    if references.is_empty() {
        return Ok(Trust::System);
    }
    let mut texts = Vec::new();
    for (at, reference) in references.iter().enumerate() {
        match authority(index, &object.namespace, reference, findings) {
            Ok(text) => texts.push(text),
            Err(message) => {
                let path = format!("{path}[{at}]");
                findings.unresolved(object, path, Unresolved::InvalidCertificateRef, message.clone());
                return Err(format!("{object}: {message}"));
            }
        }
    }
    Ok(Trust::Pem(texts))
}

fn authority(
    index: &Index<'_>,
    namespace: &str,
    reference: &LocalObjectReference,
    findings: &mut Findings,
) -> Result<String, String> {
    let (kind, name) = (&reference.kind, &reference.name);
    let data = if CONFIG_MAP.is(&reference.group, kind) {
        let config_map = index.config_maps.get(namespace, name);
        config_map.map(|config_map| (&config_map.id, config_map.spec.data.get(CA).map(String::as_str)))
    } else if SECRET.is(&reference.group, kind) {
        let secret = index.secrets.get(namespace, name);
        secret.map(|secret| (&secret.id, secret.spec.data.get(CA).map(tollgate_terms::Secret::expose)))
    } else {
        return Err(format!("expected a ConfigMap or Secret, found {kind} of group {:?}", reference.group));
    };
    let (id, value) = data.ok_or_else(|| format!("no {kind} {name:?} in namespace {namespace:?}"))?;
    let text = value.ok_or_else(|| format!("no key {CA:?} in {kind} {name:?}"))?;
    if text.contains("-----BEGIN CERTIFICATE-----") && !text.contains("PRIVATE KEY-----") {
        index.usable(id, &[CA], findings)?;
        Ok(text.to_owned())
    } else {
        Err(format!("expected certificates in PEM, and nothing else, under key {CA:?} of {kind} {name:?}"))
    }
}
