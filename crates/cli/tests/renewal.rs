//! Certificates of the parts of a fleet, replaced while they serve.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(10);

/// An authority, and a certificate that it has signed for both sides.
struct Identity {
    authority: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = authority.expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        Self { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn files(folder: &Path) -> [PathBuf; 3] {
        ["tls.crt", "tls.key", "ca.crt"].map(|name| folder.join(name))
    }

    fn write(&self, folder: &Path) {
        for (path, text) in Self::files(folder).iter().zip([&self.certificate, &self.key, &self.authority]) {
            std::fs::write(path, text).expect("a file");
        }
    }

    /// Whether the part at `address` shows a certificate of this authority, and takes ours for one of an Envoy.
    fn meets(&self, address: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("PEM")).expect("a root");
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = "127.0.0.1".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // It speaks first, with its settings, once it has seen our certificate.
        StreamOwned::new(connection, stream).read_exact(&mut [0; 9]).is_ok()
    }
}

/// A part of a fleet, and where it listens.
struct Part(Child, String);

impl Part {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let [certificate, key, authority] = Identity::files(folder);
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(arguments)
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .arg("--client-ca")
            .arg(authority)
            .args(["--admin-address", "127.0.0.1:0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let address = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("no ready line: {line}"));
        Self(process, format!("127.0.0.1:{address}"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn parts_show_a_new_certificate_without_being_started_again() {
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/good.yaml");
    let good = good.to_str().expect("UTF-8");
    let folder = tempfile::tempdir().expect("a folder");
    let limits = folder.path().join("limits.yaml");
    std::fs::write(&limits, "domain: a\ndescriptors: []\n").expect("a file");
    let limits = limits.to_str().expect("UTF-8");
    for arguments in [
        &["extproc", "--listen", "127.0.0.1:0", "--workers", "1", "--access-log", "off", good][..],
        &["controlplane", "--listen", "127.0.0.1:0", good],
        &["ratelimit", "--address", "127.0.0.1:0", "--config", limits],
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (Identity::new(), Identity::new());
        first.write(folder.path());
        let part = Part::start(folder.path(), arguments);
        assert!(first.meets(&part.1) && !second.meets(&part.1), "{arguments:?}");
        // Half a change is none.
        let [certificate, ..] = Identity::files(folder.path());
        std::fs::write(certificate, &second.certificate).expect("a file");
        std::thread::sleep(Duration::from_millis(200));
        assert!(first.meets(&part.1), "{arguments:?}");
        second.write(folder.path());
        let until = Instant::now() + PATIENCE;
        while !second.meets(&part.1) {
            assert!(Instant::now() < until, "{arguments:?} shows the old certificate");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!first.meets(&part.1), "{arguments:?}");
    }
}
