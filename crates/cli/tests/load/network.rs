//! Parts on the network: each shows the others who it is.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::backend::Backend;
use crate::clients::{Kind, ask_once};
use crate::gateway::{File, PATIENCE, Process, eventually, free_address};

/// Writes an authority and a certificate of its own; tells where certificate, key and authority are.
fn identity(folder: &Path) -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    // Of another name than the authority: Envoy takes a certificate that names itself as its issuer for one that it has signed itself.
    params.distinguished_name.push(DnType::CommonName, "a part");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let texts = [certificate.pem(), key.serialize_pem(), authority.pem()];
    let paths = ["tls.crt", "tls.key", "ca.crt"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).expect("a file");
    }
    paths.map(|path| path.to_str().expect("UTF-8").to_owned())
}

#[test]
fn parts_on_the_network_show_each_other_who_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start("old");
    let (address, xds, extproc) = (free_address(), free_address(), free_address());
    let file = File::new(folder.path(), "gateway.yaml", address.port());
    file.write("old", backend.port);
    let [certificate, key, authority] = identity(folder.path());
    let (xds_text, extproc_text) = (xds.to_string(), extproc.to_string());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &authority];
    let envoy = ["--envoy-cert", &certificate, "--envoy-key", &key, "--envoy-ca", &authority];
    let processor =
        ["extproc", "--listen", &extproc_text, "--workers", "1", "--access-log", "off", file.path()];
    let _processor = Process::tollgate(&[&processor[..], &tls].concat());
    let control = ["controlplane", "--listen", &xds_text, "--processor", &extproc_text, file.path()];
    let control = Process::tollgate(&[&control[..], &tls, &envoy].concat());
    let bootstrap = ["controlplane", "--listen", &xds_text, "--print-bootstrap"];
    let printed = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(bootstrap).args(envoy).output();
    let bootstrap = folder.path().join("envoy.json");
    std::fs::write(&bootstrap, printed.expect("the binary").stdout).expect("a file");
    let program = std::env::var_os("TOLLGATE_ENVOY").expect("TOLLGATE_ENVOY names an Envoy");
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "--config-path"]);
    let _envoy = Process::other(command.arg(&bootstrap));
    eventually("a request is served", || ask_once(address, Kind::Document).is_good());
    assert!(control.tells("/xds").contains("\"is_current\": true"));
    // Who shows nothing hears nothing.
    for part in [xds, extproc] {
        let mut stream = TcpStream::connect(part).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        std::io::Write::write_all(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // A TLS alert is 7 bytes, the first frame of HTTP/2 at least 9.
        assert!(answer.len() <= 7, "{answer:?}");
    }
}
