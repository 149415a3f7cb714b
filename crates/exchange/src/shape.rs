//! How a stream reaches the client: as events, or as an array that grows.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tollgate_dialect::{Endpoint, PathFacts, Prefixes};
use tollgate_terms::Delivery;
use tollgate_wire::sse_array::ArrayWriter;

use crate::exchange::RequestHead;
use crate::headers;
use crate::refusal::LocalReply;

/// The form in which a client wants what it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As its dialect says it: a document, or server-sent events.
    Plain,
    /// An array of what would be events. Errors stand in it as well, those before the first element too.
    Array,
}

impl Shape {
    /// The shape that a request asks for, by what its path tells. An API whose path tells the delivery streams events only to those who
    /// say so in the query; `None` where it asks for something else again.
    pub(crate) fn of(head: &RequestHead, told: Option<&PathFacts>) -> Option<Self> {
        if told.is_none_or(|told| told.delivery != Delivery::Stream) {
            return Some(Self::Plain);
        }
        let query = head.query.as_deref().unwrap_or_default();
        match query.split('&').find_map(|pair| pair.strip_prefix("alt=")) {
            Some("sse") => Some(Self::Plain),
            None | Some("json") => Some(Self::Array),
            Some(_) => None,
        }
    }

    /// The same, for a head of which nothing else is known.
    pub(crate) fn of_head(head: &RequestHead) -> Self {
        match tollgate_dialect::endpoint(&head.path, &head.headers, &Prefixes::default()) {
            Some(Endpoint::Operation { told, .. }) => Self::of(head, told.as_ref()).unwrap_or(Self::Plain),
            Some(Endpoint::Models { .. }) | None => Self::Plain,
        }
    }

    /// What the gateway says by itself, in this shape.
    pub(crate) fn reply(self, mut reply: LocalReply) -> LocalReply {
        reply.body = self.document(reply.body);
        reply
    }

    /// A document, in this shape: the only element, if it is an object.
    pub(crate) fn document(self, body: Bytes) -> Bytes {
        match self {
            Self::Array if body.trim_ascii_start().starts_with(b"{") => {
                [b"[", &body[..], b"]"].concat().into()
            }
            Self::Plain | Self::Array => body,
        }
    }

    /// Declares a stream in this shape.
    pub(crate) fn declare_stream(self, headers: &mut HeaderMap) {
        match self {
            Self::Plain => headers::declare_event_stream(headers),
            Self::Array => headers::declare_json(headers),
        }
    }

    /// Writes a stream in this shape.
    pub(crate) fn writer(self) -> StreamWriter {
        match self {
            Self::Plain => StreamWriter::Events,
            Self::Array => StreamWriter::Array(ArrayWriter::default()),
        }
    }
}

/// Writes a stream of events as the client wants it.
#[derive(Debug)]
pub(crate) enum StreamWriter {
    Events,
    Array(ArrayWriter),
}

impl StreamWriter {
    /// More of the stream.
    pub(crate) fn write(&mut self, events: Bytes) -> Bytes {
        match self {
            Self::Events => events,
            Self::Array(writer) => {
                let mut out = BytesMut::with_capacity(events.len());
                writer.push(&events, &mut out);
                out.freeze()
            }
        }
    }

    /// The last bytes of the stream.
    pub(crate) fn finish(&mut self, events: Bytes) -> Bytes {
        match self {
            Self::Events => events,
            Self::Array(writer) => {
                let mut out = BytesMut::with_capacity(events.len() + 1);
                writer.push(&events, &mut out);
                writer.finish(&mut out);
                out.freeze()
            }
        }
    }
}
