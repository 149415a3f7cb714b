//! Parts on the network: each shows the others who it is.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

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
        // Moved into place, as tools that renew certificates do.
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).expect("a file");
        std::fs::rename(&beside, path).expect("moved");
    }
    paths.map(|path| path.to_str().expect("UTF-8").to_owned())
}

/// Writes what `tollgate controlplane` prints to a file; tells where it is.
fn printed(folder: &Path, name: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("controlplane").args(arguments).output();
    let output = output.expect("the binary");
    assert!(output.status.success(), "{output:?}");
    let path = folder.join(name);
    std::fs::write(&path, output.stdout).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

fn envoy_of(bootstrap: &str) -> Process {
    let program = std::env::var_os("TOLLGATE_ENVOY").expect("TOLLGATE_ENVOY names an Envoy");
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "--config-path"]);
    Process::other(command.arg(bootstrap))
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
    let bootstrap = printed(
        folder.path(),
        "envoy.json",
        &[&["--listen", &xds_text, "--print-bootstrap"], &envoy[..]].concat(),
    );
    let _envoy = envoy_of(&bootstrap);
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

#[test]
fn an_envoy_takes_renewed_certificates_and_authorities_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start("old");
    let (address, xds, extproc) = (free_address(), free_address().to_string(), free_address().to_string());
    let file = File::new(folder.path(), "gateway.yaml", address.port());
    file.write("old", backend.port);
    // Envoy's own files are in a folder of their own, as on a machine of its own.
    let own = folder.path().join("envoy");
    std::fs::create_dir(&own).expect("a folder");
    let [certificate, key, authority] = identity(folder.path());
    let copy = || {
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            std::fs::copy(folder.path().join(name), own.join("new")).expect("a copy");
            std::fs::rename(own.join("new"), own.join(name)).expect("moved");
            // Long enough for Envoy to see a certificate without its key.
            thread::sleep(Duration::from_millis(100));
        }
    };
    copy();
    let own_text = |name: &str| own.join(name).to_str().expect("UTF-8").to_owned();
    let [own_certificate, own_key, own_authority, sds] = ["tls.crt", "tls.key", "ca.crt", ""].map(own_text);
    let sds = sds.trim_end_matches('/');
    let envoy = [
        "--envoy-cert",
        &own_certificate,
        "--envoy-key",
        &own_key,
        "--envoy-ca",
        &own_authority,
        "--envoy-sds",
        sds,
    ];
    for half in ["certificate", "authorities"] {
        printed(&own, &format!("{half}.json"), &[&["--print-sds", half], &envoy[..]].concat());
    }
    let bootstrap = ["--listen", &xds, "--print-bootstrap"];
    let bootstrap = printed(&own, "envoy.json", &[&bootstrap[..], &envoy].concat());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &authority];
    let processor = ["extproc", "--listen", &extproc, "--workers", "1", "--access-log", "off", file.path()];
    let processor = [&processor[..], &tls].concat();
    let control = ["controlplane", "--listen", &xds, "--processor", &extproc, file.path()];
    let control = [&control[..], &tls, &envoy].concat();
    let parts = [Process::tollgate(&processor), Process::tollgate(&control)];
    let _envoy = envoy_of(&bootstrap);
    eventually("a request is served", || ask_once(address, Kind::Document).is_good());
    // Parts that are started anew trust the new authority alone, and are trusted by it alone.
    drop(parts);
    identity(folder.path());
    copy();
    let _processor = Process::tollgate(&processor);
    let control = Process::tollgate(&control);
    eventually("a request is served again", || ask_once(address, Kind::Document).is_good());
    eventually("the control plane is asked again", || control.tells("/xds").contains("\"is_current\": true"));
}
