//! JSON Web Keys (RFC 7517): what verifies the tokens of an issuer.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tollgate_exchange::authorize::{Algorithm, Key, Verifier};

/// Most keys of a set. Issuers have two or three at a time.
const KEYS_MAX: usize = 64;

/// Shortest key that both sides share: as long as the hash (RFC 7518 section 3.2).
const SHARED_BYTES_MIN: usize = 32;

/// Longest exponent of an RSA key.
const EXPONENT_BYTES_MAX: usize = 4;

/// Whether keys that both sides share may be in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// They may: the set is secret.
    Taken,
    /// They may not: who can read the set could sign.
    Refused,
}

/// The usable keys of a set. Those of other kinds or for other uses are passed over.
///
/// # Errors
/// When the text is no key set, or has no usable key.
pub(crate) fn parse(text: &[u8], shared: Shared) -> Result<Arc<[Key]>, &'static str> {
    let set: Set = serde_json::from_slice(text).map_err(|_| "expected a JSON Web Key Set")?;
    if set.keys.len() > KEYS_MAX {
        return Err("expected a JSON Web Key Set of at most 64 keys");
    }
    let keys = set.keys.into_iter().filter_map(|value| {
        let written: Written = serde_json::from_value(value).ok()?;
        written.key(shared)
    });
    let keys: Arc<[Key]> = keys.collect();
    if keys.is_empty() { Err("expected a key for signatures in the JSON Web Key Set") } else { Ok(keys) }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A key as it is written.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Written {
    fn key(self, shared: Shared) -> Option<Key> {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let is_for_signatures = self.r#use.as_deref().is_none_or(|it| it == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|it| it == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let (material, algorithms): (_, &[Algorithm]) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let e = bytes(&self.e).filter(|e| e.len() <= EXPONENT_BYTES_MAX)?;
                let n = bytes(&self.n)?;
                (Material::Rsa(PublicKeyComponents { n, e }), &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512])
            }
            ("EC", Some("P-256")) => {
                (Material::Point(point(&bytes(&self.x)?, &bytes(&self.y)?, 32)?), &[Es256])
            }
            ("EC", Some("P-384")) => {
                (Material::Point(point(&bytes(&self.x)?, &bytes(&self.y)?, 48)?), &[Es384])
            }
            ("OKP", Some("Ed25519")) => {
                (Material::Point(bytes(&self.x).filter(|x| x.len() == 32)?), &[EdDsa])
            }
            ("oct", _) if shared == Shared::Taken => {
                let k = bytes(&self.k).filter(|k| k.len() >= SHARED_BYTES_MIN)?;
                (Material::Shared(k), &[Hs256, Hs384, Hs512])
            }
            _ => return None,
        };
        let own = self.alg.as_deref().map(Algorithm::called);
        let may_sign = |it: &&Algorithm| own.is_none_or(|own| own == Some(**it));
        let algorithms: Vec<Algorithm> = algorithms.iter().filter(may_sign).copied().collect();
        (!algorithms.is_empty()).then(|| Key { id: self.kid, algorithms, verifier: Arc::new(material) })
    }
}

/// A point of a curve in its uncompressed form.
fn point(x: &[u8], y: &[u8], width: usize) -> Option<Vec<u8>> {
    (x.len() == width && y.len() == width).then(|| [&[4], x, y].concat())
}

/// What a key is made of.
enum Material {
    Rsa(PublicKeyComponents<Vec<u8>>),
    Point(Vec<u8>),
    Shared(Vec<u8>),
}

impl Verifier for Material {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        let rsa = |parameters| match self {
            Self::Rsa(key) => key.verify(parameters, message, signed).is_ok(),
            Self::Point(_) | Self::Shared(_) => false,
        };
        let by_point = |algorithm: &'static dyn VerificationAlgorithm| match self {
            Self::Point(point) => UnparsedPublicKey::new(algorithm, point).verify(message, signed).is_ok(),
            Self::Rsa(_) | Self::Shared(_) => false,
        };
        let by_hash = |algorithm| match self {
            Self::Shared(key) => hmac::verify(&hmac::Key::new(algorithm, key), message, signed).is_ok(),
            Self::Rsa(_) | Self::Point(_) => false,
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => by_point(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => by_point(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDsa => by_point(&signature::ED25519),
            Algorithm::Hs256 => by_hash(hmac::HMAC_SHA256),
            Algorithm::Hs384 => by_hash(hmac::HMAC_SHA384),
            Algorithm::Hs512 => by_hash(hmac::HMAC_SHA512),
        }
    }
}
