//! Connections of one worker, kept for the next request.
//!
//! HTTP/1.1 connections stand in a stack per endpoint, the latest used first, so that what is not needed grows old
//! and is closed. HTTP/2 has one connection per endpoint that all requests share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::client::conn::http2;
use tollgate_config::bundle::{Backend, Endpoint, ForwardProxy};
use tollgate_exchange::UpstreamRequest;
use tollgate_terms::{BackendFault, BackendName, FastMap};
use tollgate_wire::http1::{BodyDecoder, ResponseHead};

use super::body::UpstreamBody;
use super::connect::{Sender, Target, connect};
use super::http1::{self, Broken, Http1};
use super::inbound::{Inbound, OwnConnection};
use super::resolve::Resolver;
use super::tls::{self, Spoken, TlsError};
use super::tunnel::Way;
use crate::clock;
use crate::line::Pieces;

/// How long an unused connection is kept. Shorter than the idle time of the servers behind the usual providers.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// Most unused connections kept per endpoint.
const IDLE_MAX: usize = 256;

/// The pools of one worker.
#[derive(Default)]
pub(crate) struct Pools {
    resolver: Resolver,
    by_backend: Mutex<FastMap<Destination, Arc<BackendPool>>>,
}

/// A backend, and the proxy through which it is reached.
type Destination = (BackendName, Option<Arc<ForwardProxy>>);

/// The connections to one backend.
pub(super) struct BackendPool {
    backend: Arc<Backend>,
    pub(super) tls: Option<Spoken>,
    /// To the proxy that leads there.
    way_tls: Option<Spoken>,
    endpoints: Vec<EndpointPool>,
    next: AtomicUsize,
}

pub(super) struct EndpointPool {
    endpoint: Endpoint,
    authority: Authority,
    host: HeaderValue,
    idle: Mutex<Vec<Idle>>,
    http2: Mutex<Option<http2::SendRequest<UpstreamBody>>>,
}

struct Idle {
    connection: Http1,
    since: Instant,
}

/// What happened to a request on one connection.
enum Sent {
    Response(Response<Inbound>),
    /// The connection turned out to be closed; nothing of a response was seen.
    Stale,
    Failed(BackendFault),
}

impl Pools {
    /// Sends `request` to `backend`, by `way` if a proxy leads there, and waits for the head of the response.
    ///
    /// A connection that the backend closed while it was idle is replaced by a new one, once, without telling
    /// anybody: nothing of a response has been seen on it, and the request can be sent again.
    pub(crate) async fn call(
        &self,
        backend: &Arc<Backend>,
        way: Option<Way<'_>>,
        request: &UpstreamRequest,
    ) -> Result<Response<Inbound>, BackendFault> {
        let pool = self.pool(backend, way)?;
        let (endpoint, entry) = pool.pick()?;
        if let Some(sender) = entry.take_idle().await {
            match send(&pool, endpoint, sender, request).await {
                Sent::Response(response) => return Ok(response),
                Sent::Failed(fault) => return Err(fault),
                Sent::Stale => {}
            }
        }
        let sender = self.open(&pool, entry, way).await?;
        match send(&pool, endpoint, sender, request).await {
            Sent::Response(response) => Ok(response),
            Sent::Failed(fault) => Err(fault),
            Sent::Stale => Err(BackendFault::Reset),
        }
    }

    /// Closes the connections that have not been used for long, or that their backend has closed. Nobody else looks.
    pub(crate) fn sweep(&self) {
        let pools: Vec<_> = lock(&self.by_backend).values().cloned().collect();
        for entry in pools.iter().flat_map(|pool| &pool.endpoints) {
            lock(&entry.idle).retain_mut(|idle| !idle.is_old() && idle.connection.is_ready());
        }
    }

    /// Closes the unused connections of backends that are not in `keep` any more, or not behind that proxy.
    pub(crate) fn retain(&self, keep: impl Fn(&BackendName, Option<&ForwardProxy>) -> bool) {
        lock(&self.by_backend).retain(|(name, proxy), _| keep(name, proxy.as_deref()));
    }

    pub(super) fn pool(
        &self,
        backend: &Arc<Backend>,
        way: Option<Way<'_>>,
    ) -> Result<Arc<BackendPool>, BackendFault> {
        let mut by_backend = lock(&self.by_backend);
        let destination = (backend.name.clone(), way.map(|way| Arc::clone(way.proxy)));
        if let Some(pool) = by_backend.get(&destination)
            && (Arc::ptr_eq(&pool.backend, backend) || pool.backend == *backend)
        {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(BackendPool::new(backend, way)?);
        by_backend.insert(destination, Arc::clone(&pool));
        Ok(pool)
    }

    pub(super) async fn open(
        &self,
        pool: &BackendPool,
        entry: &EndpointPool,
        way: Option<Way<'_>>,
    ) -> Result<Sender, BackendFault> {
        let target = Target {
            endpoint: &entry.endpoint,
            tls: pool.tls.as_ref(),
            http2_cleartext: pool.backend.http2_cleartext,
            resolver: &self.resolver,
            way,
            way_tls: pool.way_tls.as_ref(),
        };
        let connected = tokio::time::timeout(pool.backend.connect_timeout, Box::pin(connect(target))).await;
        let sender = match connected {
            Ok(Ok(sender)) => sender,
            Ok(Err(error)) => {
                tracing::warn!(backend = %pool.backend.name, %error, "cannot connect to a backend");
                return Err(BackendFault::Unreachable);
            }
            Err(_) => {
                tracing::warn!(backend = %pool.backend.name, "connecting to a backend took too long");
                return Err(BackendFault::Unreachable);
            }
        };
        if let Sender::Http2(sender) = &sender {
            *lock(&entry.http2) = Some(sender.clone());
        }
        Ok(sender)
    }
}

impl BackendPool {
    fn new(backend: &Arc<Backend>, way: Option<Way<'_>>) -> Result<Self, BackendFault> {
        let set_up = |made: Result<_, TlsError>| {
            made.map_err(|error| {
                tracing::warn!(backend = %backend.name, %error, "TLS towards a backend cannot be set up");
                BackendFault::Unreachable
            })
        };
        let tls = set_up(backend.tls.as_ref().map(tls::to_backend).transpose())?;
        let way_tls = set_up(way.and_then(|way| tls::to_proxy(way.proxy)).transpose())?;
        let endpoints =
            backend.endpoints.iter().filter_map(|endpoint| EndpointPool::new(endpoint, backend)).collect();
        Ok(Self { backend: Arc::clone(backend), tls, way_tls, endpoints, next: AtomicUsize::new(0) })
    }

    /// The next endpoint, and its place: each in its turn.
    pub(super) fn pick(&self) -> Result<(usize, &EndpointPool), BackendFault> {
        let endpoint = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        Ok((endpoint, self.endpoints.get(endpoint).ok_or(BackendFault::Unreachable)?))
    }

    /// Keeps a connection of `endpoint` for the next request, if it can take one.
    pub(super) fn put_idle(&self, endpoint: usize, mut connection: Http1) {
        if let Some(entry) = self.endpoints.get(endpoint)
            && connection.is_ready()
        {
            let mut idle = lock(&entry.idle);
            let surplus = (idle.len() + 1).saturating_sub(IDLE_MAX);
            idle.drain(..surplus);
            idle.push(Idle { connection, since: clock::now() });
        }
    }
}

impl Idle {
    fn is_old(&self) -> bool {
        clock::now().saturating_duration_since(self.since) > IDLE_FOR
    }
}

impl EndpointPool {
    /// `None` when the address cannot be written as an authority.
    fn new(endpoint: &Endpoint, backend: &Backend) -> Option<Self> {
        let text = backend.authority(endpoint);
        Some(Self {
            endpoint: endpoint.clone(),
            host: HeaderValue::from_str(&text).ok()?,
            authority: text.parse().ok()?,
            idle: Mutex::new(Vec::new()),
            http2: Mutex::new(None),
        })
    }

    /// A connection that can be used now.
    pub(super) async fn take_idle(&self) -> Option<Sender> {
        let shared = lock(&self.http2).clone();
        if let Some(mut sender) = shared
            && sender.ready().await.is_ok()
        {
            return Some(Sender::Http2(sender));
        }
        loop {
            let mut idle = lock(&self.idle).pop()?;
            if idle.is_old() {
                // The ones below are older still.
                lock(&self.idle).clear();
                return None;
            }
            if idle.connection.is_ready() {
                return Some(Sender::Http1(idle.connection));
            }
        }
    }

    /// The request as it goes over HTTP/1.1; `None` when its path is none.
    fn pieces(&self, request: &UpstreamRequest) -> Option<Pieces> {
        let path: PathAndQuery = request.path.parse().ok()?;
        let UpstreamRequest { method, headers, body, .. } = request;
        Some(http1::request(method, path.as_str(), &self.host, headers, body))
    }

    /// The request for HTTP/2; `None` when its path is none.
    fn request(&self, request: &UpstreamRequest, scheme: Scheme) -> Option<Request<UpstreamBody>> {
        let mut built = Request::new(UpstreamBody::new(&request.body));
        *built.method_mut() = request.method.clone();
        *built.headers_mut() = request.headers.clone();
        *built.version_mut() = Version::HTTP_2;
        *built.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(request.path.as_str())
            .build()
            .ok()?;
        Some(built)
    }
}

async fn send(pool: &Arc<BackendPool>, endpoint: usize, sender: Sender, request: &UpstreamRequest) -> Sent {
    let Some(entry) = pool.endpoints.get(endpoint) else { return Sent::Stale };
    match sender {
        Sender::Http1(connection) => send_http1(pool, endpoint, connection, entry.pieces(request)).await,
        Sender::Http2(mut sender) => {
            let scheme = if pool.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let Some(request) = entry.request(request, scheme) else {
                return Sent::Failed(BackendFault::Protocol);
            };
            match sender.send_request(request).await {
                Ok(response) => Sent::Response(response.map(Inbound::Http2)),
                Err(error) => {
                    tracing::debug!(%error, "a request to a backend failed");
                    Sent::Stale
                }
            }
        }
    }
}

async fn send_http1(
    pool: &Arc<BackendPool>,
    endpoint: usize,
    mut connection: Http1,
    request: Option<Pieces>,
) -> Sent {
    let Some(request) = request else { return Sent::Failed(BackendFault::Protocol) };
    match connection.send(request).await {
        Ok(head) => Sent::Response(inbound(pool, endpoint, connection, head)),
        Err(error) => {
            tracing::debug!(%error, "a request to a backend failed");
            match fault(&error) {
                None => Sent::Stale,
                Some(fault) => Sent::Failed(fault),
            }
        }
    }
}

/// The fault that `error` is; `None` for a connection that was closed before.
pub(super) fn fault(error: &Broken) -> Option<BackendFault> {
    match error {
        Broken::Closed => None,
        Broken::Cut(_) => Some(BackendFault::Reset),
        Broken::Malformed(_) => Some(BackendFault::Protocol),
    }
}

pub(super) fn inbound(
    pool: &Arc<BackendPool>,
    endpoint: usize,
    connection: Http1,
    head: ResponseHead,
) -> Response<Inbound> {
    let decoder = BodyDecoder::new(head.framing);
    let own = OwnConnection { connection, decoder, pool: Arc::clone(pool), endpoint };
    let mut response = Response::new(Inbound::Http1(Box::new(own)));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
