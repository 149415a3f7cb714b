//! Certificates of listeners.

use tollgate_config::bundle::{Certificate, ListenerTls, SecretRef};
use tollgate_manifest::{GatewaySpec, GatewayTls, SecretObjectReference};

use crate::findings::{Findings, Unresolved};
use crate::grant::{self, GATEWAY, SECRET};
use crate::index::{Index, Item};
use crate::remote_secret;

const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Resolves the certificates of listener `at`. `None` when there is none to serve with.
pub(crate) fn resolve(
    index: &Index<'_>,
    gateway: &Item<'_, GatewaySpec>,
    at: usize,
    tls: &GatewayTls,
    findings: &mut Findings,
) -> Option<ListenerTls> {
    let path = format!("spec.listeners[{at}].tls");
    if !tls.options.is_empty() {
        findings.warning(&gateway.id, format!("{path}.options"), "has no effect");
    }
    let mut certificates = Vec::new();
    for (nth, reference) in tls.certificate_refs.iter().enumerate() {
        match certificate(index, gateway, reference, findings) {
            Ok(certificate) => certificates.push(certificate),
            Err((reason, message)) => {
                findings.unresolved(&gateway.id, format!("{path}.certificateRefs[{nth}]"), reason, message);
            }
        }
    }
    if certificates.is_empty() {
        findings.error(&gateway.id, path, "expected at least one usable certificate in certificateRefs");
        return None;
    }
    Some(ListenerTls { certificates })
}

fn certificate(
    index: &Index<'_>,
    gateway: &Item<'_, GatewaySpec>,
    reference: &SecretObjectReference,
    findings: &mut Findings,
) -> Result<Certificate, (Unresolved, String)> {
    let name = &reference.name;
    let own_namespace = &gateway.id.namespace;
    let namespace = reference.namespace.as_ref().unwrap_or(own_namespace);
    if !SECRET.is(&reference.group, &reference.kind) {
        return Err((Unresolved::InvalidCertificateRef, "expected a Secret".to_owned()));
    }
    if !grant::permits(index, (GATEWAY, own_namespace), (SECRET, namespace, name)) {
        let message =
            format!("no ReferenceGrant in namespace {namespace:?} lets this Gateway use Secret {name:?}");
        return Err((Unresolved::RefNotPermitted, message));
    }
    let Some(secret) = index.secrets.get(namespace, name) else {
        return Err((Unresolved::InvalidCertificateRef, format!("no Secret \"{namespace}/{name}\"")));
    };
    let value = |key: &str| match secret.spec.data.get(key) {
        Some(value) if value.expose().contains("-----BEGIN ") => {
            Ok(SecretRef { namespace: namespace.clone(), name: name.clone(), key: key.to_owned() })
        }
        Some(_) => Err(format!("expected PEM under key {key:?} of Secret \"{namespace}/{name}\"")),
        None if matches!(remote_secret::read(secret.spec), Ok(None)) => {
            Err(format!("no key {key:?} in Secret \"{namespace}/{name}\""))
        }
        None => Err(format!(
            "no key {key:?} in Secret \"{namespace}/{name}\" itself: AWS Secrets Manager serves credentials of backends alone"
        )),
    };
    let invalid = |message| (Unresolved::InvalidCertificateRef, message);
    let certificate =
        Certificate { chain: value(CHAIN).map_err(invalid)?, key: value(KEY).map_err(invalid)? };
    index.usable(&secret.id, &[CHAIN, KEY], findings).map_err(invalid)?;
    Ok(certificate)
}
