//! What the client of all these services holds to.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tollgate_effects::issue::{Client, IssueError, key_set};

use crate::service::{Reply, Service, client, environment, failed, hasty};

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let target = Service::always(Reply::new(200, "{}")).await;
    let service = Service::always(Reply::new(307, "").with("location", &target.url)).await;
    let error = failed(client().send(get(&format!("{}/a?b=hidden", service.url)), &[]).await);
    assert_eq!(error, format!("{}/a refused with status 307", service.url));
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn an_answer_has_a_longest_length() {
    let service = Service::always(Reply::new(200, "x".repeat((1 << 20) + 1))).await;
    let error = client().send(get(&service.url), &[]).await.err().unwrap();
    assert!(matches!(&error, IssueError::Unreadable { .. }), "{error}");
    let service = Service::always(Reply::new(200, "x".repeat(1 << 20))).await;
    assert_eq!(client().send(get(&service.url), &[]).await.unwrap().body().len(), 1 << 20);
}

/// A peer that reads the head of a request, writes `bytes`, and then does nothing.
async fn stalling(bytes: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    url
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_body_that_never_ends_is_too_slow() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"] {
        let error = hasty().send(get(&stalling(bytes).await), &[]).await.err().unwrap();
        assert!(matches!(&error, IssueError::TooSlow { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_broken_connection() {
    let error = client().send(get(&stalling("SSH-2.0-x\r\n\r\n").await), &[]).await.err().unwrap();
    assert!(matches!(&error, IssueError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn plain_requests_go_through_a_proxy_with_their_whole_address() {
    let proxy = Service::always(Reply::new(200, "{}")).await;
    let around = environment(&[("PROXY", &format!("http://user:p%40ss@{}", proxy.host()))]);
    let proxied = client().proxied_by(&around, "PROXY").unwrap();
    assert!(proxied.send(get("http://issuer.invalid/token"), &[]).await.is_ok());
    let seen = proxy.only();
    assert_eq!((seen.path.as_str(), seen.header("host")), ("http://issuer.invalid/token", "issuer.invalid"));
    assert_eq!(seen.header("proxy-authorization"), "Basic dXNlcjpwQHNz");
    // And not without one, or where it must not.
    for direct in [client().proxied_by(&around, "OTHER").unwrap(), proxied.direct()] {
        assert!(direct.send(get(&format!("{}/x", proxy.url)), &[]).await.is_ok());
    }
    assert_eq!(proxy.seen()[2].path, "/x");
}

#[tokio::test]
async fn a_bad_address_of_a_proxy_is_told_without_being_shown() {
    let around = environment(&[("PROXY", "socks5://user:hidden@x")]);
    let error = client().proxied_by(&around, "PROXY").err().unwrap().to_string();
    assert_eq!(error, "PROXY holds no address of an HTTP proxy");
}

/// A service with a certificate for `issuer.test`, and a client that trusts it.
async fn secure() -> (std::net::SocketAddr, Client) {
    let certified = rcgen::generate_simple_self_signed(["issuer.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (address, Client::new(roots).unwrap().within(Duration::from_secs(5)))
}

/// A proxy that joins every tunnel to `target`, and the heads that it saw.
async fn tunnelling(
    target: std::net::SocketAddr,
    answer: &'static str,
) -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user@{}", listener.local_addr().unwrap());
    let (heads, seen) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            heads.send(read_head(&mut stream).await).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    (url, seen)
}

#[tokio::test]
async fn secure_requests_go_through_a_tunnel_of_the_proxy() {
    let (address, trusting) = secure().await;
    let (url, mut heads) = tunnelling(address, "HTTP/1.1 200 OK\r\n\r\n").await;
    let proxied = trusting.proxied_by(&environment(&[("PROXY", &url)]), "PROXY").unwrap();
    let answer = proxied.send(get("https://issuer.test/token"), &[]).await.unwrap();
    assert_eq!(&answer.body()[..], b"secret");
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("CONNECT issuer.test:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcg=="), "{head}");

    let (url, _heads) = tunnelling(address, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let proxied = proxied.proxied_by(&environment(&[("PROXY", &url)]), "PROXY").unwrap();
    let error = failed(proxied.send(get("https://issuer.test/token"), &[]).await);
    assert!(error.ends_with("cannot be reached: the proxy answered with status 403"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_name_is_not_believed() {
    let (address, trusting) = secure().await;
    let error = trusting.send(get(&format!("https://{address}/")), &[]).await.err().unwrap();
    assert!(matches!(&error, IssueError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn keys_of_callers_are_taken_from_a_trusted_issuer_alone() {
    let (address, trusting) = secure().await;
    // It has an authority of the same name and another key.
    let (_, stranger) = secure().await;
    let (url, _heads) = tunnelling(address, "HTTP/1.1 200 OK\r\n\r\n").await;
    let around = environment(&[("PROXY", &url)]);
    let uri = "https://issuer.test/jwks.json";
    let keys = key_set(&trusting.proxied_by(&around, "PROXY").unwrap(), uri).await.unwrap();
    assert_eq!(&keys[..], b"secret");
    let error = key_set(&stranger.proxied_by(&around, "PROXY").unwrap(), uri).await.err().unwrap();
    assert!(matches!(&error, IssueError::Unreachable { .. }), "{error}");
}
