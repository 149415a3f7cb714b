//! What all streams share: the configurations that Envoys may still name, and the exchanges that run.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tollgate_config::Snapshot;
use tollgate_effects::Secrets;
use tollgate_envoy::processing::ProcessingRequest;
use tollgate_envoy::processing::external_processor_server::ExternalProcessor;
use tollgate_telemetry::Telemetry;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::attempt::AttemptSide;
use crate::conversation::{Conversation, Side};
use crate::listener::ListenerSide;
use crate::names;
use crate::running::Running;

/// Most configurations that are kept: Envoys that are slow to take a new one still name an old one.
const SNAPSHOTS_MAX: usize = 16;

/// One configuration, ready to serve.
#[derive(Debug)]
pub struct Serving {
    /// Its id, as Envoy's routes name it.
    pub id: String,
    /// What is served.
    pub snapshot: Arc<Snapshot>,
    /// The credentials of its backends.
    pub secrets: Secrets,
}

/// The external processor. Cheap to clone; clones are the same processor.
#[derive(Clone)]
pub struct Processor {
    pub(crate) shared: Arc<Shared>,
}

/// What all streams share.
pub(crate) struct Shared {
    /// The newest first. Never empty.
    snapshots: ArcSwap<VecDeque<Arc<Serving>>>,
    /// Exchanges by their id, for the attempts that belong to them.
    exchanges: Mutex<HashMap<Arc<str>, Weak<Running>>>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// What a probe says, which nobody else can know.
    pub(crate) probe: Arc<str>,
}

impl Processor {
    /// A processor that serves `serving`.
    pub fn new(serving: Serving, telemetry: Arc<Telemetry>) -> Self {
        let snapshots = ArcSwap::from_pointee(VecDeque::from([Arc::new(serving)]));
        let probe = tollgate_effects::request_id();
        Self { shared: Arc::new(Shared { snapshots, exchanges: Mutex::default(), telemetry, probe }) }
    }

    /// Serves `serving` from now on, as soon as an Envoy names it. To be called before Envoy hears of it.
    pub fn publish(&self, serving: Serving) {
        let serving = Arc::new(serving);
        self.shared.snapshots.rcu(|known| {
            let mut known: VecDeque<_> = known.iter().filter(|old| old.id != serving.id).cloned().collect();
            known.push_front(Arc::clone(&serving));
            known.truncate(SNAPSHOTS_MAX);
            known
        });
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

    fn side(&self, metadata: &MetadataMap) -> Side {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        match text(names::SNAPSHOT) {
            Some(id) => {
                let serving = self.shared.serving(id);
                let listener = text(names::LISTENER).unwrap_or_default().into();
                Side::Listener(Box::new(ListenerSide::new(Arc::clone(&self.shared), serving, listener)))
            }
            None => Side::Attempt(Box::new(AttemptSide::new(Arc::clone(&self.shared)))),
        }
    }
}

impl Shared {
    /// The configuration called `id`, else the newest: better served by it than not at all.
    fn serving(&self, id: &str) -> Option<Arc<Serving>> {
        let snapshots = self.snapshots.load();
        let found = snapshots.iter().find(|serving| serving.id == id);
        if found.is_none() {
            tracing::warn!(id, "an Envoy names a configuration that is not kept any more");
        }
        found.or_else(|| snapshots.front()).cloned()
    }

    fn exchanges(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Weak<Running>>> {
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

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Conversation;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let side = self.side(request.metadata());
        let telemetry = Arc::clone(&self.shared.telemetry);
        Ok(Response::new(Conversation::new(request.into_inner(), side, telemetry)))
    }
}
