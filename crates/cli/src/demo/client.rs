//! A client that sends one request and waits for its whole answer, as an application does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Posts `body` to `path` at `address`, with the headers that the SDKs send.
///
/// # Errors
/// When there is no answer in time.
pub(super) async fn post(address: SocketAddr, path: &str, body: &Value) -> Result<Answer> {
    let exchange = exchange(address, path, body);
    tokio::time::timeout(TIMEOUT, exchange).await.context("no answer in time")?
}

async fn exchange(address: SocketAddr, path: &str, body: &Value) -> Result<Answer> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    connection.abort();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
