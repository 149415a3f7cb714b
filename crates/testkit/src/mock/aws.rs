//! What all of AWS's services share: who may ask, how they tell an error, and how a stream is framed.
//!
//! Source: botocore, `auth.py`, `eventstream.py` and `RestJSONParser`.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::reply::Reply;

/// The content type of a stream.
pub(super) const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// Refuses a request that is not signed for `service`, and has no key of Bedrock's either. The signature itself is not
/// reckoned anew; what it is for must be right.
pub(super) fn refusal(headers: &HeaderMap, service: &str) -> Option<Reply> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = text("authorization") else {
        return Some(error(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    if service == "bedrock" && authorization.starts_with("Bearer ") {
        return None;
    }
    match check(authorization, text("x-amz-date").unwrap_or_default(), service) {
        Ok(()) => None,
        Err(message) => Some(error(403, "InvalidSignatureException", &message)),
    }
}

fn check(authorization: &str, date: &str, service: &str) -> Result<(), String> {
    let parts = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| format!("not a signature of version 4: {authorization:.20}"))?;
    let part = |name: &str| {
        let found = parts.split(", ").find_map(|part| part.strip_prefix(name));
        found.ok_or_else(|| format!("Authorization header requires '{name}' parameter."))
    };
    let scope: Vec<&str> = part("Credential=")?.split('/').collect();
    let [id, day, region, scoped, "aws4_request"] = *scope.as_slice() else {
        return Err(format!("Credential must have exactly 5 slash-delimited elements, got {}", scope.len()));
    };
    if id.is_empty() || region.is_empty() || scoped != service {
        return Err(format!("Credential should be scoped to correct service: '{service}'."));
    }
    if day.len() != 8 || !date.strip_prefix(day).is_some_and(|time| time.len() == 8 && time.ends_with('Z')) {
        return Err(format!("Date in Credential scope does not match that of the request: {day}, {date}"));
    }
    let signed: Vec<&str> = part("SignedHeaders=")?.split(';').collect();
    if !signed.contains(&"host") || !signed.contains(&"x-amz-date") || !signed.is_sorted() {
        return Err("'Host' and 'X-Amz-Date' must be among the SignedHeaders, in order.".to_owned());
    }
    let signature = part("Signature=")?;
    if signature.len() != 64 || !signature.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("The request signature is none.".to_owned());
    }
    Ok(())
}

/// An error; its type is in a header, with a link behind it as the services write it.
pub(super) fn error(status: u16, kind: &str, message: &str) -> Reply {
    told(status, kind, &json!({"message": message}))
}

/// An error of SageMaker, which writes its members with capitals.
pub(super) fn sagemaker_error(status: u16, kind: &str, message: &str) -> Reply {
    told(status, kind, &json!({"Message": message}))
}

fn told(status: u16, kind: &str, body: &Value) -> Reply {
    let kind = format!("{kind}:http://internal.amazon.com/coral/com.amazon.mock/");
    Reply::json(status, body)
        .with_header("x-amzn-errortype", kind)
        .with_header("x-amzn-requestid", "00000000-mock")
}

/// An event of a stream.
pub(super) fn event(kind: &str, payload: impl AsRef<[u8]>) -> Bytes {
    let content = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    message(&content, payload.as_ref())
}

/// An error in the middle of a stream.
pub(super) fn exception(kind: &str, payload: &Value) -> Bytes {
    let content =
        [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    message(&content, payload.to_string().as_bytes())
}

/// Two lengths and their checksum, the headers, the payload, and the checksum of all that.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    /// The type of a header that holds text.
    const TEXT: u8 = 7;
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend_from_slice(name.as_bytes());
        head.push(TEXT);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let mut out = Vec::new();
    out.extend_from_slice(&((head.len() + payload.len() + 16) as u32).to_be_bytes());
    out.extend_from_slice(&(head.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.into()
}

/// CRC-32 as in IEEE 802.3, bit by bit: nobody waits for a mock.
fn crc32(bytes: &[u8]) -> u32 {
    let of_byte =
        |sum: u32, byte: &u8| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
            })
        };
    !bytes.iter().fold(u32::MAX, of_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_as_the_standard_does() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_message_has_the_lengths_that_it_tells() {
        let bytes = event("chunk", "{}");
        assert_eq!(bytes.len(), u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
        assert_eq!(&bytes[bytes.len() - 6..bytes.len() - 4], b"{}");
    }

    #[test]
    fn takes_signatures_for_its_service_alone() {
        let signature = "0".repeat(64);
        let header = |scope: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
            )
        };
        let sound = header("AKIA/20260101/eu-west-1/bedrock/aws4_request");
        assert_eq!(check(&sound, "20260101T000000Z", "bedrock"), Ok(()));
        assert!(check(&sound, "20260102T000000Z", "bedrock").is_err());
        assert!(check(&sound, "20260101T000000Z", "sagemaker").is_err());
        assert!(check(&header("AKIA/20260101/eu-west-1"), "20260101T000000Z", "bedrock").is_err());
        assert!(check("Basic x", "", "bedrock").is_err());
    }
}
