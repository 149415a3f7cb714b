//! Services of gRPC as Envoy calls them: HTTP/2 by hyper, on threads with a runtime each.
//!
//! It stands here, below every service, because those are peers that must not know one another (discovery, the external processor), and are
//! served alike.

mod both;
mod gather;
mod socket;
mod tls;

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

pub use both::Both;
use gather::gather;
pub use rustls::ServerConfig;
use socket::{Listener, Stream};
pub use tls::{Tls, UnfitTls, server_config};

/// Flow control windows. A message may be a whole body, and the peer is on the same machine.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Most calls at a time on one connection, and most connections on one thread.
const CALLS_MAX: u32 = 1 << 16;
const CONNECTIONS_MAX: usize = 1024;

/// Longest wait for a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often a quiet peer on the network is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Where a service is served.
#[derive(Debug, Clone)]
pub enum Place {
    /// A Unix socket that only its owner may connect to. One that was left there is replaced.
    Unix(PathBuf),
    /// An address, in clear text or with TLS.
    Tcp(std::net::SocketAddr, Option<Tls>),
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Place {
    fn from(path: &P) -> Self {
        Self::Unix(path.as_ref().to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address, _) => address.fmt(f),
        }
    }
}

/// How far a server has gone on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Calls end, at the latest after this time.
    Stopping(Duration),
}

/// Tells a call that its server stops. Each request has it among its extensions; a call that would not end by itself ends by it.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<Phase>);

impl Stopping {
    /// Completes when the server stops.
    pub async fn begun(&mut self) {
        // A server that was dropped has stopped too.
        let _ = self.0.wait_for(|phase| *phase != Phase::Serving).await;
    }

    /// Whether the server stops.
    pub fn has_begun(&self) -> bool {
        // A server that was dropped has stopped too.
        *self.0.borrow() != Phase::Serving || self.0.has_changed().is_err()
    }

    /// How long calls may take to end.
    fn grace(&self) -> Duration {
        match *self.0.borrow() {
            Phase::Serving => Duration::ZERO,
            Phase::Stopping(grace) => grace,
        }
    }
}

/// A server at work. Dropping it cuts its connections and removes its socket.
#[derive(Debug)]
pub struct Server {
    address: Option<std::net::SocketAddr>,
    path: Option<PathBuf>,
    phase: Option<watch::Sender<Phase>>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    /// The address that it listens on, if not on a Unix socket.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.address
    }

    /// Accepts no more, lets calls end for `grace` at most, and waits until they have.
    pub fn stop(self, grace: Duration) {
        if let Some(phase) = &self.phase {
            phase.send_replace(Phase::Stopping(grace));
        }
    }
}

/// Serves `service` on so many threads called `name`.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made. A Unix socket that somebody listens on is not taken away from him.
pub fn serve<S>(service: &S, place: impl Into<Place>, name: &str, workers: usize) -> io::Result<Server>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let listener = Listener::bind(place.into())?;
    let (phase, changes) = watch::channel(Phase::Serving);
    let mut server = Server {
        address: listener.address(),
        path: listener.path().map(Path::to_owned),
        phase: Some(phase),
        workers: Vec::new(),
    };
    for number in 0..workers.max(1) {
        let (listener, service) = (listener.try_clone()?, service.clone());
        let stopping = Stopping(changes.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || runtime.block_on(accept(listener, service, stopping)))?;
        server.workers.push(worker);
    }
    Ok(server)
}

async fn accept<S>(listener: Listener, service: S, mut stopping: Stopping)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = match listener.listen() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a socket cannot be listened on"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept_one(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    let (service, stopping) = (service.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection(stream, service, stopping).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: they come back.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopping.begun() => break,
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(stopping.grace(), all_ended).await;
}

async fn accept_one(
    listener: &socket::Listening,
    room: &Arc<Semaphore>,
) -> io::Result<(Stream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

async fn connection<S>(stream: Stream, service: S, stopping: Stopping)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let served = match stream {
        Stream::Unix(stream) => serve_connection(stream, service, stopping, None).await,
        Stream::Tcp(stream, None) => {
            serve_connection(stream, service, stopping, Some(KEEP_ALIVE_EVERY)).await
        }
        Stream::Tcp(stream, Some(tls)) => {
            let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
            match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
                Ok(Ok(stream)) => {
                    Box::pin(serve_connection(stream, service, stopping, Some(KEEP_ALIVE_EVERY))).await
                }
                Ok(Err(error)) => return tracing::warn!(%error, "a TLS handshake for gRPC failed"),
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of Envoy's ended");
    }
}

async fn serve_connection<I, S>(
    stream: I,
    service: S,
    mut stopping: Stopping,
    keep_alive: Option<Duration>,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let service = Telling { service, stopping: stopping.clone() };
    let (stream, gathered) = gather(stream);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS_MAX)
        .keep_alive_interval(keep_alive)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let (mut connection, mut stopping) = (pin!(connection), pin!(stopping.begun()));
    let mut is_stopping = false;
    poll_fn(|context| {
        if !is_stopping && stopping.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        let served = connection.as_mut().poll(context).map_err(io::Error::other);
        let sent = gathered.poll_send(context);
        match (served, sent) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (served, _) => served,
        }
    })
    .await
}

/// Puts [`Stopping`] into each request.
#[derive(Clone)]
struct Telling<S> {
    service: S,
    stopping: Stopping,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Telling<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.stopping.clone());
        self.service.call(request)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First the name, so that it is not taken away from whoever listens next.
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, "the socket of a gRPC server was gone already");
        }
        drop(self.phase.take());
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread of a gRPC server panicked");
            }
        }
    }
}
