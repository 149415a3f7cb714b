//! Connections of one worker, kept for the next request.
//!
//! HTTP/1.1 connections stand in a stack per endpoint, the latest used first, so that what is not needed grows old
//! and is closed. HTTP/2 has one connection per endpoint that all requests share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tollgate_config::bundle::{Backend, Endpoint};
use tollgate_exchange::UpstreamRequest;
use tollgate_terms::{BackendFault, BackendName};

use super::body::UpstreamBody;
use super::connect::{Sender, Target, connect};
use super::resolve::Resolver;
use super::tls::client_config;
use crate::clock;

/// How long an unused connection is kept. Shorter than the idle time of the servers behind the usual providers.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// Most unused connections kept per endpoint.
const IDLE_MAX: usize = 256;

/// The pools of one worker.
#[derive(Default)]
pub(crate) struct Pools {
    resolver: Resolver,
    by_backend: Mutex<HashMap<BackendName, Arc<BackendPool>>>,
}

/// The connections to one backend.
struct BackendPool {
    backend: Arc<Backend>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    endpoints: Vec<EndpointPool>,
    next: AtomicUsize,
}

struct EndpointPool {
    endpoint: Endpoint,
    authority: Authority,
    host: HeaderValue,
    idle: Mutex<Vec<Idle>>,
    http2: Mutex<Option<http2::SendRequest<UpstreamBody>>>,
}

struct Idle {
    sender: http1::SendRequest<UpstreamBody>,
    since: Instant,
}

/// The connection that a response is still coming in on. Dropped before the response is complete, it is closed.
pub(crate) struct Lease {
    pool: Arc<BackendPool>,
    endpoint: usize,
    sender: Option<http1::SendRequest<UpstreamBody>>,
}

/// What happened to a request on one connection.
enum Sent {
    Response(Response<Incoming>),
    /// The connection turned out to be closed; nothing of a response was seen.
    Stale,
    Failed(BackendFault),
}

impl Pools {
    /// Sends `request` to `backend` and waits for the head of the response.
    ///
    /// A connection that the backend closed while it was idle is replaced by a new one, once, without telling
    /// anybody: nothing of a response has been seen on it, and the request can be sent again.
    pub(crate) async fn call(
        &self,
        backend: &Arc<Backend>,
        request: &UpstreamRequest,
    ) -> Result<(Response<Incoming>, Lease), BackendFault> {
        let pool = self.pool(backend)?;
        let endpoint = pool.next.fetch_add(1, Ordering::Relaxed) % pool.endpoints.len().max(1);
        let entry = pool.endpoints.get(endpoint).ok_or(BackendFault::Unreachable)?;
        if let Some(sender) = entry.take_idle().await {
            let (sent, lease) = send(&pool, endpoint, sender, request).await;
            match sent {
                Sent::Response(response) => return Ok((response, lease)),
                Sent::Failed(fault) => return Err(fault),
                Sent::Stale => {}
            }
        }
        let sender = self.open(&pool, entry).await?;
        let (sent, lease) = send(&pool, endpoint, sender, request).await;
        match sent {
            Sent::Response(response) => Ok((response, lease)),
            Sent::Failed(fault) => Err(fault),
            Sent::Stale => Err(BackendFault::Reset),
        }
    }

    /// Closes the unused connections of backends that are not in `keep` any more.
    pub(crate) fn retain(&self, keep: impl Fn(&BackendName) -> bool) {
        lock(&self.by_backend).retain(|name, _| keep(name));
    }

    fn pool(&self, backend: &Arc<Backend>) -> Result<Arc<BackendPool>, BackendFault> {
        let mut by_backend = lock(&self.by_backend);
        if let Some(pool) = by_backend.get(&backend.name)
            && (Arc::ptr_eq(&pool.backend, backend) || pool.backend == *backend)
        {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(BackendPool::new(backend)?);
        by_backend.insert(backend.name.clone(), Arc::clone(&pool));
        Ok(pool)
    }

    async fn open(&self, pool: &BackendPool, entry: &EndpointPool) -> Result<Sender, BackendFault> {
        let target = Target {
            endpoint: &entry.endpoint,
            tls: pool.tls.as_ref(),
            http2_cleartext: pool.backend.http2_cleartext,
            resolver: &self.resolver,
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
    fn new(backend: &Arc<Backend>) -> Result<Self, BackendFault> {
        let tls = match &backend.tls {
            None => None,
            Some(tls) => {
                let config = client_config(tls).map_err(|error| {
                    tracing::warn!(backend = %backend.name, %error, "TLS towards a backend cannot be set up");
                    BackendFault::Unreachable
                })?;
                let name =
                    ServerName::try_from(tls.server_name.clone()).map_err(|_| BackendFault::Unreachable)?;
                Some((config, name))
            }
        };
        let endpoints =
            backend.endpoints.iter().filter_map(|endpoint| EndpointPool::new(endpoint, backend)).collect();
        Ok(Self { backend: Arc::clone(backend), tls, endpoints, next: AtomicUsize::new(0) })
    }
}

impl EndpointPool {
    /// `None` when the address cannot be written as an authority.
    fn new(endpoint: &Endpoint, backend: &Backend) -> Option<Self> {
        let default_port = if backend.tls.is_some() { 443 } else { 80 };
        let with_port = |host: String, port: u16| match port {
            port if port == default_port => host,
            port => format!("{host}:{port}"),
        };
        let text = match endpoint {
            Endpoint::Fqdn { hostname, port } => with_port(hostname.clone(), *port),
            Endpoint::Ip { address, port } if address.is_ipv6() => with_port(format!("[{address}]"), *port),
            Endpoint::Ip { address, port } => with_port(address.to_string(), *port),
            Endpoint::Unix { .. } => "localhost".to_owned(),
        };
        Some(Self {
            endpoint: endpoint.clone(),
            host: HeaderValue::from_str(&text).ok()?,
            authority: text.parse().ok()?,
            idle: Mutex::new(Vec::new()),
            http2: Mutex::new(None),
        })
    }

    /// A connection that can be used now.
    async fn take_idle(&self) -> Option<Sender> {
        let shared = lock(&self.http2).clone();
        if let Some(mut sender) = shared
            && sender.ready().await.is_ok()
        {
            return Some(Sender::Http2(sender));
        }
        loop {
            let idle = lock(&self.idle).pop()?;
            if clock::now().saturating_duration_since(idle.since) > IDLE_FOR {
                // The ones below are older still.
                lock(&self.idle).clear();
                return None;
            }
            let mut sender = idle.sender;
            if sender.ready().await.is_ok() {
                return Some(Sender::Http1(sender));
            }
        }
    }

    fn put_idle(&self, sender: http1::SendRequest<UpstreamBody>) {
        let now = clock::now();
        let mut idle = lock(&self.idle);
        let old =
            idle.iter().take_while(|entry| now.saturating_duration_since(entry.since) > IDLE_FOR).count();
        let surplus = (idle.len() + 1).saturating_sub(IDLE_MAX);
        idle.drain(..old.max(surplus));
        idle.push(Idle { sender, since: now });
    }

    fn request(
        &self,
        request: &UpstreamRequest,
        version: Version,
        scheme: Scheme,
    ) -> Option<Request<UpstreamBody>> {
        let mut built = Request::new(UpstreamBody::new(&request.body));
        *built.method_mut() = request.method.clone();
        *built.headers_mut() = request.headers.clone();
        *built.uri_mut() = if version == Version::HTTP_2 {
            Uri::builder()
                .scheme(scheme)
                .authority(self.authority.clone())
                .path_and_query(request.path.as_str())
                .build()
                .ok()?
        } else {
            built.headers_mut().insert(HOST, self.host.clone());
            request.path.parse().ok()?
        };
        *built.version_mut() = version;
        Some(built)
    }
}

impl Lease {
    /// Gives the connection back: the response on it is complete.
    pub(crate) fn release(mut self) {
        if let (Some(sender), Some(entry)) = (self.sender.take(), self.pool.endpoints.get(self.endpoint)) {
            entry.put_idle(sender);
        }
    }
}

async fn send(
    pool: &Arc<BackendPool>,
    endpoint: usize,
    sender: Sender,
    request: &UpstreamRequest,
) -> (Sent, Lease) {
    let mut lease = Lease { pool: Arc::clone(pool), endpoint, sender: None };
    let Some(entry) = pool.endpoints.get(endpoint) else { return (Sent::Stale, lease) };
    let scheme = if pool.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let sent = match sender {
        Sender::Http1(mut sender) => {
            let Some(request) = entry.request(request, Version::HTTP_11, scheme) else {
                return (Sent::Failed(BackendFault::Protocol), lease);
            };
            let sent = sender.send_request(request).await;
            lease.sender = Some(sender);
            sent
        }
        Sender::Http2(mut sender) => {
            let Some(request) = entry.request(request, Version::HTTP_2, scheme) else {
                return (Sent::Failed(BackendFault::Protocol), lease);
            };
            sender.send_request(request).await
        }
    };
    (sent.map_or_else(|error| classify(&error), Sent::Response), lease)
}

fn classify(error: &hyper::Error) -> Sent {
    tracing::debug!(%error, "a request to a backend failed");
    if error.is_parse() || error.is_parse_too_large() {
        return Sent::Failed(BackendFault::Protocol);
    }
    // Closed, cancelled or cut before the head of a response: nothing of one has been seen.
    Sent::Stale
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
