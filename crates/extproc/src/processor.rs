//! What all streams share: the configurations that Envoys may still name, and the exchanges that run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::sync::watch;
use tollgate_config::Snapshot;
use tollgate_effects::quota::Quotas;
use tollgate_effects::{Credentials, Sources};
use tollgate_envoy::processor::{self, Begun, Messages};
use tollgate_telemetry::Telemetry;
use tollgate_terms::FastMap;

use crate::attempt::AttemptSide;
use crate::conversation::{Conversation, Side};
use crate::listener::ListenerSide;
use crate::names;
use crate::running::Running;

/// Most configurations that are kept beside the newest: Envoys that are slow to take a new one still name an old one.
const OLDER_MAX: usize = 63;

/// Longest wait for a configuration that an Envoy names already and that has not come here yet.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// One configuration, ready to serve.
#[derive(Debug)]
pub struct Serving {
    /// Its id, as Envoy's routes name it.
    pub id: String,
    /// What is served.
    pub snapshot: Arc<Snapshot>,
    /// The credentials of its backends.
    pub credentials: Credentials,
}

/// The external processor. Cheap to clone; clones are the same processor.
#[derive(Clone)]
pub struct Processor {
    pub(crate) shared: Arc<Shared>,
}

/// The configurations that Envoys may still name.
struct Kept {
    newest: Arc<Serving>,
    /// Later ones first.
    older: VecDeque<Arc<Serving>>,
}

/// What becomes of a request whose routes name a configuration.
pub(crate) enum Named {
    /// It is served by that one.
    Known(Arc<Serving>),
    /// It is not here. No other one will do: Envoy has routed by it, and the two must not differ.
    Unknown {
        /// By which the refusal is accounted.
        newest: Arc<Serving>,
    },
}

/// What all streams share.
pub(crate) struct Shared {
    kept: ArcSwap<Kept>,
    /// Changes when they do.
    published: watch::Sender<()>,
    /// Exchanges by their id, for the attempts that belong to them.
    exchanges: Mutex<FastMap<Arc<str>, Weak<Running>>>,
    pub(crate) telemetry: Arc<Telemetry>,
    quotas: Quotas,
    /// What a probe says, which nobody else can know.
    pub(crate) probe: Arc<str>,
}

impl Processor {
    /// A processor that serves `serving`.
    pub fn new(serving: Serving, telemetry: Arc<Telemetry>, quotas: Quotas) -> Self {
        let kept = Kept { newest: Arc::new(serving), older: VecDeque::new() };
        let kept = ArcSwap::from_pointee(kept);
        let probe = tollgate_effects::request_id();
        let published = watch::Sender::new(());
        Self {
            shared: Arc::new(Shared {
                kept,
                published,
                exchanges: Mutex::default(),
                telemetry,
                quotas,
                probe,
            }),
        }
    }

    /// Serves `serving` from now on, as soon as an Envoy names it. Best called before Envoy hears of it: requests wait for it, but not long.
    pub fn publish(&self, serving: Serving) {
        let serving = Arc::new(serving);
        self.shared.kept.rcu(|kept| {
            let others = kept.all().filter(|old| old.id != serving.id);
            Kept { newest: Arc::clone(&serving), older: others.take(OLDER_MAX).cloned().collect() }
        });
        self.shared.published.send_replace(());
    }

    /// The newest configuration.
    pub fn newest(&self) -> Arc<Serving> {
        Arc::clone(&self.shared.kept.load().newest)
    }

    /// The value of the header [`names::PROBE`] of a request that is answered with 204 and counts for nothing: whoever runs an Envoy
    /// learns by it whether requests go all the way.
    pub fn probe(&self) -> &str {
        &self.shared.probe
    }

    /// How many exchanges run.
    pub fn running(&self) -> usize {
        self.shared.exchanges().len()
    }

    /// Ends what still runs: streams with an error in their own words, and the rest with a 503.
    pub fn cut(&self) {
        let running: Vec<_> = self.shared.exchanges().values().filter_map(Weak::upgrade).collect();
        for running in running {
            running.listener.cut();
            running.attempt.cut();
        }
    }
}

impl Kept {
    fn all(&self) -> impl Iterator<Item = &Arc<Serving>> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

impl Shared {
    /// The configuration called `id`. One that is not here yet is waited for, since an Envoy may hear of it a moment before this processor.
    async fn named(&self, id: &str) -> Named {
        let mut published = self.published.subscribe();
        let waiting = async {
            loop {
                if let Some(serving) = self.serving(id) {
                    return Some(serving);
                }
                // The sender lives as long as `self` does.
                published.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(BEHIND_MAX, waiting).await {
            Ok(Some(serving)) => Named::Known(serving),
            Ok(None) | Err(_) => {
                tracing::warn!(id, "an Envoy names a configuration that is not here");
                Named::Unknown { newest: Arc::clone(&self.kept.load().newest) }
            }
        }
    }

    /// Where the answers of `serving` come from.
    pub(crate) fn sources<'a>(&'a self, serving: &'a Serving) -> Sources<'a> {
        Sources { credentials: &serving.credentials, quotas: &self.quotas }
    }

    /// What is left of limits.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    fn converse(&self, messages: Messages, side: Side) -> Conversation {
        Conversation::new(messages, side, Arc::clone(&self.telemetry))
    }

    fn serving(&self, id: &str) -> Option<Arc<Serving>> {
        self.kept.load().all().find(|serving| serving.id == id).cloned()
    }

    fn exchanges(&self) -> std::sync::MutexGuard<'_, FastMap<Arc<str>, Weak<Running>>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets attempts find `running`.
    pub(crate) fn enter(&self, id: Arc<str>, running: &Arc<Running>) {
        self.exchanges().insert(id, Arc::downgrade(running));
    }

    /// The exchange called `id`.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Running>> {
        self.exchanges().get(id)?.upgrade()
    }

    /// Forgets the exchange called `id`.
    pub(crate) fn leave(&self, id: &str) {
        self.exchanges().remove(id);
    }
}

impl processor::Processor for Processor {
    type Answers = Conversation;

    fn begin(&self, metadata: &HeaderMap, messages: Messages) -> Begun<Conversation> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        let shared = Arc::clone(&self.shared);
        let Some(id) = text(names::SNAPSHOT) else {
            let side = AttemptSide::new(Arc::clone(&shared));
            return Begun::Now(shared.converse(messages, Side::Attempt(Box::new(side))));
        };
        let listener = text(names::LISTENER).unwrap_or_default().into();
        let access = text(names::ACCESS).map(Into::into);
        let begin = |shared: Arc<Shared>, named| {
            let side = ListenerSide::new(Arc::clone(&shared), named, listener, access);
            shared.converse(messages, Side::Listener(Box::new(side)))
        };
        match shared.serving(id) {
            Some(serving) => Begun::Now(begin(shared, Named::Known(serving))),
            None => {
                let id = id.to_owned();
                Begun::Later(Box::pin(async move {
                    let named = shared.named(&id).await;
                    begin(shared, named)
                }))
            }
        }
    }
}
