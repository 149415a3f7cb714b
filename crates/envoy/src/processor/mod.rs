//! The service of the external processor with messages of its own: as they lie on the wire, without a value for each of their parts.
//!
//! Envoy asks six times for each request, mostly with lists of headers, of which few are looked at. To make values of all of them takes a third of
//! the time that a processor needs that changes nothing. The types made from the definitions ([`crate::processing`]) are what
//! these messages are tested against.

mod incoming;
mod outgoing;
mod server;

pub use crate::protobuf::Malformed;
pub use incoming::{Asked, Body, Head, Header, Headers, Incoming};
pub use outgoing::{HeaderChanges, Immediate, Members, Onward, Outgoing, Phase, Set, piece, trailers};
pub use server::{Begun, Messages, Processor, Server};
