//! An attempt with what it has taken of limits: its request is made with all that the core asks for on the way, and what it took is settled at its
//! end.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use tollgate_config::bundle::Proof;
use tollgate_exchange::{
    Admission, Answer, Attempt, Chance, ClientRequest, Ending, LocalReply, Need, Receive, Record,
    ResponseHead, Step, UpstreamRequest,
};
use tollgate_terms::{Fault, GatewayFault};

use crate::credentials::Sought;
use crate::quota::{Asked, Quotas, Reservation, Reserved, Reserving};
use crate::{Awaited, Credentials, admit, clock};

/// Where answers come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What proves the gateway to backends.
    pub credentials: &'a Credentials,
    /// What is left of limits.
    pub quotas: &'a Quotas,
}

/// How far a dispatch has come.
#[derive(Debug)]
pub enum Dispatched {
    /// To its end.
    Request(UpstreamRequest),
    /// To something that has to be waited for: [`Tried::resume`] goes on with it.
    Awaiting(Awaiting),
}

/// What a dispatch waits for.
pub struct Awaiting(Waiting);

enum Waiting {
    Credential(Awaited),
    Quota(Asked),
}

/// What a dispatch has waited for.
pub struct Arrived(Waited);

enum Waited {
    /// The credential, if it can be had.
    Credential(Option<Proof>),
    Quota(Reserved),
}

/// The backend of an attempt is not called.
#[derive(Debug)]
pub enum Undispatched {
    /// The client gets this reply instead.
    Replied(Box<LocalReply>),
    /// Another backend may be tried.
    Failed(Fault),
}

/// An attempt, and what it has taken of limits.
pub struct Tried {
    attempt: Attempt,
    reservation: Option<Reservation>,
    /// Where its credential came from, unless the request brought one.
    credentials: Option<Credentials>,
}

impl Tried {
    /// An attempt that has taken nothing yet.
    pub fn new(attempt: Attempt) -> Self {
        Self { attempt, reservation: None, credentials: None }
    }

    /// The request to the backend, made from the client's, with its credential. Waits only for what has to be fetched or asked elsewhere.
    ///
    /// # Errors
    /// When the backend must not be called.
    pub async fn dispatch(
        &mut self,
        client: &ClientRequest,
        admission: Admission,
        sources: Sources<'_>,
    ) -> Result<UpstreamRequest, Undispatched> {
        let mut dispatched = self.begin(client, admission, sources)?;
        loop {
            match dispatched {
                Dispatched::Request(request) => return Ok(request),
                Dispatched::Awaiting(awaiting) => {
                    dispatched = self.resume(awaiting.arrived().await, sources)?;
                }
            }
        }
    }

    /// [`Tried::dispatch`] as far as it goes without waiting.
    ///
    /// # Errors
    /// When the backend must not be called.
    pub fn begin(
        &mut self,
        client: &ClientRequest,
        admission: Admission,
        sources: Sources<'_>,
    ) -> Result<Dispatched, Undispatched> {
        let step = self.attempt.on_dispatch(client, admission);
        self.go_on(step, sources)
    }

    /// The rest of a dispatch, with what was waited for, as far as it goes without waiting again.
    ///
    /// # Errors
    /// When the backend must not be called.
    pub fn resume(
        &mut self,
        Arrived(waited): Arrived,
        sources: Sources<'_>,
    ) -> Result<Dispatched, Undispatched> {
        let step = match waited {
            Waited::Credential(proof) => {
                let missing = Answer::UnavailableCredential;
                self.attempt.supply(proof.map_or(missing, |proof| Answer::Credential(Some(proof))))
            }
            Waited::Quota(reserved) => self.take(reserved),
        };
        self.go_on(step, sources)
    }

    /// Whether limits have let it in.
    pub fn is_admitted(&self) -> bool {
        self.reservation.is_some()
    }

    /// [`Attempt::on_response_head`]. A credential that the backend does not take is fetched anew soon, for those who come after: a token may have been
    /// revoked ahead of its end.
    pub fn on_response_head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        chance: Chance,
    ) -> Step<(ResponseHead, Receive)> {
        if status == StatusCode::UNAUTHORIZED
            && let (Some(credentials), Some(target)) = (&self.credentials, self.attempt.target())
        {
            credentials.doubt(&target.backend);
        }
        self.attempt.on_response_head(status, headers, chance)
    }

    /// The fact sheet of the attempt, once it is over: by it, what was taken of limits is settled.
    pub fn finish(self, ending: Ending, now: Instant) -> Option<Record> {
        let record = self.attempt.finish(ending, now)?;
        if let Some(reservation) = self.reservation {
            let began = clock::at(record.facts.started_at_ms);
            let now = began.checked_add(record.duration).unwrap_or(began);
            reservation.settle(record.charges.iter().map(|charge| charge.used), now);
        }
        Some(record)
    }

    /// Answers what is asked until nothing is.
    fn go_on(
        &mut self,
        mut step: Step<UpstreamRequest>,
        sources: Sources<'_>,
    ) -> Result<Dispatched, Undispatched> {
        loop {
            step = match step {
                Step::Forward(request) => return Ok(Dispatched::Request(request)),
                Step::Reply(reply) => return Err(Undispatched::Replied(Box::new(reply))),
                Step::Retry(fault) => return Err(Undispatched::Failed(fault)),
                // There is nothing to hold.
                Step::Hold => return Err(Undispatched::Failed(Fault::Gateway(GatewayFault::Internal))),
                Step::Ask(Need::Quota { id, claims }) => {
                    let now = clock::at(self.attempt.started_at_ms());
                    match sources.quotas.reserve(id, claims, now) {
                        Reserving::Now(reserved) => self.take(reserved),
                        Reserving::Later(asked) => {
                            return Ok(Dispatched::Awaiting(Awaiting(Waiting::Quota(asked))));
                        }
                    }
                }
                Step::Ask(Need::Credential { backend, offered }) => {
                    let is_own = offered.iter().any(Option::is_some);
                    self.credentials = (!is_own).then(|| sources.credentials.clone());
                    match sources.credentials.find(&backend, &offered) {
                        Sought::Known(answer) => self.attempt.supply(answer),
                        Sought::Later(awaited) => {
                            return Ok(Dispatched::Awaiting(Awaiting(Waiting::Credential(awaited))));
                        }
                    }
                }
            }
        }
    }

    /// Tells the attempt what became of its claims, and keeps what was taken.
    fn take(&mut self, reserved: Reserved) -> Step<UpstreamRequest> {
        let goes_on = |step: &Step<_>| !matches!(step, Step::Reply(_) | Step::Retry(_));
        let (step, kept) = admit::tell(reserved, |answer| self.attempt.supply(answer), goes_on);
        self.reservation = kept;
        step
    }
}

impl Deref for Tried {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

impl DerefMut for Tried {
    fn deref_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }
}

impl Awaiting {
    /// Waits for it, not without end.
    pub async fn arrived(self) -> Arrived {
        Arrived(match self.0 {
            Waiting::Credential(awaited) => Waited::Credential(awaited.proof().await),
            Waiting::Quota(asked) => Waited::Quota(asked.reserved().await),
        })
    }
}

impl fmt::Debug for Awaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Awaiting(..)")
    }
}
