//! One connection of a client: TLS, the choice between HTTP/1.1 and HTTP/2, and its requests one after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::answer::AnswerBody;
use crate::downstream;
use crate::line::Transport;
use crate::patience::{Patience, Watched};
use crate::service::{self, Client};
use crate::worker::Worker;

/// Longest wait for a TLS handshake, and for the first bytes of a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of the headers of a request in HTTP/2. The core refuses half of this in words; what is beyond is refused by hyper.
const HTTP2_HEADER_BYTES_MAX: u32 = 128 << 10;

/// Most requests at a time on one HTTP/2 connection (Envoy's advice for the edge).
const HTTP2_STREAMS_MAX: u32 = 100;

/// HTTP/2 flow control windows (Envoy's advice for the edge).
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 << 10;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Most response bytes buffered per HTTP/2 stream for a slow client.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 << 10;

/// How many milliseconds the rest of what begins like the preface is waited for. It comes at once, or it is none.
const HTTP2_PREFACE_WAIT_MS: usize = 1000;

/// How every HTTP/2 connection with prior knowledge begins (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection until it ends.
pub(crate) async fn serve(worker: Arc<Worker>, stream: TcpStream, address: SocketAddr, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let tls = worker.serving().doors.get(&address).and_then(|door| door.tls.clone());
    let patience = Arc::new(Patience::default());
    let client = Client { address, peer, patience: Arc::clone(&patience) };
    let watched = |stream| Watched::new(stream, patience);
    let served = match tls {
        None => match tokio::time::timeout(HANDSHAKE_TIMEOUT, begins_http2(&stream)).await {
            // Boxed, because only few connections need the room that these take.
            Ok(Ok(true)) => Box::pin(serve_http2(&worker, client, watched(stream))).await,
            Ok(Ok(false)) => downstream::serve(&worker, client, watched(stream)).await,
            Ok(Err(_)) | Err(_) => return,
        },
        Some(config) => Box::pin(serve_tls(&worker, client, watched(stream), config)).await,
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a client's connection ended");
    }
}

async fn serve_tls(
    worker: &Arc<Worker>,
    client: Client,
    stream: Watched<TcpStream>,
    config: Arc<ServerConfig>,
) -> io::Result<()> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(peer = %client.peer, %error, "TLS handshake failed");
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(worker, client, stream).await
    } else {
        downstream::serve(worker, client, stream).await
    }
}

/// Whether the connection begins with the HTTP/2 preface. Takes nothing off the stream.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    for _ in 0..HTTP2_PREFACE_WAIT_MS {
        let count = stream.peek(&mut first).await?;
        let seen = first.get(..count).unwrap_or_default();
        if count == 0 || !HTTP2_PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if count == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        // `peek` is ready as long as anything is there, so waiting for the rest has to be by the clock.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(false)
}

async fn serve_http2(
    worker: &Arc<Worker>,
    client: Client,
    stream: impl Transport + 'static,
) -> io::Result<()> {
    let owner = Arc::clone(worker);
    let service = service_fn(move |request| respond(Arc::clone(&owner), client.clone(), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(60))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served.map_err(io::Error::other),
        () = worker.drain.begun() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(io::Error::other)
}

async fn respond(
    worker: Arc<Worker>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Canceled> {
    let (parts, mut body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    // Boxed, so that an idle connection does not carry the room that a busy one needs.
    Box::pin(service::respond(&worker, &client, request, &mut body)).await.ok_or(Canceled)
}

/// Nobody waits for the answer.
#[derive(Debug, thiserror::Error)]
#[error("the client has left")]
struct Canceled;
