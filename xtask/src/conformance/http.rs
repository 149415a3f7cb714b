//! As much of HTTP/1.1 as a provider and a client of one request need, read to the byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

/// Nothing here waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    /// `POST /path HTTP/1.1`, `HTTP/1.1 200 OK`.
    pub(super) first_line: String,
    /// In order; names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// Without transfer coding, with its content coding.
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Status of an answer.
    pub(super) fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Path of a request, without its query.
    pub(super) fn path(&self) -> &str {
        let target = self.first_line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }

    /// The body without its content coding.
    pub(super) fn content(&self) -> Result<Vec<u8>> {
        if self.header("content-encoding") != Some("gzip") {
            return Ok(self.body.clone());
        }
        let mut content = Vec::new();
        GzDecoder::new(self.body.as_slice()).read_to_end(&mut content).context("not gzip")?;
        Ok(content)
    }

    /// Reads one message; `None` when the peer has closed.
    pub(super) fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Self>> {
        stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        let Some(first_line) = line(stream)? else { return Ok(None) };
        let mut message = Self { first_line, ..Self::default() };
        while let Some(line) = line(stream)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if message.header("transfer-encoding") == Some("chunked") {
            while read_chunk(stream, &mut message.body)? {}
        } else if let Some(length) = message.header("content-length") {
            message.body.resize(length.parse().context("content-length")?, 0);
            stream.read_exact(&mut message.body).context("the body is cut short")?;
        }
        Ok(Some(message))
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads one chunk; tells whether another may follow.
fn read_chunk(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<bool> {
    let size = line(stream)?.context("the body is cut short")?;
    let size =
        usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).context("chunk size")?;
    let mut chunk = vec![0; size];
    stream.read_exact(&mut chunk).context("the body is cut short")?;
    body.extend_from_slice(&chunk);
    line(stream)?;
    Ok(size > 0)
}

/// Sends one request and reads the whole answer.
pub(super) fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Message> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("no gateway")?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    match Message::read(&mut BufReader::new(stream))? {
        Some(answer) => Ok(answer),
        None => bail!("no answer"),
    }
}
