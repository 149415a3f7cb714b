//! As much of HTTP/1.1 as a benchmark needs, read straight from the socket.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a head says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Its length, blank line included.
    pub(crate) head_bytes: usize,
    /// The status; 0 in a request.
    pub(crate) status: u16,
    pub(crate) content_length: Option<usize>,
    pub(crate) is_chunked: bool,
}

/// Reads until `buffer` begins with a whole head; `None` when the peer has closed before one began.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Head>> {
    let mut searched = 0;
    loop {
        let from = searched.min(buffer.len());
        if let Some(at) = find(buffer.get(from..).unwrap_or_default(), b"\r\n\r\n") {
            return Ok(Some(parse(buffer, from + at + 4)));
        }
        searched = buffer.len().saturating_sub(3);
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("head too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// The place of `needle`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse(buffer: &[u8], head_bytes: usize) -> Head {
    let text = String::from_utf8_lossy(buffer.get(..head_bytes).unwrap_or_default());
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
    let mut head = Head {
        head_bytes,
        status: status.and_then(|status| status.parse().ok()).unwrap_or(0),
        content_length: None,
        is_chunked: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    head
}
