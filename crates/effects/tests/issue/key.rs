//! An RSA key made for one run of the tests, and the check of what it signed.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use serde_json::Value;

static KEY: LazyLock<rcgen::KeyPair> =
    LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());

/// The private key.
pub(crate) fn pem() -> String {
    KEY.serialize_pem()
}

/// Header and claims of an assertion that this key has signed.
pub(crate) fn verified(assertion: &str) -> (Value, Value) {
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let is_valid = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| {
            algorithm
                .verify_signature(rcgen::PublicKeyData::der_bytes(&*KEY), message.as_bytes(), &signature)
                .is_ok()
        });
    assert!(is_valid, "the signature of {assertion}");
    let (header, claims) = message.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}
