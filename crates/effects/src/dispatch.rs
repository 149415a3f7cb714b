//! The request of an attempt, with all that the core asks for on the way.

use tollgate_exchange::{Answer, Attempt, ClientRequest, LocalReply, Need, Step, UpstreamRequest};

use crate::{Secrets, credential};

/// The request to the backend of `attempt`, made from the client's, with its credential.
///
/// # Errors
/// The reply that the client gets instead, when the backend must not be called.
pub fn dispatch(
    attempt: &mut Attempt,
    client: &ClientRequest,
    secrets: &Secrets,
) -> Result<UpstreamRequest, Box<LocalReply>> {
    let mut step = attempt.on_dispatch(client);
    loop {
        step = match step {
            Step::Forward(request) => return Ok(request),
            Step::Reply(reply) => return Err(Box::new(reply)),
            Step::Ask(Need::Credential { credential: wanted, offered }) => {
                let offered = offered.as_ref().map(|offered| offered.0.expose());
                let answer = match credential(secrets, &wanted, offered) {
                    Ok(secret) => Answer::Credential(secret),
                    Err(_) => Answer::MissingCredential,
                };
                attempt.supply(answer)
            }
            // There is nothing to hold or retry before dispatch: `supply` out of order tells the bug.
            Step::Hold | Step::Retry(_) => attempt.supply(Answer::MissingCredential),
        };
    }
}
