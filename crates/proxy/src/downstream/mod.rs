//! Connections of clients that speak HTTP/1.1: requests are read one after the other, answered, and no buffer is held while
//! nothing comes or goes. See `docs/decisions/0007-http1-server-of-our-own.md`.

mod connection;
mod request;
mod response;

pub(crate) use connection::serve;
