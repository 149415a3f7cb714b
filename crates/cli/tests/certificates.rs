//! What a certificate that cannot be used takes with it: the listener or backend that needs it, and nothing else.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A Gateway with a listener in cleartext and one with TLS, and a backend that trusts an authority.
const MANIFESTS: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ai}
spec:
  gatewayClassName: tollgate
  listeners:
  - {name: http, protocol: HTTP, port: <port>}
  - {name: https, protocol: HTTPS, port: <tls-port>, tls: {certificateRefs: [{name: tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls}
spec:
  targetRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: local}]
  validation: {hostname: a.test, caCertificateRefs: [{group: "", kind: ConfigMap, name: authority}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: local}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 8000}}]}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {name: local}
spec: {schema: {name: OpenAI}, backendRef: {name: local, kind: Backend, group: gateway.envoyproxy.io}}
---
apiVersion: v1
kind: Secret
metadata: {name: tls}
stringData:
  tls.crt: <chain>
  tls.key: <key>
---
apiVersion: v1
kind: ConfigMap
metadata: {name: authority}
data: {ca.crt: <authority>}
"#;

/// Chain and key in PEM, as YAML.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
    (quoted(&made.cert.pem()), quoted(&made.signing_key.serialize_pem()))
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn manifests(chain: &str, key: &str, authority: &str) -> String {
    MANIFESTS.replace("<chain>", chain).replace("<key>", key).replace("<authority>", authority)
}

/// What `check` says of `manifests`: the lines with errors, without the name of the file.
fn errors(manifests: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.yaml");
    fs::write(&file, manifests.replace("<port>", "8080").replace("<tls-port>", "8443")).expect("a file");
    let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = check.arg("check").arg(&file).env_clear().output().expect("the binary");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let place = format!("{}:", file.display());
    text.lines().filter_map(|line| Some(line.strip_prefix(&place)?.to_owned())).collect()
}

#[test]
fn what_is_sound_is_not_complained_of() {
    let (chain, key) = pair();
    assert_eq!(errors(&manifests(&chain, &key, &chain)), Vec::<String>::new());
}

#[test]
fn a_key_of_another_certificate_is_told_at_its_secret() {
    let ((chain, _), (_, key)) = (pair(), pair());
    let told = errors(&manifests(&chain, &key, &chain));
    assert!(
        told.contains(&"33:12: error: is not the key of the certificate in tls.crt".to_owned()),
        "{told:#?}"
    );
}

#[test]
fn what_is_no_certificate_is_told_where_it_stands() {
    let (chain, key) = pair();
    let pem = |content: &str| {
        quoted(&format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"))
    };
    for (bad, reason) in [("*", "is not PEM"), ("AAAA", "cannot be read")] {
        let told = errors(&manifests(&pem(bad), &key, &chain));
        assert!(told.iter().any(|line| line.starts_with("32:12: ") && line.contains(reason)), "{told:#?}");
        let told = errors(&manifests(&chain, &key, &pem(bad)));
        assert!(told.iter().any(|line| line.starts_with("38:16: ") && line.contains(reason)), "{told:#?}");
    }
}

/// What a gateway says when it is ready to serve `manifests`, and whether it can then be reached at each of `ports`.
fn ready(manifests: &str, ports: [u16; 2]) -> (String, [bool; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.yaml");
    let [http, https] = ports.map(|port| port.to_string());
    fs::write(&file, manifests.replace("<port>", &http).replace("<tls-port>", &https)).expect("a file");
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--admin-address", "127.0.0.1:0", "--access-log", "off", "--workers", "1"])
        .arg(&file)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let lines = BufReader::new(gateway.stderr.take().expect("standard error")).lines();
    let ready = lines.map_while(Result::ok).find(|line| line.contains("listening on"));
    let reached = ports.map(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
    let _ = gateway.kill();
    let _ = gateway.wait();
    (ready.unwrap_or_default(), reached)
}

/// Two ports that nobody listens on.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address").port())
}

#[test]
fn the_ready_line_says_which_listener_has_tls() {
    let ((chain, key), ports) = (pair(), free_ports());
    let (line, reached) = ready(&manifests(&chain, &key, &chain), ports);
    let [http, https] = ports;
    assert!(line.contains(&format!("http://127.0.0.1:{http}")), "{line}");
    assert!(line.contains(&format!("https://127.0.0.1:{https}")), "{line}");
    assert_eq!(reached, [true, true]);
}

#[test]
fn one_bad_listener_does_not_keep_the_others_from_being_served() {
    let ((chain, _), (_, key), ports) = (pair(), pair(), free_ports());
    let (line, reached) = ready(&manifests(&chain, &key, &chain), ports);
    assert!(!line.contains("https"), "{line}");
    assert_eq!(reached, [true, false]);
}
