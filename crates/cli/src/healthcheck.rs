//! `tollgate healthcheck`: asks the admin address whether the gateway is ready. For containers without a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tollgate_fleet::reachable;

/// Longest wait for each step.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Succeeds when `/readyz` at `admin` answers 200 in time.
///
/// # Errors
/// When it does not.
pub(crate) fn run(admin: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&reachable(admin), TIMEOUT)
        .with_context(|| format!("no gateway at {admin}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; b"HTTP/1.1 200 ".len()];
    stream.read_exact(&mut head).with_context(|| format!("no answer from {admin}"))?;
    if &head != b"HTTP/1.1 200 " {
        bail!("the gateway at {admin} is not ready");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 1024];
            let _ = stream.read(&mut request)?;
            stream.write_all(answer.as_bytes())
        });
        let result = run(address);
        server.join().expect("a server")?;
        result
    }

    #[test]
    fn only_a_ready_gateway_is_healthy() {
        assert!(answered("HTTP/1.1 200 OK\r\n\r\n").is_ok());
        assert!(answered("HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(answered("").is_err());
    }

    #[test]
    fn nobody_there_is_not_healthy() {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        assert!(run(address.expect("an address")).is_err());
    }
}
