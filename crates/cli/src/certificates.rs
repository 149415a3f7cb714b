//! Certificates, keys and authorities that are there and cannot be used: looked at before anything is planned, so that a
//! mistake in one disables what needs it and nothing else.

use std::collections::BTreeMap;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_manifest::{Located, Object};
use tollgate_plan::Unusable;

const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

/// What of `objects` cannot be used, and why. No reason has anything of a key in it.
pub(crate) fn unusable(objects: &[Located<Object>]) -> Unusable {
    let mut unusable = Unusable::new();
    let mut note = |object: &Object, found: Result<(), (&str, String)>| {
        if let Err((key, reason)) = found {
            unusable.insert((object.to_string(), key.to_owned()), reason);
        }
    };
    for object in objects.iter().map(|object| &object.value) {
        match object {
            Object::Secret(secret) => {
                let texts = secret.data.iter().map(|(key, text)| (key.as_str(), text.expose())).collect();
                note(object, pair(&texts));
                note(object, authorities(&texts));
            }
            Object::ConfigMap(map) => {
                let texts = map.data.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
                note(object, authorities(&texts));
            }
            _ => {}
        }
    }
    unusable
}

type Texts<'a> = BTreeMap<&'a str, &'a str>;

/// Checks a chain and its key, where both are.
fn pair(texts: &Texts<'_>) -> Result<(), (&'static str, String)> {
    let (Some(chain), Some(key)) = (texts.get(CHAIN), texts.get(KEY)) else { return Ok(()) };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| (CHAIN, "is not PEM".to_owned()))?;
    if chain.is_empty() {
        return Err((CHAIN, "has no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| (KEY, "has no private key in PEM".to_owned()))?;
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err((KEY, format!("is not the key of the certificate in {CHAIN}")))
        }
        Err(rustls::Error::InvalidCertificate(error)) => {
            Err((CHAIN, format!("its first certificate cannot be read: {error}")))
        }
        Err(_) => Err((KEY, "is of a kind that is not known".to_owned())),
    }
}

/// Checks that every certificate can be an authority, where there are any.
fn authorities(texts: &Texts<'_>) -> Result<(), (&'static str, String)> {
    let Some(text) = texts.get(AUTHORITIES) else { return Ok(()) };
    let mut roots = RootCertStore::empty();
    for (at, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let certificate = certificate.map_err(|_| (AUTHORITIES, "is not PEM".to_owned()))?;
        roots
            .add(certificate)
            .map_err(|error| (AUTHORITIES, format!("certificate {} cannot be read: {error}", at + 1)))?;
    }
    if roots.is_empty() { Err((AUTHORITIES, "has no certificate".to_owned())) } else { Ok(()) }
}
