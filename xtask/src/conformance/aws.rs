//! Streams in AWS's framing, as the provider sends them.
//!
//! Source: AWS, "Amazon event stream encoding": a prelude of two lengths with its checksum, headers, the payload, a checksum of all.

use anyhow::{Context, Result};
use flate2::Crc;
use serde_json::Value;

/// Type of a header whose value is a text.
const STRING: u8 = 7;

/// The messages of a body that has one payload a line.
pub(super) fn events(body: &str) -> Result<Vec<Vec<u8>>> {
    body.lines().map(str::trim).filter(|line| !line.is_empty()).map(message).collect()
}

fn message(payload: &str) -> Result<Vec<u8>> {
    let value: Value = serde_json::from_str(payload).context("an event is no JSON")?;
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", event_type(&value)),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(u8::try_from(name.len())?);
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        headers.extend_from_slice(&u16::try_from(value.len())?.to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 12 + headers.len() + payload.len() + 4;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&u32::try_from(total)?.to_be_bytes());
    out.extend_from_slice(&u32::try_from(headers.len())?.to_be_bytes());
    out.extend_from_slice(&checksum(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&checksum(&out).to_be_bytes());
    Ok(out)
}

/// The type of the event with this payload; cases do not write it.
fn event_type(payload: &Value) -> &'static str {
    let types = [
        ("bytes", "chunk"),
        ("usage", "metadata"),
        ("stopReason", "messageStop"),
        ("role", "messageStart"),
        ("start", "contentBlockStart"),
        ("delta", "contentBlockDelta"),
    ];
    let known = types.iter().find(|(member, _)| payload.get(member).is_some());
    known.map_or("contentBlockStop", |(_, name)| name)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
