//! One stream of an Envoy: its messages and new sets go in, responses come out. It needs no task of its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{FutureExt, Stream, future::BoxFuture};
use tokio::sync::watch;
use tollgate_envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node,
};
use tonic::{Status, Streaming};

use crate::discovery::Shared;
use crate::set::ResourceSet;
use crate::status::TypeStatus;
use crate::{delta, whole};

/// What the two protocols have in common.
pub trait Protocol: Default + Send + Unpin + 'static {
    /// What an Envoy says.
    type Request: Send + 'static;
    /// What it is told.
    type Response: Send + 'static;

    /// Takes a message.
    fn take(&mut self, request: Self::Request);
    /// The next response, if one is due.
    fn next(&mut self, set: &ResourceSet) -> Option<Self::Response>;
    /// How far the Envoy is.
    fn status(&self, set: &ResourceSet) -> BTreeMap<String, TypeStatus>;
    /// Who says it, and whether it rejects something.
    fn envelope(request: &Self::Request) -> (Option<&Node>, Option<&str>);
    /// Resources in a response, and their bytes.
    fn size(response: &Self::Response) -> (usize, usize);
}

impl Protocol for delta::Session {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn take(&mut self, request: Self::Request) {
        self.take(request);
    }

    fn next(&mut self, set: &ResourceSet) -> Option<Self::Response> {
        self.next(set)
    }

    fn status(&self, set: &ResourceSet) -> BTreeMap<String, TypeStatus> {
        self.status(set)
    }

    fn envelope(request: &Self::Request) -> (Option<&Node>, Option<&str>) {
        (request.node.as_ref(), request.error_detail.as_ref().map(|status| status.message.as_str()))
    }

    fn size(response: &Self::Response) -> (usize, usize) {
        let bodies = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
        (response.resources.len(), bodies.map(|body| body.value.len()).sum())
    }
}

impl Protocol for whole::Session {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn take(&mut self, request: Self::Request) {
        self.take(request);
    }

    fn next(&mut self, set: &ResourceSet) -> Option<Self::Response> {
        self.next(set)
    }

    fn status(&self, set: &ResourceSet) -> BTreeMap<String, TypeStatus> {
        self.status(set)
    }

    fn envelope(request: &Self::Request) -> (Option<&Node>, Option<&str>) {
        (request.node.as_ref(), request.error_detail.as_ref().map(|status| status.message.as_str()))
    }

    fn size(response: &Self::Response) -> (usize, usize) {
        (response.resources.len(), response.resources.iter().map(|body| body.value.len()).sum())
    }
}

/// The responses to one stream.
pub struct Responses<P: Protocol> {
    input: Streaming<P::Request>,
    session: P,
    set: Arc<ResourceSet>,
    /// Waits for the next set.
    change: BoxFuture<'static, Option<watch::Receiver<Arc<ResourceSet>>>>,
    shared: Arc<Shared>,
    number: u64,
}

impl<P: Protocol> Responses<P> {
    pub(crate) fn new(input: Streaming<P::Request>, shared: Arc<Shared>) -> Self {
        let mut sets = shared.sets.subscribe();
        let set = Arc::clone(&sets.borrow_and_update());
        let number = shared.enter();
        Self { input, session: P::default(), set, change: next_set(sets), shared, number }
    }

    /// Takes in what has come; false when the stream is over.
    fn take_in(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(changed) = self.change.poll_unpin(context) {
            let Some(mut sets) = changed else { return false };
            self.set = Arc::clone(&sets.borrow_and_update());
            self.change = next_set(sets);
        }
        while let Poll::Ready(message) = Pin::new(&mut self.input).poll_next(context) {
            let Some(Ok(request)) = message else { return false };
            let (node, error) = P::envelope(&request);
            self.shared.heard(self.number, node, error);
            self.session.take(request);
        }
        true
    }
}

fn next_set(
    mut sets: watch::Receiver<Arc<ResourceSet>>,
) -> BoxFuture<'static, Option<watch::Receiver<Arc<ResourceSet>>>> {
    Box::pin(async move { sets.changed().await.is_ok().then_some(sets) })
}

impl<P: Protocol> Stream for Responses<P> {
    type Item = Result<P::Response, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.take_in(context) {
            return Poll::Ready(None);
        }
        let response = this.session.next(&this.set);
        this.shared.tell(this.number, this.session.status(&this.set), &this.set);
        match response {
            Some(response) => {
                let (resources, bytes) = P::size(&response);
                this.shared.sent(resources, bytes);
                Poll::Ready(Some(Ok(response)))
            }
            None => Poll::Pending,
        }
    }
}

impl<P: Protocol> Drop for Responses<P> {
    fn drop(&mut self) {
        self.shared.leave(self.number);
    }
}
