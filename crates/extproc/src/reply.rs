//! Replies of the gateway's own, as answers of the processor.

use http::StatusCode;
use tollgate_envoy::processor::{Headers, Immediate, Outgoing};
use tollgate_exchange::LocalReply;

use crate::{headers, names};

/// An answer that ends the request with a reply of the gateway's own.
pub(crate) fn immediate(reply: &LocalReply) -> Outgoing {
    Immediate {
        status: reply.status.as_u16(),
        headers: headers::changes(&Headers::default(), &reply.headers),
        body: reply.body.clone(),
        details: format!("{}_{}", names::REPLY_DETAILS, reply.reason.unwrap_or("answered")),
    }
    .answer()
}

/// The answer to a probe.
pub(crate) fn empty() -> Outgoing {
    let details = format!("{}_probe", names::REPLY_DETAILS);
    Immediate { status: StatusCode::NO_CONTENT.as_u16(), details, ..Immediate::default() }.answer()
}
