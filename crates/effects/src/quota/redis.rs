//! Counters in a Redis, which all gateways see.
//!
//! One script takes claims and one puts them right, each in one round trip; both work once for an attempt, however often they are sent. Needs Redis 6
//! or newer, which evicts no keys: what is evicted is forgotten.

mod link;
mod place;
mod script;
mod settling;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tollgate_policy::quota::{Claim, Decision, OnRefusal, Span, decide};
use tollgate_terms::AttemptId;

use super::StoreFailure;
use super::tally::Tally;
use link::Link;
use script::{Form, Names, Reply, State};

pub(super) use link::Numbered;
pub use place::{RedisPlace, RedisPlaceError};
pub(super) use settling::{Line, Settlement, Settling};

/// How long it may take to connect.
const OPEN_MAX: Duration = Duration::from_secs(1);

/// How long to wait before work is taken up again that has failed within.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How a Redis is used.
#[derive(Debug)]
pub struct RedisSettings {
    /// Where it is.
    pub place: RedisPlace,
    /// Certificates of authorities in PEM, which are trusted instead of those of the machine.
    pub authorities: Option<Vec<u8>>,
    /// How long it may take to say whether something is left.
    pub deadline: Duration,
    /// With what the names of all keys begin, as their hash tag: gateways with one tag share their counters.
    pub tag: String,
    /// How many attempts may wait to be put right.
    pub settlements_max: usize,
}

impl RedisSettings {
    /// The usual ones: 50 ms, and `tollgate`.
    pub fn new(place: RedisPlace) -> Self {
        Self {
            place,
            authorities: None,
            deadline: Duration::from_millis(50),
            tag: "tollgate".to_owned(),
            settlements_max: 65_536,
        }
    }
}

/// Counters in a Redis. A thread of their own connects and settles; it ends when this is dropped.
pub(super) struct Shared {
    link: Arc<Link>,
    names: Arc<Names>,
    deadline: Duration,
    pub(super) settling: Arc<Settling>,
    _end: oneshot::Sender<()>,
}

impl Shared {
    /// Starts the thread. Connects by and by.
    pub(super) fn start(settings: &RedisSettings, tally: Arc<Tally>) -> Result<Self, RedisPlaceError> {
        let opener = settings.place.opener(settings.authorities.as_deref())?;
        let link = Arc::new(Link::new(opener));
        let names = Arc::new(Names::new(&settings.tag));
        let settling = Arc::new(Settling::new(settings.settlements_max, tally));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| RedisPlaceError::Thread(error.to_string()))?;
        let (end, ended) = oneshot::channel::<()>();
        let work = {
            let (link, names, settling) = (Arc::clone(&link), Arc::clone(&names), Arc::clone(&settling));
            move || {
                let keeping = Arc::clone(&link);
                runtime.spawn(supervise("connect", move || {
                    let link = Arc::clone(&keeping);
                    async move { link.keep().await }
                }));
                runtime.spawn(supervise("settle", move || {
                    let (link, names, settling) =
                        (Arc::clone(&link), Arc::clone(&names), Arc::clone(&settling));
                    async move { settling.work(&link, &names).await }
                }));
                // The sender is dropped at the end, and says nothing.
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            }
        };
        std::thread::Builder::new()
            .name("quota".to_owned())
            .spawn(work)
            .map_err(|error| RedisPlaceError::Thread(error.to_string()))?;
        Ok(Self { link, names, deadline: settings.deadline, settling, _end: end })
    }

    /// The connection, if it is worth asking.
    ///
    /// # Errors
    /// If not, why.
    pub(super) fn connection(&self) -> Result<Numbered, StoreFailure> {
        self.link.connection()
    }

    /// Whether it is worth asking.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Waits until it is worth asking.
    pub(super) async fn up(&self) {
        self.link.up().await;
    }

    /// Takes claims. On an error they may have been taken all the same.
    ///
    /// # Errors
    /// If there was no answer in time, or none that says what became of them.
    pub(super) async fn reserve(
        &self,
        used: &Numbered,
        id: Option<&AttemptId>,
        claims: &[Claim],
        spans: &[Span],
        on_refusal: OnRefusal,
    ) -> Result<Decision, StoreFailure> {
        let command = |form| self.names.reserve(form, id, claims, spans, on_refusal);
        let asking = async {
            let mut connection = used.connection.clone();
            match connection.ask(&command(Form::Hash)).await {
                Err(error) if error.kind() == ErrorKind::NoScriptError => {
                    connection.ask(&command(Form::Text)).await
                }
                answered => answered,
            }
        };
        let answered: Result<Value, RedisError> = timeout(self.deadline, asking).await.map_err(|_| {
            self.link.late();
            StoreFailure::Late
        })?;
        let value = answered.map_err(|error| self.link.judge(used, &error))?;
        self.link.well();
        let reply = script::reply(&value).filter(|reply| reply.counts.len() == claims.len());
        let reply = reply.ok_or(StoreFailure::Refused)?;
        Ok(decision(reply, claims, spans, on_refusal))
    }
}

/// What the script has decided, with how the claims stand.
fn decision(reply: Reply, claims: &[Claim], spans: &[Span], on_refusal: OnRefusal) -> Decision {
    let Reply { state, mut counts } = reply;
    if state == State::GrantedBefore {
        for (count, claim) in counts.iter_mut().zip(claims) {
            count.used = count.used.saturating_sub(claim.take);
        }
    }
    let mut decision = decide(claims, spans, &counts, on_refusal);
    match state {
        // The script has the last word; it says the same.
        State::Granted | State::GrantedBefore => decision.refused = None,
        State::Refused => decision.refused = Some(decision.refused.unwrap_or(0)),
    }
    decision
}

/// Does some work for ever, also when it fails within.
async fn supervise<F: Future<Output = ()> + Send + 'static>(name: &'static str, mut work: impl FnMut() -> F) {
    while let Err(error) = tokio::spawn(work()).await {
        if error.is_cancelled() {
            return;
        }
        tracing::error!(name, "work on limits has failed and is taken up again");
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Shared(..)")
    }
}
