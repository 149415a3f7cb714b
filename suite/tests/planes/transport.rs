//! TLS and HTTP/2 on both sides. One gateway stands in front of another, so that each is the other's client and server.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tollgate_config::bundle::{
    Backend, Bundle, Certificate, Endpoint, ListenerTls, SecretRef, Trust, UpstreamTls,
};
use tollgate_effects::Secrets;
use tollgate_terms::Secret;

use tollgate_suite::{
    Act, CHAT, STREAM, ScriptedBackend, Tested, body, bundle, chat_request, chunk, completion, delta,
    free_port, json, last_chunk, openai, rule, sized, status, stream_end, stream_head,
};

pub(crate) const NAME: &str = "models.test";

/// A certificate for one name, which is its own authority.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    pub(crate) fn secrets(&self) -> Secrets {
        let values = [("tls.crt", &self.certificate), ("tls.key", &self.key)];
        let values = values.map(|(key, value)| (reference(key), Secret::new(value.clone())));
        Secrets::new(BTreeMap::from(values))
    }

    pub(crate) fn trust(&self) -> UpstreamTls {
        UpstreamTls {
            server_name: NAME.to_owned(),
            trust: Trust::Pem(vec![self.certificate.clone()]),
            subject_alt_names: Vec::new(),
        }
    }
}

fn reference(key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "cert".to_owned(), key: key.to_owned() }
}

/// The configuration of a gateway with a certificate, in front of `backend`.
pub(crate) fn with_tls(backend: &ScriptedBackend) -> Bundle {
    let mut bundle = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    let certificate = Certificate { chain: reference("tls.crt"), key: reference("tls.key") };
    bundle.listeners[0].tls = Some(ListenerTls { certificates: vec![certificate] });
    bundle
}

/// A gateway whose backend is `inner`.
fn in_front_of(inner: &Tested, change: impl FnOnce(&mut Backend)) -> Tested {
    let mut backend = openai("inner", inner.address);
    change(&mut backend);
    Tested::start(rule(&["inner"]), vec![backend])
}

pub(crate) fn answering() -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![Act::Write(sized(200, "application/json", "", completion()))]])
}

fn streaming() -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![
        Act::Write(stream_head()),
        Act::Write(chunk(&delta("a"))),
        Act::Write(chunk(&delta("b"))),
        Act::Write(chunk(&stream_end())),
        Act::Write(last_chunk()),
    ]])
}

/// A connection that trusts `identity` and offers `protocols`.
fn tls_stream(
    gateway: &Tested,
    identity: &Identity,
    protocols: &[&str],
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(NAME).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(client, gateway.connect())
}

/// Sends a chat over TLS with HTTP/1.1, and tells the certificate that was shown.
fn chat_over_tls(gateway: &Tested, identity: &Identity, body: &str) -> std::io::Result<(String, Vec<u8>)> {
    let mut stream = tls_stream(gateway, identity, &[]);
    stream.write_all(chat_request(body).as_bytes())?;
    let mut answer = Vec::new();
    // A peer may close without saying so; what it sent counts.
    let _ = stream.read_to_end(&mut answer);
    let shown = stream.conn.peer_certificates().and_then(<[_]>::first).map(|shown| shown.to_vec());
    Ok((String::from_utf8_lossy(&answer).into_owned(), shown.unwrap_or_default()))
}

#[test]
fn clients_are_served_over_tls() {
    let backend = answering();
    let identity = Identity::new(NAME);
    let gateway = Tested::start_bundle(with_tls(&backend), identity.secrets());
    let (answer, _) = chat_over_tls(&gateway, &identity, CHAT).expect("an answer");
    assert_eq!(status(&answer), 200);
    assert_eq!(body(&answer), completion());
}

#[test]
fn http2_over_tls_is_spoken_on_both_sides() {
    for (backend, request) in [(answering(), CHAT), (streaming(), STREAM)] {
        let identity = Identity::new(NAME);
        let inner = Tested::start_bundle(with_tls(&backend), identity.secrets());
        let outer = in_front_of(&inner, |backend| backend.tls = Some(identity.trust()));
        let answer = outer.chat(request);
        assert_eq!(status(&answer), 200, "{answer}");
        let expected = if request == CHAT { completion() } else { "data: [DONE]" };
        assert!(body(&answer).contains(expected), "{answer}");
        assert_eq!(outer.log_lines(1)[0]["gen_ai.usage.output_tokens"], 7);
        assert_eq!(inner.log_lines(1)[0]["gen_ai.usage.output_tokens"], 7);
    }
}

#[test]
fn http2_without_tls_is_spoken_on_both_sides() {
    let backend = streaming();
    let inner = Tested::start(rule(&["b"]), vec![openai("b", backend.address)]);
    let outer = in_front_of(&inner, |backend| backend.http2_cleartext = true);
    for _ in 0..3 {
        let answer = outer.chat(STREAM);
        assert!(body(&answer).contains("data: [DONE]"), "{answer}");
    }
}

#[test]
fn a_backend_that_wants_http2_is_greeted_in_it() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let greeted = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).expect("a preface");
        preface
    });
    let mut backend = openai("b", address);
    backend.http2_cleartext = true;
    let gateway = Tested::start(rule(&["b"]), vec![backend]);
    assert_eq!(status(&gateway.chat(CHAT)), 502);
    assert_eq!(&greeted.join().expect("the server"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn clients_that_can_are_offered_http2() {
    let backend = answering();
    let identity = Identity::new(NAME);
    let gateway = Tested::start_bundle(with_tls(&backend), identity.secrets());
    for offered in ["h2", "http/1.1"] {
        let mut stream = tls_stream(&gateway, &identity, &[offered]);
        stream.flush().expect("a handshake");
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(offered.as_bytes()));
    }
}

#[test]
fn a_backend_that_cannot_prove_itself_gets_nothing() {
    let backend = answering();
    let identity = Identity::new(NAME);
    let inner = Tested::start_bundle(with_tls(&backend), identity.secrets());
    let stranger = Identity::new(NAME);
    let other_name = UpstreamTls { server_name: "other.test".to_owned(), ..identity.trust() };
    for tls in [stranger.trust(), other_name] {
        let outer = in_front_of(&inner, |backend| backend.tls = Some(tls));
        let answer = outer.chat(CHAT);
        assert!([502, 503].contains(&status(&answer)), "{answer}");
        assert!(json(&answer)["error"]["message"].is_string());
    }
    assert!(backend.requests.try_recv().is_err(), "the backend was asked");
}

#[test]
fn another_name_of_the_policy_is_as_good() {
    let backend = answering();
    let identity = Identity::new("also.test");
    let inner = Tested::start_bundle(with_tls(&backend), identity.secrets());
    let tls = UpstreamTls { subject_alt_names: vec!["also.test".to_owned()], ..identity.trust() };
    let outer = in_front_of(&inner, |backend| backend.tls = Some(tls));
    assert_eq!(status(&outer.chat(CHAT)), 200);
}

#[test]
fn a_new_certificate_is_shown_from_the_next_connection_on() {
    let backend = answering();
    let (old, new) = (Identity::new(NAME), Identity::new(NAME));
    let bundle = with_tls(&backend);
    let gateway = Tested::start_bundle(bundle.clone(), old.secrets());
    let (_, shown_before) = chat_over_tls(&gateway, &old, CHAT).expect("an answer");
    gateway.reload(bundle, new.secrets());
    let (answer, shown) = chat_over_tls(&gateway, &new, CHAT).expect("an answer");
    assert_eq!(status(&answer), 200);
    assert_ne!(shown, shown_before);
    assert!(chat_over_tls(&gateway, &old, CHAT).is_err(), "the old certificate is still shown");
}

#[test]
fn backends_are_reached_at_unix_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let count = stream.read(&mut request).expect("a request");
        stream.write_all(&sized(200, "application/json", "", completion())).expect("an answer");
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let mut backend = openai("b", ([127, 0, 0, 1], 1).into());
    backend.endpoints = vec![Endpoint::Unix { path: path.to_string_lossy().into_owned() }];
    let gateway = Tested::start(rule(&["b"]), vec![backend]);
    assert_eq!(status(&gateway.chat(CHAT)), 200);
    assert!(served.join().expect("the server").starts_with("POST /v1/chat/completions"));
}

#[test]
fn large_bodies_pass_whole_also_several_at_a_time() {
    let backend = answering();
    let mut bundle = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    bundle.listeners[0].request_body_bytes_max = 8 << 20;
    let gateway = Tested::start_bundle(bundle, Secrets::default());
    let text = "x".repeat(2 << 20);
    let large = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| status(&gateway.chat(&large)))).collect();
        for client in clients {
            assert_eq!(client.join().expect("an answer"), 200);
        }
    });
    for _ in 0..4 {
        assert!(backend.request().ends_with(&large));
    }
}
