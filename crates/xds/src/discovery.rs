//! The service: what is wanted, and every stream that gets it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tollgate_envoy::discovery::Node;
use tollgate_envoy::discovery::aggregated_discovery_service_server::AggregatedDiscoveryService;
use tollgate_envoy::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use tonic::{Request, Response, Streaming};

use crate::order::CLUSTER;
use crate::set::ResourceSet;
use crate::status::{Counts, Status, TypeStatus};
use crate::stream::Responses;
use crate::{delta, whole};

/// The aggregated discovery service. Cheap to clone; clones are the same service.
#[derive(Debug, Clone)]
pub struct Discovery {
    shared: Arc<Shared>,
}

/// What all streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sets: watch::Sender<Arc<ResourceSet>>,
    streams: Mutex<Streams>,
    /// Changes when a status does.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    by_number: BTreeMap<u64, (Status, Option<Arc<ResourceSet>>)>,
    counts: Counts,
}

impl Default for Discovery {
    fn default() -> Self {
        let shared = Shared {
            sets: watch::Sender::new(Arc::default()),
            streams: Mutex::default(),
            told: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Discovery {
    /// Wants Envoys to have exactly `set` from now on, but for clusters: those of before stay until [`Discovery::prune`], since requests on
    /// their way may still be going to them.
    pub fn publish(&self, mut set: ResourceSet) {
        set.keep(&self.shared.sets.borrow(), CLUSTER);
        self.shared.sets.send_replace(Arc::new(set));
    }

    /// Takes away the clusters that are not in `set`, which was published last.
    pub fn prune(&self, set: ResourceSet) {
        self.shared.sets.send_replace(Arc::new(set));
    }

    /// The streams at the moment.
    pub fn streams(&self) -> Vec<Status> {
        self.shared.streams().by_number.values().map(|(status, _)| status.clone()).collect()
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        self.shared.streams().counts
    }

    /// Waits until there is an Envoy, and every one has taken what is wanted now. Ends with what one said that rejected it.
    ///
    /// # Errors
    /// The words of an Envoy that rejected something.
    pub async fn settled(&self) -> Result<(), String> {
        let mut told = self.shared.told.subscribe();
        loop {
            told.mark_unchanged();
            let wanted = Arc::clone(&self.shared.sets.borrow());
            {
                let streams = self.shared.streams();
                let known = || streams.by_number.values();
                let rejected = known().flat_map(|(status, _)| status.types.values());
                if let Some(error) = rejected.filter_map(|status| status.error.clone()).next() {
                    return Err(error);
                }
                let has = |set: &Option<Arc<ResourceSet>>| {
                    set.as_ref().is_some_and(|set| Arc::ptr_eq(set, &wanted))
                };
                if known().len() > 0 && known().all(|(status, set)| status.in_sync() && has(set)) {
                    return Ok(());
                }
            }
            // The sender lives as long as `self` does.
            if told.changed().await.is_err() {
                return Err("the discovery service has ended".to_owned());
            }
        }
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a stream in.
    pub(crate) fn enter(&self) -> u64 {
        let mut streams = self.streams();
        streams.next += 1;
        let number = streams.next;
        streams.by_number.insert(number, Default::default());
        number
    }

    /// Notes who is at the other end, and what it rejects.
    pub(crate) fn heard(&self, number: u64, node: Option<&Node>, error: Option<&str>) {
        let mut streams = self.streams();
        if let Some((status, _)) = streams.by_number.get_mut(&number)
            && let Some(node) = node
        {
            status.node.clone_from(&node.id);
        }
        if let Some(error) = error {
            streams.counts.rejections += 1;
            tracing::error!(error, "an Envoy rejects what it was sent, and serves on with what it has");
        }
    }

    /// Notes how far a stream is with `set`.
    pub(crate) fn tell(&self, number: u64, types: BTreeMap<String, TypeStatus>, set: &Arc<ResourceSet>) {
        let mut streams = self.streams();
        let Some((status, known)) = streams.by_number.get_mut(&number) else { return };
        let is_news = status.types != types || !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, set));
        status.types = types;
        *known = Some(Arc::clone(set));
        drop(streams);
        if is_news {
            self.told.send_modify(|count| *count += 1);
        }
    }

    /// Counts a response.
    pub(crate) fn sent(&self, resources: usize, bytes: usize) {
        let mut streams = self.streams();
        streams.counts.responses += 1;
        streams.counts.resources += resources as u64;
        streams.counts.bytes += bytes as u64;
    }

    /// Forgets a stream.
    pub(crate) fn leave(&self, number: u64) {
        self.streams().by_number.remove(&number);
        self.told.send_modify(|count| *count += 1);
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Responses<whole::Session>;
    type DeltaAggregatedResourcesStream = Responses<delta::Session>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, tonic::Status> {
        Ok(Response::new(Responses::new(request.into_inner(), Arc::clone(&self.shared))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, tonic::Status> {
        Ok(Response::new(Responses::new(request.into_inner(), Arc::clone(&self.shared))))
    }
}
