//! Short requests to Envoy: to its admin, and one through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest wait for each step.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Tells Envoy's admin to do something.
pub(crate) fn post(admin: SocketAddr, path: &str) -> Result<()> {
    let answer = ask(admin, &format!("POST {path}"))?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        bail!("Envoy's admin does not do {path}");
    }
    Ok(())
}

/// Succeeds when the gateway itself, and not only Envoy, answers through the listener at `address`.
pub(crate) fn goes_through(address: SocketAddr) -> Result<()> {
    let answer = ask(reachable(address), "GET /v1/models")?;
    // Only the processor gives answers this header; Envoy's own replies have another place for it.
    let (head, _) = answer.split_once("\r\n\r\n").context("no answer")?;
    let is_failure = head.starts_with("HTTP/1.1 5");
    if is_failure || !head.to_ascii_lowercase().contains("x-tollgate-request-id:") {
        bail!("the external processor does not answer yet");
    }
    Ok(())
}

fn ask(address: SocketAddr, what: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(
        format!("{what} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The unspecified address is one to listen on; to connect to it, take the loopback address of its kind.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
