//! Backends behind a forward proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_config::bundle::{Backend, Bundle, Endpoint, ForwardProxy, ProxyCredential, SecretRef, Trust};
use tollgate_effects::Secrets;
use tollgate_terms::Secret;
use tollgate_testkit::forward_proxy::{Manner, MockProxy};

use crate::transport::{Identity, NAME, answering, with_tls};
use tollgate_suite::{
    CHAT, ScriptedBackend, Tested, body, bundle, completion, free_port, header, is_envoy, openai, retrying,
    rule, status,
};

/// A backend of which nobody but the proxy knows where it is.
fn hidden(name: &str) -> Backend {
    let mut backend = openai(name, ([192, 0, 2, 1], 1).into());
    backend.endpoints = vec![Endpoint::Fqdn { hostname: "models.invalid".to_owned(), port: 8000 }];
    backend
}

fn behind(proxy: ForwardProxy, rule: tollgate_config::bundle::Rule, backends: Vec<Backend>) -> Bundle {
    let mut bundle = bundle(free_port(), rule, backends);
    bundle.forward_proxies = BTreeMap::from([("l".to_owned(), proxy)]);
    bundle
}

fn start(proxy: ForwardProxy, backends: Vec<Backend>) -> Tested {
    Tested::start_bundle(behind(proxy, rule(&["b"]), backends), Secrets::default())
}

pub(crate) fn proxy_that(manner: Manner) -> MockProxy {
    MockProxy::start(manner).expect("a proxy")
}

/// How gateways know it.
pub(crate) fn known(proxy: &MockProxy) -> ForwardProxy {
    let (host, port) = (proxy.address().ip().to_string(), proxy.address().port());
    ForwardProxy { host, port, tls: None, credential: None, bypass: Vec::new() }
}

fn reached(backend: &ScriptedBackend) -> bool {
    backend.requests.recv_timeout(Duration::from_millis(200)).is_ok()
}

#[test]
fn a_backend_is_reached_through_the_proxy_which_alone_knows_its_name() {
    let backend = answering();
    let proxy = proxy_that(Manner::Lead(backend.address));
    let tested = start(known(&proxy), vec![hidden("b")]);
    let answer = tested.chat(CHAT);
    assert_eq!((status(&answer), body(&answer).as_str()), (200, completion()));
    let request = backend.request();
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "host"), Some("models.invalid:8000"));
    let heads = proxy.heads();
    assert_eq!(heads, ["CONNECT models.invalid:8000 HTTP/1.1\r\nHost: models.invalid:8000\r\n\r\n"]);
    // The connection is kept, and the proxy not asked again.
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_eq!(proxy.heads().len(), 1);
}

/// A gateway with a certificate, and a backend that is reached by TLS there.
fn with_certificate(identity: &Identity, inner: &ScriptedBackend) -> (Tested, Backend) {
    let inner = Tested::start_bundle(with_tls(inner), identity.secrets());
    let mut backend = hidden("b");
    backend.tls = Some(identity.trust());
    (inner, backend)
}

#[test]
fn tls_reaches_through_the_proxy_to_the_backend() {
    let (identity, last) = (Identity::new(NAME), answering());
    let (inner, backend) = with_certificate(&identity, &last);
    let proxy = proxy_that(Manner::Lead(inner.address));
    let tested = start(known(&proxy), vec![backend]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let heads = proxy.heads();
    assert_eq!(heads, ["CONNECT models.invalid:8000 HTTP/1.1\r\nHost: models.invalid:8000\r\n\r\n"]);
}

#[test]
fn a_proxy_that_refuses_is_a_backend_that_cannot_be_reached() {
    let identity = Identity::new(NAME);
    let proxy = proxy_that(Manner::Refuse);
    let mut backend = hidden("b");
    backend.tls = Some(identity.trust());
    let tested = start(known(&proxy), vec![backend]);
    assert_eq!(status(&tested.chat(CHAT)), 503);
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "unreachable", "{log:?}");
}

#[test]
fn a_proxy_that_hangs_is_waited_for_as_long_as_for_a_connection() {
    let identity = Identity::new(NAME);
    let proxy = proxy_that(Manner::Hang);
    let mut backend = hidden("b");
    backend.tls = Some(identity.trust());
    let tested = start(known(&proxy), vec![backend]);
    let begun = Instant::now();
    assert_eq!(status(&tested.chat(CHAT)), 503);
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(900) && taken < Duration::from_secs(5), "{taken:?}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "unreachable", "{log:?}");
}

#[test]
fn a_refused_request_goes_to_a_backend_that_bypasses_the_proxy() {
    let backend = answering();
    let proxy = proxy_that(Manner::Refuse);
    let proxy_known = ForwardProxy { bypass: vec!["127.0.0.1".to_owned()], ..known(&proxy) };
    let near = openai("near", backend.address);
    let tested = Tested::start_bundle(
        behind(proxy_known, retrying(rule(&["b", "near"])), vec![hidden("b"), near]),
        Secrets::default(),
    );
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert!(reached(&backend));
    assert!(proxy.heads().iter().all(|head| head.starts_with("CONNECT models.invalid:8000 ")));
}

#[test]
fn a_credential_is_for_the_proxy_alone() {
    // Envoy shows none, and such a rule is not served there.
    if is_envoy() {
        return;
    }
    let backend = answering();
    let proxy = proxy_that(Manner::Guard(backend.address, "Basic Z2F0ZXdheTpzM2NyZXQ=".to_owned()));
    let reference = |key: &str| SecretRef {
        namespace: "default".to_owned(),
        name: "proxy".to_owned(),
        key: key.to_owned(),
    };
    let credential =
        ProxyCredential::Pair { username: reference("username"), password: reference("password") };
    let proxy_known = ForwardProxy { credential: Some(credential), ..known(&proxy) };
    let secrets = |password: &str| {
        let values = [("username", "gateway"), ("password", password)];
        Secrets::new(BTreeMap::from(
            values.map(|(key, value)| (reference(key), Secret::new(value.to_owned()))),
        ))
    };
    let bundle = behind(proxy_known, rule(&["b"]), vec![hidden("b")]);
    let tested = Tested::start_bundle(bundle.clone(), secrets("wrong"));
    assert_eq!(status(&tested.chat(CHAT)), 503);
    tested.reload(bundle, secrets("s3cret"));
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let request = backend.request();
    assert_eq!(header(&request, "proxy-authorization"), None);
    assert!(!tested.log_lines(2).iter().any(|line| line.to_string().contains("s3cret")));
}

/// What takes TLS off connections, with a certificate for its own address, and hands them on to `place`.
pub(crate) fn with_tls_before(place: SocketAddr) -> (SocketAddr, Identity) {
    let identity = Identity::new("127.0.0.1");
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.expect("a certificate")));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut onward = tokio::net::TcpStream::connect(place).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut onward).await
            });
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(serve);
    });
    (address, identity)
}

/// TLS to the backend within TLS to the proxy, and neither where somebody else is at the other end.
#[test]
fn a_proxy_may_be_spoken_to_with_tls() {
    // Envoy speaks to a proxy without it only, and such a rule is not served there.
    if is_envoy() {
        return;
    }
    let (identity, last) = (Identity::new(NAME), answering());
    let (inner, backend) = with_certificate(&identity, &last);
    let proxy = proxy_that(Manner::Lead(inner.address));
    let (address, proven) = with_tls_before(proxy.address());
    let trusting = |certificate: String| {
        let tls = Some(Trust::Pem(vec![certificate]));
        ForwardProxy { port: address.port(), tls, ..known(&proxy) }
    };
    let tested = start(trusting(proven.certificate), vec![backend.clone()]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_eq!(proxy.heads().len(), 1);
    let tested = start(trusting(identity.certificate), vec![backend]);
    assert_eq!(status(&tested.chat(CHAT)), 503);
    assert_eq!(proxy.heads().len(), 1);
}
