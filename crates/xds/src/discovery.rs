//! The service: what is wanted, and every stream that gets it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tollgate_envoy::discovery::aggregated_discovery_service_server::AggregatedDiscoveryService;
use tollgate_envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node,
};
use tonic::{Request, Response, Streaming};

use crate::delta::Delta;
use crate::set::{ResourceSet, Version};
use crate::status::{Counts, NodeStatus, Rejection, Status, TypeCounts};
use crate::stream::{self, Responses};
use crate::walk::{Heard, Subscription, TYPES_MAX, Walk};
use crate::whole::Whole;

/// How long resources stay that others referred to, after the last reference is gone, unless said otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// How many versions are remembered, so that who waits for one hears that a later one was acknowledged.
const HISTORY: usize = 64;

/// The aggregated discovery service. Cheap to clone; clones are the same service.
#[derive(Debug, Clone)]
pub struct Discovery {
    shared: Arc<Shared>,
}

/// A set with its place among all that were published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) set: ResourceSet,
    version: Version,
    number: u64,
}

/// What all streams share.
#[derive(Debug)]
struct Shared {
    grace: Duration,
    sets: watch::Sender<Option<Arc<Published>>>,
    state: Mutex<State>,
    /// Changes when a status does.
    told: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<u64, Known>,
    counts: Counts,
    /// By type URL, at most [`TYPES_MAX`].
    by_type: BTreeMap<String, TypeCounts>,
    /// The last versions that were published, with their numbers.
    history: VecDeque<(Version, u64)>,
    published: u64,
}

/// What is known of one stream.
#[derive(Debug, Default)]
struct Known {
    status: NodeStatus,
    /// The number of the set that the status is about, and of the last one that the node has accepted all of.
    seen: u64,
    acknowledged: u64,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new(GRACE)
    }
}

impl Discovery {
    /// A service that takes clusters, endpoints and secrets back `grace` after a node has accepted all that no longer refers to them.
    pub fn new(grace: Duration) -> Self {
        let shared = Shared {
            grace,
            sets: watch::Sender::new(None),
            state: Mutex::default(),
            told: watch::Sender::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Wants every node to have `set` from now on, and nothing else. Before the first call nodes are told nothing, so that those that have
    /// something from before go on with it.
    pub fn publish(&self, set: ResourceSet) -> Version {
        let version = set.version();
        // Held until the set is there for all, so that sets are numbered in the order in which they come.
        let mut state = self.shared.state();
        if self.shared.sets.borrow().as_ref().is_some_and(|published| published.version == version) {
            return version;
        }
        state.published += 1;
        let number = state.published;
        state.history.retain(|(known, _)| *known != version);
        state.history.push_back((version, number));
        if state.history.len() > HISTORY {
            state.history.pop_front();
        }
        self.shared.sets.send_replace(Some(Arc::new(Published { set, version, number })));
        version
    }

    /// What is wanted, and how far each connected node is.
    pub fn status(&self) -> Status {
        let published = self.shared.sets.borrow().as_ref().map(|published| published.version);
        let state = self.shared.state();
        Status { published, nodes: state.streams.values().map(|known| known.status.clone()).collect() }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// The same by type URL.
    pub fn counts_by_type(&self) -> BTreeMap<String, TypeCounts> {
        self.shared.state().by_type.clone()
    }

    /// Whether some connected node has accepted every resource of the set that has this version, or of one that was published later.
    ///
    /// Every resource means also those that a node never asked for, such as routes that no listener names.
    pub fn is_acknowledged(&self, version: Version) -> bool {
        let state = self.shared.state();
        let Some(&(_, number)) = state.history.iter().find(|(known, _)| *known == version) else {
            return false;
        };
        state.streams.values().any(|known| known.acknowledged >= number)
    }

    /// Completes when [`Discovery::is_acknowledged`] is true.
    pub async fn acknowledged(&self, version: Version) {
        let mut told = self.shared.told.subscribe();
        while !self.is_acknowledged(version) {
            // The sender lives as long as `self` does.
            if told.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until there is a node, and every one has accepted what is wanted now. Ends with what one said that rejected it.
    ///
    /// # Errors
    /// The words of a node that rejected something.
    pub async fn settled(&self) -> Result<(), String> {
        let mut told = self.shared.told.subscribe();
        loop {
            if let Some(settled) = self.shared.state().settled() {
                return settled;
            }
            // The sender lives as long as `self` does.
            if told.changed().await.is_err() {
                return Err("the discovery service has ended".to_owned());
            }
        }
    }

    /// Begins a stream.
    fn place(&self) -> Place {
        let mut state = self.shared.state();
        state.counts.streams += 1;
        let number = state.counts.streams;
        state.streams.insert(number, Known::default());
        drop(state);
        Place { shared: Arc::clone(&self.shared), number }
    }
}

impl State {
    /// Whether every node has accepted the set that was published last; `None` when that is not known yet.
    fn settled(&self) -> Option<Result<(), String>> {
        let about_it = self.streams.values().filter(|known| known.seen == self.published);
        let mut types = about_it.flat_map(|known| known.status.types.values());
        if let Some(error) = types.find_map(|status| status.error.clone()) {
            return Some(Err(error));
        }
        let have_it = self.streams.values().all(|known| known.acknowledged == self.published);
        (self.published > 0 && !self.streams.is_empty() && have_it).then_some(Ok(()))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream among all. Dropping it ends the stream's status.
pub(crate) struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Place {
    pub(crate) fn grace(&self) -> Duration {
        self.shared.grace
    }

    /// What is wanted, now and later.
    pub(crate) fn sets(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.shared.sets.subscribe()
    }

    /// Notes who is at the other end.
    pub(crate) fn is(&self, node: &Node) {
        if let Some(known) = self.shared.state().streams.get_mut(&self.number) {
            known.status.node.clone_from(&node.id);
            known.status.cluster.clone_from(&node.cluster);
        }
    }

    /// The id of the node at the other end.
    pub(crate) fn node(&self) -> String {
        let state = self.shared.state();
        state.streams.get(&self.number).map(|known| known.status.node.clone()).unwrap_or_default()
    }

    /// Notes what a node said of a type; `error` is what it says if it rejects something.
    pub(crate) fn heard(&self, type_url: &str, heard: Heard, error: &str) {
        let mut state = self.shared.state();
        let State { counts, by_type, streams, .. } = &mut *state;
        let mut of_type = by_type.get_mut(type_url);
        match heard {
            Heard::Acceptance => {
                counts.acceptances += 1;
                of_type.iter_mut().for_each(|of_type| of_type.acceptances += 1);
            }
            Heard::Rejection => {
                counts.rejections += 1;
                of_type.iter_mut().for_each(|of_type| of_type.rejections += 1);
                if let Some(known) = streams.get_mut(&self.number) {
                    let (type_url, error) = (type_url.to_owned(), error.to_owned());
                    known.status.last_rejection = Some(Rejection { type_url, error });
                }
            }
            Heard::Stale => counts.stale += 1,
            Heard::Wish | Heard::Excess => {}
        }
    }

    /// Notes how far the stream is.
    pub(crate) fn tell<S: Subscription>(&self, walk: &Walk<S>, published: &Published) {
        let types = walk.status(&published.set);
        let has_all = walk.has(&published.set);
        let mut state = self.shared.state();
        let Some(known) = state.streams.get_mut(&self.number) else { return };
        let is_new = has_all && known.acknowledged != published.number;
        if known.seen == published.number && known.status.types == types && !is_new {
            return;
        }
        known.seen = published.number;
        known.status.types = types;
        if has_all {
            known.acknowledged = published.number;
            known.status.acknowledged = Some(published.version);
        }
        drop(state);
        self.shared.told.send_replace(());
    }

    /// Counts a response of a type.
    pub(crate) fn sent(&self, type_url: &str, resources: usize, bytes: usize) {
        let mut state = self.shared.state();
        let State { counts, by_type, .. } = &mut *state;
        if by_type.len() < TYPES_MAX || by_type.contains_key(type_url) {
            let of_type = by_type.entry(type_url.to_owned()).or_default();
            of_type.responses += 1;
            of_type.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        }
        counts.responses += 1;
        counts.resources += u64::try_from(resources).unwrap_or(u64::MAX);
        counts.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.state().streams.remove(&self.number);
        self.shared.told.send_replace(());
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, tonic::Status> {
        Ok(Response::new(stream::responses::<Whole>(request, self.place())))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, tonic::Status> {
        Ok(Response::new(stream::responses::<Delta>(request, self.place())))
    }
}
