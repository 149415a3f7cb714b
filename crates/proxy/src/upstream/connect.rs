//! One new connection to a backend, up to the HTTP handshake.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tollgate_config::bundle::Endpoint;

use super::body::UpstreamBody;
use super::http1::Http1;
use super::resolve::Resolver;
use super::tls::Spoken;
use super::tunnel::{self, Way};

/// A connection that requests can be sent on.
pub(crate) enum Sender {
    /// One request at a time.
    Http1(Http1),
    /// Many at a time.
    Http2(http2::SendRequest<UpstreamBody>),
}

/// Everything that a new connection needs to know.
pub(crate) struct Target<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) tls: Option<&'a Spoken>,
    pub(crate) http2_cleartext: bool,
    pub(crate) resolver: &'a Resolver,
    /// The proxy to ask, unless the endpoint bypasses it.
    pub(crate) way: Option<Way<'a>>,
    /// TLS to that proxy.
    pub(crate) way_tls: Option<&'a Spoken>,
}

/// Connects, and for HTTP/2 spawns the task that drives the connection.
///
/// # Errors
/// When the name has no address, no address takes the connection, a proxy refuses, or a handshake fails.
pub(crate) async fn connect(target: Target<'_>) -> io::Result<Sender> {
    if let Some(way) = target.way
        && let Some(destination) = way.proxy.destination(target.endpoint)
    {
        let (host, port) = (way.proxy.host.as_str(), way.proxy.port);
        let mut stream = match host.parse::<IpAddr>() {
            Ok(address) => tcp(&[(address, port).into()]).await?,
            Err(_) => tcp(&target.resolver.resolve(host, port).await?).await?,
        };
        let Some((config, name)) = target.way_tls else {
            tunnel::ask(&mut stream, &destination, way).await?;
            return secure(stream, &target).await;
        };
        let mut stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
        tunnel::ask(&mut stream, &destination, way).await?;
        return secure(stream, &target).await;
    }
    match target.endpoint {
        Endpoint::Unix { path } => secure(UnixStream::connect(path).await?, &target).await,
        Endpoint::Ip { address, port } => secure(tcp(&[(*address, *port).into()]).await?, &target).await,
        Endpoint::Fqdn { hostname, port } => {
            let addresses = target.resolver.resolve(hostname, *port).await?;
            secure(tcp(&addresses).await?, &target).await
        }
    }
}

/// The first address that takes a connection.
async fn tcp(addresses: &[std::net::SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn secure<S>(stream: S, target: &Target<'_>) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some((config, name)) = target.tls else {
        return if target.http2_cleartext {
            http2(stream).await
        } else {
            Ok(Sender::Http1(Http1::new(stream)))
        };
    };
    let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(stream).await,
        _ => Ok(Sender::Http1(Http1::new(stream))),
    }
}

async fn http2<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(std::time::Duration::from_secs(30))
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a backend ended");
        }
    });
    Ok(Sender::Http2(sender))
}
