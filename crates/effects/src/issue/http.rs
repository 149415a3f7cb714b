//! The client of services that issue credentials: one request, one answer, everything bounded.
//!
//! Follows no redirect, since a secret is for the address it was given for; keeps no connection, since the next
//! request is minutes away; speaks HTTP/1.1, which all of these services do. A proxy is used only where one is named.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, HOST, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tollgate_config::bundle::{Endpoint, ForwardProxy, KeyHost, Trust};
use tollgate_terms::Secret;

use super::{Environment, IssueError, ServiceAnswer, basic_of, error};
use crate::{Secrets, proxy_authorization};

/// How long one request may take, with its connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No answer of these services is longer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Calls the services that issue credentials. Cloning it is cheap.
#[derive(Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    proxy: Option<Arc<Proxy>>,
    host: Option<Arc<Host>>,
    timeout: Duration,
}

/// Who is asked, whatever the host of an address is.
struct Host {
    endpoints: Vec<Endpoint>,
    /// Whom to trust, and as whom.
    tls: Option<(Uri, Arc<ClientConfig>)>,
}

/// A proxy that requests go through.
struct Proxy {
    address: Uri,
    authorization: Option<HeaderValue>,
    /// Whom to trust as the proxy.
    tls: Arc<ClientConfig>,
    /// What says of which hosts it is not asked, if something does.
    configured: Option<ForwardProxy>,
}

impl Proxy {
    fn is_for(&self, address: &Uri) -> bool {
        let host = plain_host(address).to_ascii_lowercase();
        !self.configured.as_ref().is_some_and(|configured| configured.is_bypassed(&host))
    }
}

impl Client {
    /// A client that trusts `roots`.
    ///
    /// # Errors
    /// Never with the cryptography that is built in.
    pub fn new(roots: RootCertStore) -> Result<Self, IssueError> {
        Ok(Self { tls: trusting(roots)?, proxy: None, host: None, timeout: TIMEOUT })
    }

    /// A client that trusts the authorities of the system, or those that `SSL_CERT_FILE` names. If there are none,
    /// it still serves where no TLS is spoken, as with the metadata service of a machine.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_system_roots() -> Result<Self, IssueError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::new(roots)
    }

    /// The same client, but with another limit to the time that a request may take.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same client, but going through the HTTP proxy that the variable `name` holds the address of, if it does.
    /// User and password in the address are shown to the proxy.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when it holds something else.
    pub fn proxied_by(self, environment: &Environment, name: &str) -> Result<Self, IssueError> {
        let Some(value) = environment.get(name) else {
            return Ok(self);
        };
        // The value may have a password in it, so that the message must do without.
        let misconfigured =
            |_| IssueError::Misconfigured(format!("{name} holds no address of an HTTP proxy"));
        let address = address(value).map_err(misconfigured)?;
        let authority = address.authority().map(Authority::as_str).unwrap_or_default();
        let authorization = basic_of(authority).map_err(misconfigured)?;
        let tls = Arc::clone(&self.tls);
        Ok(Self { proxy: Some(Arc::new(Proxy { address, authorization, tls, configured: None })), ..self })
    }

    /// The same client, but going through `proxy`, whose credential is in `secrets`.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when the credential is not there, or nobody is trusted as the proxy.
    pub(crate) fn through(self, proxy: &ForwardProxy, secrets: &Secrets) -> Result<Self, IssueError> {
        let authorization = proxy_authorization(proxy, secrets)?;
        let host = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
        let scheme = if proxy.tls.is_some() { "https" } else { "http" };
        let address = address(&format!("{scheme}://{host}:{}", proxy.port))?;
        let tls = match &proxy.tls {
            None => Arc::clone(&self.tls),
            Some(trust) => self.trusting(trust)?,
        };
        let configured = Some(proxy.clone());
        Ok(Self { proxy: Some(Arc::new(Proxy { address, authorization, tls, configured })), ..self })
    }

    /// The same client, but asking `host`, whatever the host of an address is.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when nobody is trusted as the host.
    pub(crate) fn at(self, host: &KeyHost) -> Result<Self, IssueError> {
        let tls = match &host.tls {
            None => None,
            Some(tls) => {
                Some((address(&format!("https://{}", tls.server_name))?, self.trusting(&tls.trust)?))
            }
        };
        let host = Host { endpoints: host.endpoints.clone(), tls };
        Ok(Self { host: Some(Arc::new(host)), ..self })
    }

    fn trusting(&self, trust: &Trust) -> Result<Arc<ClientConfig>, IssueError> {
        match trust {
            Trust::System => Ok(Arc::clone(&self.tls)),
            Trust::Pem(texts) => trusting(authorities(texts)?),
        }
    }

    /// The same client, without a proxy: for services that only this machine can reach.
    #[must_use]
    pub fn direct(&self) -> Self {
        Self { proxy: None, ..self.clone() }
    }

    /// Sends `request`, whose URI is a whole address, and takes the answer in. `hidden` are secrets that the service
    /// may repeat when it says no.
    ///
    /// # Errors
    /// [`IssueError::Refused`] for every status but 2xx; all the others but [`IssueError::Misconfigured`] for what
    /// their names say.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        hidden: &[&Secret],
    ) -> Result<ServiceAnswer, IssueError> {
        let service = name_of(request.uri());
        let (head, body) = self.answered(request, &service).await?.into_parts();
        if head.status.is_success() {
            return Ok(ServiceAnswer::new(service, head.headers, body));
        }
        let said = error::said(&body, hidden);
        Err(IssueError::Refused { service, status: head.status.as_u16(), said })
    }

    /// How a service that answers `request` with 401 wants to be shown who asks: its `WWW-Authenticate` (RFC 9110 section 11.6.1).
    ///
    /// # Errors
    /// As [`Client::send`]; [`IssueError::Unreadable`] too where it asks for nothing.
    pub(super) async fn challenge(&self, request: Request<Bytes>) -> Result<String, IssueError> {
        let service = name_of(request.uri());
        let (head, body) = self.answered(request, &service).await?.into_parts();
        if !head.status.is_success() && head.status != StatusCode::UNAUTHORIZED {
            let said = error::said(&body, &[]);
            return Err(IssueError::Refused { service, status: head.status.as_u16(), said });
        }
        let challenge = head.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        challenge.map(str::to_owned).ok_or_else(|| IssueError::Unreadable {
            service,
            reason: "expected status 401 with WWW-Authenticate".to_owned(),
        })
    }

    /// Whatever is answered in time.
    async fn answered(&self, request: Request<Bytes>, service: &str) -> Result<Response<Bytes>, IssueError> {
        let exchange = Box::pin(self.exchange(request, service));
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(response) => response,
            Err(_) => Err(IssueError::TooSlow { service: service.to_owned() }),
        }
    }

    async fn exchange(&self, request: Request<Bytes>, service: &str) -> Result<Response<Bytes>, IssueError> {
        let unreachable = |error: BoxError| IssueError::Unreachable {
            service: service.to_owned(),
            reason: error::shortened(&chain(&*error)),
        };
        let stream = self.open(request.uri()).await.map_err(unreachable)?;
        let request = self.prepared(request).map_err(unreachable)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.into()))?;
        // Ends with this function, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| unreachable(error.into()))?;
        let (head, body) = response.into_parts();
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(IssueError::Unreadable {
                service: service.to_owned(),
                reason: format!("it is longer than {BODY_BYTES_MAX} bytes"),
            }),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// The request as it is written: with the whole address only to a proxy (RFC 9112 section 3.2).
    fn prepared(&self, mut request: Request<Bytes>) -> Result<Request<Full<Bytes>>, BoxError> {
        let host = HeaderValue::from_str(&host_and_port(request.uri()))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        match self.proxy_for(request.uri()) {
            Some(proxy) if request.uri().scheme() != Some(&Scheme::HTTPS) => {
                if let Some(basic) = proxy.authorization.clone() {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, basic);
                }
            }
            _ => {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
            }
        }
        Ok(request.map(Full::new))
    }

    /// The proxy that is asked for `address`, if one is.
    fn proxy_for(&self, address: &Uri) -> Option<&Proxy> {
        self.proxy.as_deref().filter(|proxy| self.host.is_none() && proxy.is_for(address))
    }

    /// A connection on which requests for `address` can be written.
    async fn open(&self, address: &Uri) -> Result<BoxStream, BoxError> {
        if let Some(host) = &self.host {
            return self.open_at(host, address).await;
        }
        let is_secure = address.scheme() == Some(&Scheme::HTTPS);
        let Some(proxy) = self.proxy_for(address) else {
            return connect(address, &self.tls).await;
        };
        let stream = connect(&proxy.address, &proxy.tls).await?;
        if !is_secure {
            return Ok(stream);
        }
        let tunnel = tunnel(stream, proxy, address).await?;
        secure(tunnel, address, &self.tls).await
    }

    /// A connection to the first endpoint of `host` that can be reached.
    async fn open_at(&self, host: &Host, address: &Uri) -> Result<BoxStream, BoxError> {
        let mut failed = BoxError::from("there is no endpoint");
        for endpoint in &host.endpoints {
            let stream = match self.open_endpoint(endpoint).await {
                Ok(stream) => stream,
                Err(error) => {
                    failed = error;
                    continue;
                }
            };
            return match &host.tls {
                Some((name, tls)) => secure(stream, name, tls).await,
                None if address.scheme() == Some(&Scheme::HTTPS) => secure(stream, address, &self.tls).await,
                None => Ok(stream),
            };
        }
        Err(failed)
    }

    async fn open_endpoint(&self, endpoint: &Endpoint) -> Result<BoxStream, BoxError> {
        let configured = |proxy: &Proxy| proxy.configured.as_ref()?.destination(endpoint);
        if let Some(proxy) = self.proxy.as_deref()
            && let Some(destination) = configured(proxy)
        {
            let stream = connect(&proxy.address, &proxy.tls).await?;
            return tunnel(stream, proxy, &Uri::builder().authority(destination).build()?).await;
        }
        let stream = match endpoint {
            Endpoint::Fqdn { hostname, port } => TcpStream::connect((hostname.as_str(), *port)).await?,
            Endpoint::Ip { address, port } => TcpStream::connect((*address, *port)).await?,
            Endpoint::Unix { path } => return Ok(Box::new(UnixStream::connect(path).await?)),
        };
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

async fn connect(address: &Uri, tls: &Arc<ClientConfig>) -> Result<BoxStream, BoxError> {
    let stream = TcpStream::connect((plain_host(address), port(address))).await?;
    stream.set_nodelay(true)?;
    match address.scheme() == Some(&Scheme::HTTPS) {
        true => secure(Box::new(stream), address, tls).await,
        false => Ok(Box::new(stream)),
    }
}

async fn secure(stream: BoxStream, address: &Uri, tls: &Arc<ClientConfig>) -> Result<BoxStream, BoxError> {
    let name = ServerName::try_from(plain_host(address).to_owned())?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, IssueError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| IssueError::Misconfigured(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn authorities(texts: &[String]) -> Result<RootCertStore, IssueError> {
    let unfit = || IssueError::Misconfigured("the authorities of a proxy or host cannot be read".to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in texts.iter().flat_map(|text| CertificateDer::pem_slice_iter(text.as_bytes())) {
        roots.add(certificate.map_err(|_| unfit())?).map_err(|_| unfit())?;
    }
    if roots.is_empty() { Err(unfit()) } else { Ok(roots) }
}

/// Never shows the address of the proxy, which may have a password in it.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
type BoxStream = Box<dyn Stream>;

/// A connection to `address` through `proxy` (RFC 9110 section 9.3.6).
async fn tunnel(stream: BoxStream, proxy: &Proxy, address: &Uri) -> Result<BoxStream, BoxError> {
    let target = format!("{}:{}", address.host().unwrap_or_default(), port(address));
    let mut request = Request::new(Full::<Bytes>::default());
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&target)?);
    *request.uri_mut() = Uri::builder().authority(target).build()?;
    if let Some(basic) = proxy.authorization.clone() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, basic);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection.with_upgrades());
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("the proxy answered with status {}", response.status().as_u16()).into());
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?)))
}

/// Reads a whole address of HTTP or HTTPS.
pub(super) fn address(text: &str) -> Result<Uri, IssueError> {
    let is_whole = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    text.parse::<Uri>()
        .ok()
        .filter(is_whole)
        .ok_or_else(|| IssueError::Misconfigured(format!("{text:?} is not an address of HTTP or HTTPS")))
}

/// The address as errors name it: without user and query, which may hold secrets.
pub(super) fn name_of(address: &Uri) -> String {
    let scheme = address.scheme_str().unwrap_or("http");
    format!("{scheme}://{}{}", host_and_port(address), address.path())
}

/// As the header `host` tells it.
pub(super) fn host_and_port(address: &Uri) -> String {
    let host = address.host().unwrap_or_default();
    match address.authority().and_then(Authority::port) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The host without the brackets of an IPv6 address.
fn plain_host(address: &Uri) -> &str {
    address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn port(address: &Uri) -> u16 {
    let default = if address.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    address.port_u16().unwrap_or(default)
}

/// An error and what it came of.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_proxy_is_spoken_to_as_it_says() {
        let proxy = |tls| ForwardProxy {
            host: "::1".to_owned(),
            port: 3128,
            tls,
            credential: None,
            bypass: vec!["near.example".to_owned()],
        };
        let through = |tls| Client::new(RootCertStore::empty())?.through(&proxy(tls), &Secrets::default());
        let clear = through(None).unwrap().proxy.unwrap();
        assert_eq!(clear.address.to_string(), "http://[::1]:3128/");
        assert!(!clear.is_for(&address("https://Near.example/").unwrap()));
        assert!(clear.is_for(&address("https://far.example/").unwrap()));
        let secure = through(Some(Trust::System)).unwrap().proxy.unwrap();
        assert_eq!(secure.address.to_string(), "https://[::1]:3128/");
        let own = rcgen::generate_simple_self_signed(["proxy".to_owned()]).unwrap().cert.pem();
        assert!(through(Some(Trust::Pem(vec![own]))).is_ok());
        for unfit in [vec![], vec!["nonsense".to_owned()]] {
            assert!(through(Some(Trust::Pem(unfit))).is_err());
        }
    }

    #[test]
    fn only_whole_addresses_are_taken() {
        for text in ["example.com/a", "/a", "ftp://example.com", "", "http://", "http://a b/"] {
            assert!(address(text).is_err(), "{text}");
        }
        let uri = address("https://user:hidden@[::1]:8443/a?b=hidden").unwrap();
        assert_eq!(name_of(&uri), "https://[::1]:8443/a");
        assert_eq!((plain_host(&uri), port(&uri)), ("::1", 8443));
    }
}
