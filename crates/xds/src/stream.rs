//! One stream of a node: its messages, new sets and time go in, responses come out. It needs no task of its own, and reads no further
//! while its node does not take what is ready.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tollgate_envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node,
};
use tollgate_envoy::grpc::Stopping;
use tonic::{Request, Status, Streaming};

use crate::delta::Delta;
use crate::discovery::{Place, Published};
use crate::status::words;
use crate::walk::{Heard, Subscription, Walk};
use crate::whole::Whole;

/// The responses to one stream.
pub(crate) type Responses<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// What a stream has to know of messages that differ in the two protocols.
pub(crate) trait Messages: Subscription {
    /// Who says it.
    fn node(request: &Self::Request) -> Option<&Node>;
    /// What it says if it rejects something.
    fn error(request: &Self::Request) -> Option<&str>;
    /// What a response is about.
    fn responds_about(response: &Self::Response) -> &str;
    /// Resources in a response, and their bytes.
    fn size(response: &Self::Response) -> (usize, usize);
}

impl Messages for Delta {
    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn error(request: &DeltaDiscoveryRequest) -> Option<&str> {
        request.error_detail.as_ref().map(|status| status.message.as_str())
    }

    fn responds_about(response: &DeltaDiscoveryResponse) -> &str {
        &response.type_url
    }

    fn size(response: &DeltaDiscoveryResponse) -> (usize, usize) {
        let bodies = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
        (response.resources.len(), bodies.map(|body| body.value.len()).sum())
    }
}

impl Messages for Whole {
    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn error(request: &DiscoveryRequest) -> Option<&str> {
        request.error_detail.as_ref().map(|status| status.message.as_str())
    }

    fn responds_about(response: &DiscoveryResponse) -> &str {
        &response.type_url
    }

    fn size(response: &DiscoveryResponse) -> (usize, usize) {
        (response.resources.len(), response.resources.iter().map(|body| body.value.len()).sum())
    }
}

/// A stream at work.
struct Running<S: Subscription> {
    input: Streaming<S::Request>,
    walk: Walk<S>,
    sets: watch::Receiver<Option<Arc<Published>>>,
    stopping: Option<Stopping>,
    place: Place,
}

/// Serves one stream.
pub(crate) fn responses<S>(request: Request<Streaming<S::Request>>, place: Place) -> Responses<S::Response>
where
    S: Messages + Send + 'static,
    S::Request: Send,
    S::Response: Send,
{
    let running = Running::<S> {
        stopping: request.extensions().get().cloned(),
        input: request.into_inner(),
        walk: Walk::new(place.grace()),
        sets: place.sets(),
        place,
    };
    Box::pin(stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        match running.next().await {
            Ok(response) => Some((Ok(response), Some(running))),
            Err(None) => None,
            // The stream ends with it.
            Err(Some(status)) => Some((Err(status), None)),
        }
    }))
}

impl<S: Messages> Running<S> {
    /// The next response. The stream ends with an error, or without when the node ends it.
    async fn next(&mut self) -> Result<S::Response, Option<Status>> {
        loop {
            let now = now();
            let published = self.sets.borrow_and_update().clone();
            if let Some(published) = published {
                let response = self.walk.next(&published.set, now);
                self.place.tell(&self.walk, &published);
                if let Some(response) = response {
                    let (resources, bytes) = S::size(&response);
                    self.place.sent(S::responds_about(&response), resources, bytes);
                    return Ok(response);
                }
            }
            let wakes_at = self.walk.wakes_at(now);
            tokio::select! {
                message = self.input.message() => match message {
                    Ok(Some(request)) => self.take(request)?,
                    Ok(None) | Err(_) => return Err(None),
                },
                changed = self.sets.changed() => if changed.is_err() { return Err(None) },
                () = sleep_until(wakes_at) => {}
                () = stops(&mut self.stopping) => return Err(Some(Status::unavailable("the server stops"))),
            }
        }
    }

    fn take(&mut self, request: S::Request) -> Result<(), Status> {
        if let Some(node) = S::node(&request) {
            self.place.is(node);
        }
        let type_url = S::type_url(&request).to_owned();
        let error = S::error(&request).map(words).unwrap_or_default();
        let heard = self.walk.take(request);
        self.place.heard(&type_url, heard, &error);
        match heard {
            Heard::Wish | Heard::Acceptance | Heard::Stale => Ok(()),
            Heard::Rejection => {
                let node = self.place.node();
                tracing::error!(
                    node,
                    type_url,
                    error,
                    "a node rejects what it was sent, and goes on with what it has"
                );
                Ok(())
            }
            Heard::Excess => Err(Status::resource_exhausted("too many types or names")),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

async fn stops(stopping: &mut Option<Stopping>) {
    match stopping {
        Some(stopping) => stopping.begun().await,
        None => pending().await,
    }
}

/// The clock of the runtime, which tests can move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
