//! What Envoy asks the external processor.

use bytes::Bytes;
use tollgate_envoy::processor::{Asked, Headers, Incoming};

use super::law;

/// Whatever was read lies in the message, and no part of it is read twice.
pub(crate) fn asked(input: &[u8]) -> Result<(), String> {
    let Ok(message) = Incoming::decode(Bytes::copy_from_slice(input)) else { return Ok(()) };
    let _ = message.attribute("source.address");
    match &message.asked {
        Asked::RequestHeaders(head) | Asked::ResponseHeaders(head) => headers(&head.headers, input),
        Asked::RequestBody(body) | Asked::ResponseBody(body) => {
            law(is_in(&body.bytes, input), || "a body from elsewhere".to_owned())
        }
        Asked::ResponseTrailers | Asked::Other => Ok(()),
    }
}

fn headers(headers: &Headers, input: &[u8]) -> Result<(), String> {
    law(headers.iter().count() == headers.len(), || "a header that cannot be read".to_owned())?;
    for header in headers.iter() {
        law(is_in(header.name, input) && is_in(&header.value_bytes(), input), || {
            "a header from elsewhere".to_owned()
        })?;
    }
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    law(bytes <= input.len(), || format!("{bytes} bytes of headers in {}", input.len()))
}

fn is_in(part: &[u8], input: &[u8]) -> bool {
    part.is_empty() || input.windows(part.len()).any(|window| window == part)
}
