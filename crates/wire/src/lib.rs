//! Framings, read as they come: JSON text, server-sent events, the event streams of AWS, content codings, multipart
//! bodies, responses of HTTP/1.1. Beside them numbers as text, which all heads and pointers have.
//!
//! What arrives here is the first thing that strangers control. Nothing trusts a length, nothing recurses, nothing
//! panics, and everything has a limit. No wire language of any vendor is known here.

mod pieces;

pub mod event_stream;
pub mod http1;
pub mod inflate;
pub mod json;
pub mod multipart;
pub mod sse;
pub mod sse_array;

pub use pieces::join;
