//! What Envoy is answered.

use bytes::Bytes;

use crate::protobuf::{DOUBLE_BYTES, SHORT_BYTES, begin, field_bytes, put, put_double, put_short};

/// A message to Envoy (`ProcessingResponse`), as it lies on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Behind room for the prefix that gRPC wants.
    message: Vec<u8>,
    /// The body that the message ends with, if it has one.
    body: Bytes,
}

/// What gRPC wants before a message: a flag and its length.
pub(super) const PREFIX_BYTES: usize = 5;

impl Outgoing {
    /// Writes it behind what is to be sent before it.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let Self { mut message, body } = self;
        let bytes = message.len() - PREFIX_BYTES + body.len();
        // A message has at most the length of a body that was held in memory, and that of a head.
        let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(prefix) = message.get_mut(1..PREFIX_BYTES) {
            prefix.copy_from_slice(&length);
        }
        if out.is_empty() {
            *out = message;
        } else {
            // The end, which may follow, takes little.
            out.reserve(message.len() + body.len() + LIST_BYTES);
            out.extend_from_slice(&message);
        }
        out.extend_from_slice(&body);
    }
}

/// Which message of Envoy's is answered. Envoy takes the answer to another one for an error. The numbers are those of the fields
/// that have the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The head of a request.
    RequestHeaders = 1,
    /// The head of a response.
    ResponseHeaders = 2,
    /// The body of a request.
    RequestBody = 3,
}

/// An answer that lets Envoy go on.
#[derive(Debug, Clone, Default)]
pub struct Onward {
    /// What changes in the head.
    pub headers: HeaderChanges,
    /// What takes the place of the body, unless it stays as it is.
    pub body: Option<Bytes>,
    /// Whether the request has to be routed anew.
    pub clear_route_cache: bool,
    /// What is published.
    pub metadata: Option<Members>,
}

impl Onward {
    /// The answer as a message for `phase`.
    pub fn answer(self, phase: Phase) -> Outgoing {
        let Self { headers: HeaderChanges(headers), body, clear_route_cache, metadata } = self;
        let is_replaced = body.is_some() && phase != Phase::RequestBody;
        let body_bytes = match &body {
            None => 0,
            Some(body) if body.is_empty() => SHORT_BYTES,
            Some(body) => field_bytes(body.len()),
        };
        let mut common_bytes = 0;
        if is_replaced {
            common_bytes += SHORT_BYTES;
        }
        if !headers.is_empty() {
            common_bytes += field_bytes(headers.len());
        }
        if clear_route_cache {
            common_bytes += SHORT_BYTES;
        }
        if body_bytes > 0 {
            common_bytes += field_bytes(body_bytes);
        }
        let mut message = begin_message(metadata, common_bytes);
        if common_bytes == 0 {
            // CONTINUE, and nothing else.
            begin(&mut message, phase as u8, 0);
            return Outgoing { message, body: Bytes::new() };
        }
        begin(&mut message, phase as u8, field_bytes(common_bytes));
        begin(&mut message, RESPONSE, common_bytes);
        if is_replaced {
            put_short(&mut message, 1, CONTINUE_AND_REPLACE);
        }
        if !headers.is_empty() {
            put(&mut message, 2, &headers);
        }
        if clear_route_cache {
            put_short(&mut message, 5, 1);
        }
        if let Some(body) = &body {
            begin(&mut message, BODY_MUTATION, body_bytes);
            if body.is_empty() {
                put_short(&mut message, 2, 1);
            } else {
                begin(&mut message, 1, body.len());
            }
        }
        Outgoing { message, body: body.unwrap_or_default() }
    }
}

/// The field of an answer with what all answers have in common, and that of its body.
const RESPONSE: u8 = 1;
const BODY_MUTATION: u8 = 3;

/// A status with which a body takes the place of what the client sends.
const CONTINUE_AND_REPLACE: u8 = 1;

/// Room for what is around the changes of an answer.
const ENVELOPE_BYTES: usize = 32;

/// A message that tells `metadata`, with room for an answer of so many bytes.
fn begin_message(metadata: Option<Members>, bytes: usize) -> Vec<u8> {
    let Some(Members { namespace, members }) = metadata else {
        let mut message = Vec::with_capacity(ENVELOPE_BYTES + bytes);
        message.extend_from_slice(&[0; PREFIX_BYTES]);
        return message;
    };
    let value = field_bytes(members.len());
    let entry = field_bytes(namespace.len()) + field_bytes(value);
    let mut message = Vec::with_capacity(2 * ENVELOPE_BYTES + entry + bytes);
    message.extend_from_slice(&[0; PREFIX_BYTES]);
    begin(&mut message, 8, field_bytes(entry));
    begin(&mut message, 1, entry);
    put(&mut message, 1, namespace.as_bytes());
    begin(&mut message, 2, value);
    put(&mut message, 5, &members);
    message
}

/// A piece of a response body; the last one if it `is_end`.
pub fn piece(body: Bytes, is_end: bool, metadata: Option<Members>) -> Outgoing {
    let end = if is_end { SHORT_BYTES } else { 0 };
    let streamed = end + if body.is_empty() { 0 } else { field_bytes(body.len()) };
    let mutation = field_bytes(streamed);
    let common = field_bytes(mutation);
    let mut message = begin_message(metadata, common);
    begin(&mut message, 4, field_bytes(common));
    begin(&mut message, RESPONSE, common);
    begin(&mut message, BODY_MUTATION, mutation);
    begin(&mut message, 3, streamed);
    if is_end {
        put_short(&mut message, 2, 1);
    }
    if !body.is_empty() {
        begin(&mut message, 1, body.len());
    }
    Outgoing { message, body }
}

/// Trailers of a response, as they are.
pub fn trailers() -> Outgoing {
    let mut message = begin_message(None, 0);
    begin(&mut message, 6, 0);
    Outgoing { message, body: Bytes::new() }
}

/// An answer that ends the request with a reply of its own.
#[derive(Debug, Clone, Default)]
pub struct Immediate {
    /// Status code of the reply.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderChanges,
    /// Its body.
    pub body: Bytes,
    /// What Envoy's access log tells of it.
    pub details: String,
}

impl Immediate {
    /// The answer as a message.
    pub fn answer(self) -> Outgoing {
        let Self { status, headers: HeaderChanges(headers), body, details } = self;
        // A status code takes two bytes.
        let status = [1 << 3, (status & 0x7f) as u8 | 0x80, (status >> 7) as u8];
        let body_bytes = if body.is_empty() { 0 } else { field_bytes(body.len()) };
        let before = field_bytes(status.len()) + field_bytes(headers.len()) + field_bytes(details.len());
        let mut message = begin_message(None, before + body_bytes);
        begin(&mut message, 7, before + body_bytes);
        put(&mut message, 1, &status);
        put(&mut message, 2, &headers);
        put(&mut message, 5, details.as_bytes());
        if !body.is_empty() {
            begin(&mut message, 3, body.len());
        }
        Outgoing { message, body }
    }
}

/// What changes in a list of headers (`HeaderMutation`), as it lies on the wire. Envoy first removes, and then sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges(Vec<u8>);

/// How a header is set. The numbers are those of the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Beside others with its name.
    Append = 0,
    /// Instead of all others with its name.
    Overwrite = 2,
}

impl HeaderChanges {
    /// Sets a header.
    pub fn set(&mut self, name: &[u8], value: &[u8], set: Set) {
        let value_bytes = if value.is_empty() { 0 } else { field_bytes(value.len()) };
        let header = field_bytes(name.len()) + value_bytes;
        make_room(&mut self.0, header);
        begin(&mut self.0, 1, field_bytes(header) + if set == Set::Append { 0 } else { SHORT_BYTES });
        begin(&mut self.0, 1, header);
        put(&mut self.0, 1, name);
        if !value.is_empty() {
            put(&mut self.0, 3, value);
        }
        if set != Set::Append {
            put_short(&mut self.0, 3, set as u8);
        }
    }

    /// Removes all headers called `name`.
    pub fn remove(&mut self, name: &[u8]) {
        make_room(&mut self.0, name.len());
        put(&mut self.0, 2, name);
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Room that a list gets with its first entry: most lists fit in.
const LIST_BYTES: usize = 256;

/// Makes room for one more entry of a list, with what is around it.
fn make_room(list: &mut Vec<u8>, bytes: usize) {
    let wanted = bytes + ENVELOPE_BYTES;
    list.reserve(if list.is_empty() { wanted.max(LIST_BYTES) } else { wanted });
}

/// Members of one namespace of dynamic metadata. What is told twice counts as it was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    namespace: &'static str,
    members: Vec<u8>,
}

impl Members {
    /// Nothing, to be told in `namespace`.
    pub fn new(namespace: &'static str) -> Self {
        Self { namespace, members: Vec::new() }
    }

    /// Tells a text.
    pub fn add_text(&mut self, key: &str, text: &str) {
        self.begin(key, field_bytes(text.len()));
        put(&mut self.members, 3, text.as_bytes());
    }

    /// Tells a number.
    pub fn add_number(&mut self, key: &str, number: f64) {
        self.begin(key, DOUBLE_BYTES);
        put_double(&mut self.members, 2, number);
    }

    /// The members, unless there are none.
    pub fn told(self) -> Option<Self> {
        (!self.members.is_empty()).then_some(self)
    }

    fn begin(&mut self, key: &str, value: usize) {
        let entry = field_bytes(key.len()) + field_bytes(value);
        make_room(&mut self.members, entry);
        begin(&mut self.members, 1, entry);
        put(&mut self.members, 1, key.as_bytes());
        begin(&mut self.members, 2, value);
    }
}

#[cfg(test)]
mod tests;
