//! A certificate with its key, and certificate authorities, as PEM has them: read in one way by whoever checks and whoever serves.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a pair cannot be used. No reason has anything of a key in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPair {
    /// What is wrong with the chain of certificates.
    #[error("the chain {0}")]
    Chain(String),
    /// What is wrong with the key.
    #[error("the key {0}")]
    Key(String),
}

/// Reads a chain and its key.
///
/// # Errors
/// When one of them cannot be read, or they do not belong together.
pub fn pair(chain: &str, key: &str) -> Result<CertifiedKey, UnfitPair> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| UnfitPair::Chain("is not PEM".to_owned()))?;
    if chain.is_empty() {
        return Err(UnfitPair::Chain("has no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| UnfitPair::Key("has no private key in PEM".to_owned()))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            UnfitPair::Key("is not the key of the certificate in tls.crt".to_owned())
        }
        rustls::Error::InvalidCertificate(error) => {
            UnfitPair::Chain(format!("its first certificate cannot be read: {error}"))
        }
        _ => UnfitPair::Key("is of a kind that is not known".to_owned()),
    })
}

/// Adds the authorities in `text` to `roots`; tells how many there are.
///
/// # Errors
/// What is wrong with one of them.
pub fn authorities(text: &str, roots: &mut RootCertStore) -> Result<usize, String> {
    let before = roots.len();
    for (at, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let certificate = certificate.map_err(|_| "is not PEM".to_owned())?;
        roots.add(certificate).map_err(|error| format!("certificate {} cannot be read: {error}", at + 1))?;
    }
    Ok(roots.len() - before)
}
