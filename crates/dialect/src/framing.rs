//! How a backend frames its streamed answers, and how each framing becomes the one that everything behind it reads:
//! server-sent events, in the backend's dialect.
//!
//! AWS sends messages with checksums (`tollgate_wire::event_stream`). What is in them depends on the operation that was asked.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use tollgate_terms::{Dialect, StreamFraming};
use tollgate_wire::event_stream::{self, Malformed, Message};
use tollgate_wire::sse::{self, Frame, Piece};

use crate::data::base64_bytes;
use crate::error::{ErrorBody, encode};
use crate::{anthropic_messages, openai_chat};

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A message is larger than the limit.
    #[error("a message of the stream is larger than the limit")]
    TooLarge,
    /// A message is not what was sent.
    #[error("{0}")]
    Message(Malformed),
    /// A message is whole, but not one that its operation sends.
    #[error("a message of the stream holds nothing that its operation sends")]
    Content,
    /// The stream ends inside of a message.
    #[error("the stream ends inside of a message")]
    Truncated,
}

/// Makes server-sent events of a stream in any framing: bytes in, frames out.
#[derive(Debug)]
pub struct Reframer {
    framing: StreamFraming,
    dialect: Dialect,
    frame_bytes_max: usize,
    messages: event_stream::Decoder,
    /// What is made of bytes that are server-sent events already.
    events: sse::Decoder,
}

impl Reframer {
    /// For a stream that holds events of `dialect`, of which no one is read that is longer than `frame_bytes_max`.
    pub fn new(framing: StreamFraming, dialect: Dialect, frame_bytes_max: usize) -> Self {
        // Base64 takes a third more, and headers stand beside it.
        let message_bytes_max = frame_bytes_max.saturating_mul(2);
        Self {
            framing,
            dialect,
            frame_bytes_max,
            messages: event_stream::Decoder::new(message_bytes_max),
            events: sse::Decoder::new(frame_bytes_max),
        }
    }

    /// Whether the pieces that come next are, joined, the bytes that are pushed next.
    pub fn is_verbatim(&self) -> bool {
        self.framing == StreamFraming::Sse && self.events.is_empty()
    }

    /// Takes in a chunk. Take every piece out with [`Reframer::next`] before the next one.
    pub fn push(&mut self, chunk: Bytes) {
        match self.framing {
            StreamFraming::Sse => self.events.push(chunk),
            StreamFraming::AwsEvents | StreamFraming::AwsChunks | StreamFraming::AwsPayload => {
                self.messages.push(chunk);
            }
        }
    }

    /// What stands ahead of events as the backend has written them, if one begins there; nothing otherwise.
    pub fn ahead(&self) -> &[u8] {
        self.events.ahead()
    }

    /// Takes the first `count` bytes of what stands ahead, which are whole events.
    pub fn skip(&mut self, count: usize) -> Bytes {
        self.events.skip(count)
    }

    /// The next piece, if one is there.
    ///
    /// # Errors
    /// When the framing is broken. Nothing can be read behind that.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end for good; this one goes on after a push"
    )]
    pub fn next(&mut self) -> Result<Option<Piece>, Corrupt> {
        loop {
            if let Some(piece) = self.events.next() {
                return Ok(Some(piece));
            }
            if self.framing == StreamFraming::Sse {
                return Ok(None);
            }
            let Some(message) = self.messages.next().map_err(Corrupt::of)? else { return Ok(None) };
            if let Some(raw) = self.read(message)? {
                let is_oversize = raw.len() > self.frame_bytes_max;
                return Ok(Some(if is_oversize {
                    Piece::Oversize(raw)
                } else {
                    Piece::Frame(Frame { raw })
                }));
            }
        }
    }

    /// Ends the stream. Returns what is left, if anything.
    ///
    /// # Errors
    /// When it ends inside of a message.
    pub fn finish(&mut self) -> Result<Option<Piece>, Corrupt> {
        if self.framing != StreamFraming::Sse && !self.messages.is_empty() {
            return Err(Corrupt::Truncated);
        }
        Ok(self.events.finish())
    }

    /// What becomes of a message: an event, or nothing yet.
    fn read(&mut self, message: Message) -> Result<Option<Bytes>, Corrupt> {
        let kind = match message.message_type() {
            Some("event") => message.event_type().ok_or(Corrupt::Content)?,
            Some("exception" | "error") => {
                // Half an event that came before has no end any more.
                self.events = sse::Decoder::new(self.frame_bytes_max);
                return Ok(Some(self.error(&message)));
            }
            _ => return Err(Corrupt::Content),
        };
        match (self.framing, kind) {
            (StreamFraming::AwsEvents, kind) => Ok(Some(frame(Some(kind), &message.payload))),
            (StreamFraming::AwsChunks, "chunk") => read_chunk(&message.payload).map(Some),
            (StreamFraming::AwsPayload, "PayloadPart") => {
                self.events.push(message.payload);
                Ok(None)
            }
            // Types that the API may add; clients are to pass over what they do not know.
            (StreamFraming::Sse | StreamFraming::AwsChunks | StreamFraming::AwsPayload, _) => Ok(None),
        }
    }

    fn error(&self, message: &Message) -> Bytes {
        let told: Told = serde_json::from_slice(&message.payload).unwrap_or_default();
        let kind = message.exception_type().or(message.error_code()).unwrap_or("InternalServerException");
        let text = told.message.as_deref().or(message.error_message()).unwrap_or(kind);
        if self.framing == StreamFraming::AwsEvents {
            let data = encode(&json!({"type": kind, "message": text}));
            // Everything behind knows an error by this end of its name.
            return frame(Some(if kind.ends_with("Exception") { kind } else { "error" }), &data);
        }
        let status = told.original_status_code.unwrap_or_else(|| status(kind, told.code.as_deref()));
        if self.dialect == Dialect::AnthropicMessages {
            let kind = anthropic_messages::error::known_kind(kind, status);
            return frame(
                Some("error"),
                &encode(&json!({"type": "error", "error": {"type": kind, "message": text}})),
            );
        }
        let error = ErrorBody { status, kind, message: text, code: None, param: None, request_id: "" };
        frame(None, &openai_chat::error::encode_backend(&error))
    }
}

impl Corrupt {
    fn of(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TooLarge => Self::TooLarge,
            Malformed::PreludeChecksum
            | Malformed::MessageChecksum
            | Malformed::Length
            | Malformed::Header => Self::Message(malformed),
        }
    }
}

/// What an exception says. SageMaker writes its members with capitals.
#[derive(Default, Deserialize)]
struct Told {
    #[serde(default, alias = "Message")]
    message: Option<String>,
    #[serde(default, rename = "ErrorCode")]
    code: Option<String>,
    /// The status that the model itself answered with.
    #[serde(default, rename = "originalStatusCode")]
    original_status_code: Option<u16>,
}

/// The status that an exception has where it is a whole answer.
///
/// Source: botocore, errors of `bedrock-runtime` and `sagemaker-runtime`.
fn status(kind: &str, code: Option<&str>) -> u16 {
    // Members of a stream have small first letters, errors of an operation capital ones.
    match (kind.to_ascii_lowercase().as_str(), code) {
        ("validationexception", _) => 400,
        ("throttlingexception", _) => 429,
        // The status is 408; the client was not too slow, the model was.
        ("modeltimeoutexception", _) | ("modelstreamerror", Some("ModelInvocationTimeExceeded")) => 504,
        // Bedrock has too little room now, which Anthropic calls overloaded.
        ("serviceunavailableexception", _) => 529,
        _ => 500,
    }
}

fn frame(event: Option<&str>, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 64);
    sse::encode(&mut out, event, data);
    out.freeze()
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

/// Only events that name their type have it on their event line.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
}

fn read_chunk(payload: &[u8]) -> Result<Bytes, Corrupt> {
    let chunk: Chunk<'_> = serde_json::from_slice(payload).map_err(|_| Corrupt::Content)?;
    // Its last one tells Bedrock's own metrics too, `amazon-bedrock-invocationMetrics`, which readers pass over.
    let event = base64_bytes(&chunk.bytes).ok_or(Corrupt::Content)?;
    let typed: Typed<'_> = serde_json::from_slice(&event).map_err(|_| Corrupt::Content)?;
    Ok(frame(typed.kind.as_deref(), &event))
}

#[cfg(test)]
mod tests;
