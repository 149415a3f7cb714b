//! Short requests to Envoy: to its admin, and one through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};
use tollgate_extproc::names::PROBE;

/// Longest wait for each step.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Tells Envoy's admin to do something.
pub(crate) fn post(admin: SocketAddr, path: &str) -> Result<()> {
    let answer = ask(admin, &format!("POST {path}"), "")?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        bail!("Envoy's admin does not do {path}");
    }
    Ok(())
}

/// Succeeds when the processor itself, and not only Envoy, answers `probe` through the listener at `address`.
pub(crate) fn goes_through(address: SocketAddr, probe: &str) -> Result<()> {
    let answer = ask(reachable(address), "GET /", &format!("{PROBE}: {probe}\r\n"))?;
    if !answer.starts_with("HTTP/1.1 204 ") {
        bail!("the external processor does not answer yet");
    }
    Ok(())
}

fn ask(address: SocketAddr, what: &str, header: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(
        format!(
            "{what} HTTP/1.1\r\nhost: {address}\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n"
        )
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
