//! TLS towards backends: whom to trust, and which names a certificate must have.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tollgate_config::bundle::{ForwardProxy, Trust, UpstreamTls};

/// Why TLS towards a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// No certificate authority can be loaded.
    #[error("no usable certificate authority: {0}")]
    NoRoots(String),
    /// A name that no certificate can have.
    #[error("not a server name: {0}")]
    BadName(String),
    /// Anything rustls refuses.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS: how it is spoken, and the name of the other side.
pub(crate) type Spoken = (Arc<ClientConfig>, ServerName<'static>);

/// TLS to a backend, offering HTTP/2 and HTTP/1.1.
pub(crate) fn to_backend(tls: &UpstreamTls) -> Result<Spoken, TlsError> {
    let mut config = client_config(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), name_of(&tls.server_name)?))
}

/// TLS to a proxy, if it speaks it.
pub(crate) fn to_proxy(proxy: &ForwardProxy) -> Option<Result<Spoken, TlsError>> {
    let trust = proxy.tls.clone()?;
    let tls = UpstreamTls { server_name: proxy.host.clone(), trust, subject_alt_names: Vec::new() };
    let config = client_config(&tls).map(|mut config| {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    });
    Some(config.and_then(|config| Ok((config, name_of(&proxy.host)?))))
}

fn name_of(text: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(text.to_owned()).map_err(|_| TlsError::BadName(text.to_owned()))
}

fn client_config(tls: &UpstreamTls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = roots(&tls.trust)?;
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    Ok(if tls.subject_alt_names.is_empty() {
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let verifier = AnyOf::new(roots, provider, &tls.subject_alt_names)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    })
}

fn roots(trust: &Trust) -> Result<Arc<RootCertStore>, TlsError> {
    match trust {
        Trust::System => system_roots(),
        Trust::Pem(texts) => {
            let mut roots = RootCertStore::empty();
            for text in texts {
                crate::certificate::authorities(text, &mut roots).map_err(TlsError::NoRoots)?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoRoots("no certificate in the given PEM".to_owned()));
            }
            Ok(Arc::new(roots))
        }
    }
}

/// The system's authorities, read once.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots("the system has none".to_owned()));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// Accepts a certificate that is valid for one of several names, whatever name was asked for
/// (Gateway API, BackendTLSPolicy `subjectAltNames`).
#[derive(Debug)]
struct AnyOf {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl AnyOf {
    fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        names: &[String],
    ) -> Result<Self, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::NoRoots(error.to_string()))?;
        let names = names
            .iter()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::BadName(name.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self { verifier, names })
    }
}

impl ServerCertVerifier for AnyOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut last = rustls::Error::General("no acceptable name".to_owned());
        for name in &self.names {
            match self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
