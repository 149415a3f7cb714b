//! Requests that are passed on: their bodies go over a pooled connection as they come.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};
use hyper::client::conn::http2;
use tokio::sync::mpsc;
use tollgate_config::bundle::Backend;
use tollgate_exchange::PassedRequest;
use tollgate_terms::BackendFault;
use tollgate_wire::http1::Framing;

use super::body::UpstreamBody;
use super::connect::Sender;
use super::http1::{self, Http1, NotPassed};
use super::inbound::Inbound;
use super::pool::{BackendPool, Pools, fault, inbound};
use super::upload::{Stopped, Upload};
use crate::service::RequestBody;

/// Why a request that was passed on has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The connection turned out to be closed; nothing of a response was seen.
    Stale,
    /// Because of the backend.
    Failed(BackendFault),
    /// Because of the client.
    Stopped(Stopped),
}

impl From<BackendFault> for Unanswered {
    fn from(fault: BackendFault) -> Self {
        Self::Failed(fault)
    }
}

impl Pools {
    /// Passes a request on to `backend`, its body as it comes, and waits for the head of the response.
    ///
    /// As with [`Pools::call`], a connection that was closed while it was idle is replaced once; not so when some of the body
    /// has been taken, which nobody holds.
    pub(crate) async fn pass<B: RequestBody>(
        &self,
        backend: &Arc<Backend>,
        request: &PassedRequest,
        upload: &mut Upload<'_, B>,
    ) -> Result<Response<Inbound>, Unanswered> {
        let pool = self.pool(backend, None)?;
        let (endpoint, entry) = pool.pick()?;
        if let Some(sender) = entry.take_idle().await {
            match pass(&pool, endpoint, sender, request, upload).await {
                Err(Unanswered::Stale) if upload.is_untouched() => upload.rewind(),
                passed => return passed,
            }
        }
        let sender = self.open(&pool, entry, None).await?;
        pass(&pool, endpoint, sender, request, upload).await
    }
}

async fn pass<B: RequestBody>(
    pool: &Arc<BackendPool>,
    endpoint: usize,
    sender: Sender,
    request: &PassedRequest,
    upload: &mut Upload<'_, B>,
) -> Result<Response<Inbound>, Unanswered> {
    let path: PathAndQuery = request.path.parse().map_err(|_| BackendFault::Protocol)?;
    match sender {
        Sender::Http1(connection) => {
            let PassedRequest { method, host, headers, .. } = request;
            let head = http1::head(method, path.as_str(), host, headers, upload.framing());
            pass_http1(pool, endpoint, connection, (head, method), upload).await
        }
        Sender::Http2(sender) => {
            let scheme = if pool.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            pass_http2(sender, scheme, path, request, upload).await
        }
    }
}

async fn pass_http1<B: RequestBody>(
    pool: &Arc<BackendPool>,
    endpoint: usize,
    mut connection: Http1,
    (head, method): (Bytes, &Method),
    upload: &mut Upload<'_, B>,
) -> Result<Response<Inbound>, Unanswered> {
    match connection.pass(head, upload).await {
        Ok(mut head) => {
            // Its length is that of the body which a GET would have had.
            if method == Method::HEAD {
                head.framing = Framing::Sized(0);
            }
            Ok(inbound(pool, endpoint, connection, head))
        }
        Err(NotPassed::Stopped(stopped)) => Err(Unanswered::Stopped(stopped)),
        Err(NotPassed::Broken(error)) => {
            tracing::debug!(%error, "a request to a backend failed");
            Err(fault(&error).map_or(Unanswered::Stale, Unanswered::Failed))
        }
    }
}

async fn pass_http2<B: RequestBody>(
    mut sender: http2::SendRequest<UpstreamBody>,
    scheme: Scheme,
    path: PathAndQuery,
    request: &PassedRequest,
    upload: &mut Upload<'_, B>,
) -> Result<Response<Inbound>, Unanswered> {
    let (pieces, body) = match upload.framing() {
        None => (None, UpstreamBody::new(&[])),
        Some(framing) => {
            let (sender, pieces) = mpsc::channel(1);
            let bytes = if let Framing::Sized(bytes) = framing { Some(bytes) } else { None };
            (Some(sender), UpstreamBody::Passed { pieces, bytes })
        }
    };
    let mut built = Request::new(body);
    *built.method_mut() = request.method.clone();
    *built.headers_mut() = request.headers.clone();
    *built.version_mut() = Version::HTTP_2;
    let uri = Uri::builder().scheme(scheme).authority(request.host.as_bytes()).path_and_query(path);
    *built.uri_mut() = uri.build().map_err(|_| BackendFault::Protocol)?;
    let answered = sender.send_request(built);
    let mut pump = pin!(pump(upload, pieces.clone()));
    let response = tokio::select! {
        biased;
        response = answered => response,
        stopped = pump.as_mut() => return Err(Unanswered::Stopped(stopped)),
    };
    match response {
        Err(error) => {
            tracing::debug!(%error, "a request to a backend failed");
            Err(Unanswered::Stale)
        }
        // The rest of the body goes to the backend only if it answers with a success, as over HTTP/1.1.
        Ok(response) => match pieces.filter(|pieces| !pieces.is_closed()) {
            Some(pieces) if response.status().is_success() => {
                tokio::select! {
                    biased;
                    () = pieces.closed() => {}
                    stopped = pump => return Err(Unanswered::Stopped(stopped)),
                }
                Ok(response.map(Inbound::Http2))
            }
            Some(pieces) => {
                Ok(response.map(|incoming| Inbound::Http2Unfinished { incoming, _request: pieces }))
            }
            None => Ok(response.map(Inbound::Http2)),
        },
    }
}

/// Hands the body on as it is taken. Completes when there is no more to be done: the client has broken off or left.
async fn pump<B: RequestBody>(
    upload: &mut Upload<'_, B>,
    pieces: Option<mpsc::Sender<Option<Bytes>>>,
) -> Stopped {
    if let Some(pieces) = pieces {
        // When nobody takes any more, the response is all that is waited for.
        while let Ok(place) = pieces.reserve().await {
            match poll_fn(|cx| upload.poll_data(cx)).await {
                Some(Ok(data)) => place.send(Some(data)),
                Some(Err(stopped)) => return stopped,
                None => {
                    place.send(None);
                    break;
                }
            }
        }
    }
    poll_fn(|cx| upload.poll_stopped(cx)).await
}
