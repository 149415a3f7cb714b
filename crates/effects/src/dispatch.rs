//! The request of an attempt, with all that the core asks for on the way.

use tollgate_config::bundle::Proof;
use tollgate_exchange::{Answer, Attempt, ClientRequest, LocalReply, Need, Step, UpstreamRequest};
use tollgate_terms::{Fault, GatewayFault};

use crate::credentials::Sought;
use crate::{Awaited, Credentials};

/// How far a dispatch has come.
#[derive(Debug)]
pub enum Dispatched {
    /// To its end.
    Request(UpstreamRequest),
    /// To a credential that is being fetched: [`resume`] goes on with it.
    Awaiting(Awaited),
}

/// The backend of an attempt is not called.
#[derive(Debug)]
pub enum Undispatched {
    /// The client gets this reply instead.
    Replied(Box<LocalReply>),
    /// Another backend may be tried.
    Failed(Fault),
}

/// The request to the backend of `attempt`, made from the client's, with its credential. Waits only for one that has to be fetched.
///
/// # Errors
/// When the backend must not be called.
pub async fn dispatch(
    attempt: &mut Attempt,
    client: &ClientRequest,
    credentials: &Credentials,
) -> Result<UpstreamRequest, Undispatched> {
    match begin(attempt, client, credentials)? {
        Dispatched::Request(request) => Ok(request),
        Dispatched::Awaiting(awaited) => resume(attempt, awaited.proof().await),
    }
}

/// [`dispatch`] as far as it goes without waiting.
///
/// # Errors
/// When the backend must not be called.
pub fn begin(
    attempt: &mut Attempt,
    client: &ClientRequest,
    credentials: &Credentials,
) -> Result<Dispatched, Undispatched> {
    let step = match attempt.on_dispatch(client) {
        Step::Ask(Need::Credential { backend, offered }) => match credentials.find(&backend, &offered) {
            Sought::Known(answer) => attempt.supply(answer),
            Sought::Later(awaited) => return Ok(Dispatched::Awaiting(awaited)),
        },
        step => step,
    };
    request_of(step).map(Dispatched::Request)
}

/// The rest of a dispatch, with what was waited for; `None` if it cannot be had.
///
/// # Errors
/// When the backend must not be called.
pub fn resume(attempt: &mut Attempt, proof: Option<Proof>) -> Result<UpstreamRequest, Undispatched> {
    let answer = proof.map_or(Answer::UnavailableCredential, |proof| Answer::Credential(Some(proof)));
    request_of(attempt.supply(answer))
}

fn request_of(step: Step<UpstreamRequest>) -> Result<UpstreamRequest, Undispatched> {
    match step {
        Step::Forward(request) => Ok(request),
        Step::Reply(reply) => Err(Undispatched::Replied(Box::new(reply))),
        Step::Retry(fault) => Err(Undispatched::Failed(fault)),
        // There is nothing to hold or to ask for twice.
        Step::Hold | Step::Ask(_) => Err(Undispatched::Failed(Fault::Gateway(GatewayFault::Internal))),
    }
}
