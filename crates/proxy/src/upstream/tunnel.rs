//! The way through a forward proxy: HTTP CONNECT (RFC 9110 section 9.3.6).

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tollgate_config::bundle::ForwardProxy;
use tollgate_effects::Secrets;

/// The longest head that a proxy may answer with.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A proxy, and where its credential is found.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) proxy: &'a Arc<ForwardProxy>,
    pub(crate) secrets: &'a Secrets,
}

/// Asks the proxy at the other end of `stream` to connect to `destination`. What comes after its answer is still to be read.
///
/// # Errors
/// When the proxy refuses, or breaks off. No error has anything of the credential in it.
pub(super) async fn ask<S>(stream: &mut S, destination: &str, way: Way<'_>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n").into_bytes();
    if let Some(shown) =
        tollgate_effects::proxy_authorization(way.proxy, way.secrets).map_err(io::Error::other)?
    {
        request.extend([b"Proxy-Authorization: ", shown.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request).await?;
    stream.flush().await?;
    let head = read_head(stream).await?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(io::Error::other(format!("the forward proxy answered with status {status}"))),
        None => Err(io::Error::other("the forward proxy does not speak HTTP/1.1")),
    }
}

/// Reads up to the end of a head and not a byte further: a backend may have begun to speak.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES_MAX {
        // One at a time: it is short, and comes once for each connection.
        head.push(stream.read_u8().await?);
        if head.ends_with(b"\r\n\r\n") {
            return Ok(head);
        }
    }
    Err(io::Error::other("the head of the forward proxy's answer is too long"))
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_of_a_head() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
