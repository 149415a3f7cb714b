//! The request of an attempt, with all that the core asks for on the way.

use tollgate_exchange::{Attempt, ClientRequest, LocalReply, Need, Step, UpstreamRequest};
use tollgate_terms::{Fault, GatewayFault};

use crate::Credentials;

/// The backend of an attempt is not called.
#[derive(Debug)]
pub enum Undispatched {
    /// The client gets this reply instead.
    Replied(Box<LocalReply>),
    /// Another backend may be tried.
    Failed(Fault),
}

/// The request to the backend of `attempt`, made from the client's, with its credential.
///
/// # Errors
/// When the backend must not be called.
pub fn dispatch(
    attempt: &mut Attempt,
    client: &ClientRequest,
    credentials: &Credentials,
) -> Result<UpstreamRequest, Undispatched> {
    let step = match attempt.on_dispatch(client) {
        Step::Ask(Need::Credential { backend, offered }) => {
            attempt.supply(credentials.find(&backend, &offered))
        }
        step => step,
    };
    match step {
        Step::Forward(request) => Ok(request),
        Step::Reply(reply) => Err(Undispatched::Replied(Box::new(reply))),
        Step::Retry(fault) => Err(Undispatched::Failed(fault)),
        // There is nothing to hold or to ask for twice.
        Step::Hold | Step::Ask(_) => Err(Undispatched::Failed(Fault::Gateway(GatewayFault::Internal))),
    }
}
