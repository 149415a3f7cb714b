//! A server on a Unix socket, and nodes that speak to it.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tollgate_envoy::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tollgate_envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node, Status,
};
use tollgate_envoy::{Any, grpc};
use tollgate_xds::{Discovery, ResourceSet};
use tonic::Streaming;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};

pub(crate) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub(crate) const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Longest wait for what has to come, and how long nothing comes when nothing is to come.
const PATIENCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(100);

/// Long enough that nothing leaves during a test that does not wait for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A server at work.
pub(crate) struct Served {
    pub(crate) discovery: Discovery,
    pub(crate) server: Option<grpc::Server>,
    folder: TempDir,
}

impl Served {
    /// Takes clusters back after `grace`.
    pub(crate) fn new(grace: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let discovery = Discovery::new(grace);
        let server = tollgate_xds::serve(&discovery, &folder.path().join("xds")).unwrap();
        Self { discovery, server: Some(server), folder }
    }

    /// Wants these (type, name, content) from now on.
    pub(crate) fn publish(&self, resources: &[(&str, &str, &str)]) {
        self.discovery.publish(set(resources));
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        let stream = UnixStream::connect(self.folder.path().join("xds")).await.unwrap();
        client(stream).await
    }

    /// A node that speaks the incremental protocol.
    pub(crate) async fn delta(&self) -> Delta {
        let (sender, requests) = requests();
        let client = self.client().await;
        let answered = { client }.delta_aggregated_resources(requests).await;
        Peer { requests: sender, responses: answered.unwrap().into_inner() }
    }

    /// A node that speaks the state-of-the-world protocol.
    pub(crate) async fn whole(&self) -> Whole {
        let (sender, requests) = requests();
        let client = self.client().await;
        let answered = { client }.stream_aggregated_resources(requests).await;
        Peer { requests: sender, responses: answered.unwrap().into_inner() }
    }

    pub(crate) fn socket(&self) -> &Path {
        self.folder.path()
    }
}

pub(crate) fn set(resources: &[(&str, &str, &str)]) -> ResourceSet {
    let mut set = ResourceSet::default();
    for (type_url, name, content) in resources {
        let body = Any { type_url: (*type_url).to_owned(), value: content.as_bytes().to_vec() };
        set.insert(*name, body);
    }
    set
}

/// A client over this connection.
pub(crate) async fn client<I>(stream: I) -> AggregatedDiscoveryServiceClient<Channel>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    AggregatedDiscoveryServiceClient::with_origin(Channel(sender), Uri::from_static("http://xds"))
}

fn requests<T: Send + 'static>() -> (mpsc::Sender<T>, impl Stream<Item = T> + Send) {
    let (sender, receiver) = mpsc::channel(16);
    let requests = stream::unfold(receiver, |mut receiver: mpsc::Receiver<T>| async move {
        receiver.recv().await.map(|request| (request, receiver))
    });
    (sender, requests)
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Channel(http2::SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A node's end of a stream.
pub(crate) struct Peer<Q, P> {
    requests: mpsc::Sender<Q>,
    responses: Streaming<P>,
}

pub(crate) type Delta = Peer<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
pub(crate) type Whole = Peer<DiscoveryRequest, DiscoveryResponse>;

impl<Q, P> Peer<Q, P> {
    pub(crate) async fn say(&self, request: Q) {
        self.requests.send(request).await.ok().unwrap();
    }

    /// What comes next, which must come.
    pub(crate) async fn hear(&mut self) -> P {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.unwrap().unwrap().unwrap()
    }

    /// Whether nothing comes.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(QUIET, self.responses.message()).await.is_err()
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Result<(), tonic::Status> {
        loop {
            match tokio::time::timeout(PATIENCE, self.responses.message()).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}

fn node() -> Node {
    Node { id: "node-1".to_owned(), cluster: "nodes".to_owned(), ..Default::default() }
}

fn no() -> Status {
    Status { code: 13, message: "no such filter".to_owned(), details: Vec::new() }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Delta {
    pub(crate) async fn subscribe(&self, type_url: &str, names: &[&str]) {
        self.reconnect(type_url, names, &[]).await;
    }

    /// Subscribes, and says which versions are there.
    pub(crate) async fn reconnect(&self, type_url: &str, names: &[&str], has: &[(String, String)]) {
        let request = DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: type_url.to_owned(),
            resource_names_subscribe: owned(names),
            initial_resource_versions: has.iter().cloned().collect(),
            ..Default::default()
        };
        self.say(request).await;
    }

    pub(crate) async fn unsubscribe(&self, type_url: &str, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_unsubscribe: owned(names),
            ..Default::default()
        };
        self.say(request).await;
    }

    pub(crate) async fn accept(&self, response: &DeltaDiscoveryResponse) {
        self.answer(response, None).await;
    }

    pub(crate) async fn reject(&self, response: &DeltaDiscoveryResponse) {
        self.answer(response, Some(no())).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error_detail: Option<Status>) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..Default::default()
        };
        self.say(request).await;
    }

    /// Hears and accepts what comes next.
    pub(crate) async fn take(&mut self) -> DeltaDiscoveryResponse {
        let response = self.hear().await;
        self.accept(&response).await;
        response
    }
}

impl Whole {
    pub(crate) async fn subscribe(&self, type_url: &str, names: &[&str]) {
        let request = DiscoveryRequest {
            node: Some(node()),
            type_url: type_url.to_owned(),
            resource_names: owned(names),
            ..Default::default()
        };
        self.say(request).await;
    }

    pub(crate) async fn accept(&self, response: &DiscoveryResponse, names: &[&str]) {
        self.answer(response, names, None).await;
    }

    pub(crate) async fn reject(&self, response: &DiscoveryResponse, names: &[&str]) {
        self.answer(response, names, Some(no())).await;
    }

    async fn answer(&self, response: &DiscoveryResponse, names: &[&str], error_detail: Option<Status>) {
        let request = DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: if error_detail.is_none() { response.version_info.clone() } else { String::new() },
            response_nonce: response.nonce.clone(),
            resource_names: owned(names),
            error_detail,
            ..Default::default()
        };
        self.say(request).await;
    }

    /// Hears and accepts what comes next.
    pub(crate) async fn take(&mut self, names: &[&str]) -> DiscoveryResponse {
        let response = self.hear().await;
        self.accept(&response, names).await;
        response
    }
}

/// Names and contents in a response.
pub(crate) fn told(response: &DeltaDiscoveryResponse) -> Vec<(&str, &str)> {
    response.resources.iter().map(|it| (it.name.as_str(), text(it.resource.as_ref().unwrap()))).collect()
}

fn text(body: &Any) -> &str {
    std::str::from_utf8(&body.value).unwrap()
}

/// Contents in a response.
pub(crate) fn contents(response: &DiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(text).collect()
}

/// The versions in a response, as a node says that it has them.
pub(crate) fn versions(response: &DeltaDiscoveryResponse) -> Vec<(String, String)> {
    response.resources.iter().map(|it| (it.name.clone(), it.version.clone())).collect()
}
