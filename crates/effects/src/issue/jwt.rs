//! Signed assertions (RFC 7515, RFC 7519) by RS256, the one algorithm that Google's service accounts use.
//!
//! rustls signs: it has the key formats and the arithmetic, and its provider is the only one in the tree.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tollgate_terms::Secret;

use super::IssueError;

/// Signs `claims` by the RSA key in `pem`, which the receiver knows as `key_id`.
pub(super) fn sign(pem: &Secret, key_id: Option<&str>, claims: &Value) -> Result<Secret, IssueError> {
    let unusable = || IssueError::Misconfigured("the private key is no RSA key in PEM".to_owned());
    let key = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| unusable())?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| unusable())?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(unusable)?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let (Some(key_id), Some(members)) = (key_id, header.as_object_mut()) {
        members.insert("kid".to_owned(), key_id.into());
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = signer.sign(message.as_bytes()).map_err(|_| unusable())?;
    Ok(Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
}
