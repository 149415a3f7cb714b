//! Certificates, keys and authorities that are there and cannot be used: looked at before anything is planned, so that a
//! mistake in one disables what needs it and nothing else.

use std::collections::BTreeMap;

use rustls::RootCertStore;
use tollgate_manifest::{Located, Object};
use tollgate_plan::Unusable;
use tollgate_proxy::certificate::{self, UnfitPair};

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
    match certificate::pair(chain, key) {
        Ok(_) => Ok(()),
        Err(UnfitPair::Chain(reason)) => Err((CHAIN, reason)),
        Err(UnfitPair::Key(reason)) => Err((KEY, reason)),
    }
}

/// Checks that every certificate can be an authority, where there are any.
fn authorities(texts: &Texts<'_>) -> Result<(), (&'static str, String)> {
    let Some(text) = texts.get(AUTHORITIES) else { return Ok(()) };
    match certificate::authorities(text, &mut RootCertStore::empty()) {
        Ok(0) => Err((AUTHORITIES, "has no certificate".to_owned())),
        Ok(_) => Ok(()),
        Err(reason) => Err((AUTHORITIES, reason)),
    }
}
