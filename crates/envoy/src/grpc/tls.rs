//! TLS for a service on the network, where both sides may have to show a certificate.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// TLS of a server, which may become another one while it serves. Clones are the same.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Mutex<Arc<ServerConfig>>>);

impl Tls {
    /// TLS that is as `config` says, until it is replaced.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Mutex::new(config)))
    }

    /// Is as `config` says for connections to come. Those that are there go on.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What it is now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why TLS cannot be served so. No reason has anything of a key in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitTls {
    /// The server's chain is not PEM, or empty.
    #[error("the chain is not PEM with a certificate")]
    Chain,
    /// The server's key is not PEM, or not that of the chain.
    #[error("the key is not PEM with the key of the chain's first certificate")]
    Key,
    /// The authorities of clients are not PEM, or none.
    #[error("the authorities of clients are not PEM with a certificate")]
    Authorities,
    /// rustls cannot work with them.
    #[error("{0}")]
    Other(String),
}

/// TLS with this chain and key, all in PEM. With authorities, a client has to show a certificate that one of them has signed.
///
/// # Errors
/// When one of them cannot be read, or they do not fit together.
pub fn server_config(
    chain: &str,
    key: &str,
    client_authorities: Option<&str>,
) -> Result<Arc<ServerConfig>, UnfitTls> {
    let chain = certificates(chain).ok_or(UnfitTls::Chain)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| UnfitTls::Key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let other = |error: String| UnfitTls::Other(error);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| other(error.to_string()))?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authorities).ok_or(UnfitTls::Authorities)? {
                roots.add(certificate).map_err(|_| UnfitTls::Authorities)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| other(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => UnfitTls::Key,
        error => other(error.to_string()),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// At least one certificate.
fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    all.ok().filter(|all| !all.is_empty())
}
