//! The socket: TLS with certificates on both sides, and the end of a server.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tollgate_envoy::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tollgate_envoy::grpc::{Place, Tls, server_config};
use tollgate_xds::Discovery;

use crate::support::{CLUSTER, LONG, Served, client, set};

/// An authority, and certificates that it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// The first response over TLS to a client that shows a certificate of `shown`.
async fn ask(
    address: std::net::SocketAddr,
    authority: &Authority,
    shown: Option<&Authority>,
) -> Option<DeltaDiscoveryResponse> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(roots);
    let mut config = match shown.map(Authority::sign) {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let request = DeltaDiscoveryRequest {
        type_url: CLUSTER.to_owned(),
        resource_names_subscribe: vec!["*".to_owned()],
        ..Default::default()
    };
    // The request stream stays open: who ends it wants nothing more.
    let requests = futures_util::StreamExt::chain(
        futures_util::stream::iter([request]),
        futures_util::stream::pending(),
    );
    let answered = client(stream).await.delta_aggregated_resources(requests).await.ok()?;
    answered.into_inner().message().await.ok()?
}

#[tokio::test]
async fn over_the_network_only_who_shows_the_right_certificate_is_served() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign();
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    let config = server_config(&chain, &key, Some(&authority.0.pem())).unwrap();
    let discovery = Discovery::new(LONG);
    discovery.publish(set(&[(CLUSTER, "a", "1")]));
    let tls = Tls::new(config);
    let place = Place::Tcp("127.0.0.1:0".parse().unwrap(), Some(tls.clone()));
    let server = tollgate_xds::serve(&discovery, place).unwrap();
    let address = server.address().unwrap();
    assert!(ask(address, &authority, Some(&authority)).await.is_some());
    assert!(ask(address, &authority, Some(&stranger)).await.is_none());
    assert!(ask(address, &authority, None).await.is_none());
    // Another certificate, and other authorities, from one connection to the next.
    let (certificate, key) = stranger.sign();
    let renewed = server_config(&certificate.pem(), &key.serialize_pem(), Some(&stranger.0.pem())).unwrap();
    tls.replace(renewed);
    assert!(ask(address, &stranger, Some(&stranger)).await.is_some());
    assert!(ask(address, &stranger, Some(&authority)).await.is_none());
    assert!(ask(address, &authority, Some(&stranger)).await.is_none());
}

#[test]
fn a_key_of_another_certificate_is_not_served() {
    let authority = Authority::new();
    let (certificate, _) = authority.sign();
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(server_config(&certificate.pem(), &other, None).is_err());
    assert!(server_config("", &other, None).is_err());
    assert!(server_config(&certificate.pem(), "", None).is_err());
}

#[tokio::test]
async fn a_server_that_stops_ends_streams_at_once_and_removes_its_socket() {
    let mut served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    node.take().await;
    let server = served.server.take().unwrap();
    let begun = tokio::time::Instant::now();
    let stopped = tokio::task::spawn_blocking(move || server.stop(Duration::from_secs(20)));
    assert_eq!(node.end().await.unwrap_err().code(), tonic::Code::Unavailable);
    stopped.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waits for nothing more than the end of streams");
    assert_eq!(std::fs::read_dir(served.socket()).unwrap().count(), 0);
    assert!(served.discovery.status().nodes.is_empty());
}
