//! One connection of a client: TLS, and the choice between HTTP/1.1 and HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::downstream;
use crate::http2;
use crate::patience::{Patience, Watched};
use crate::service::Client;
use crate::worker::Worker;

/// Longest wait for a TLS handshake, and for the first bytes of a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

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
            Ok(Ok(true)) => Box::pin(http2::serve(&worker, client, watched(stream))).await,
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
        http2::serve(worker, client, stream).await
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
