//! Two services at one place.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};

/// Two services, told apart by the path of a call.
#[derive(Debug, Clone)]
pub struct Both<N, O> {
    /// The full name of one, such as `grpc.health.v1.Health`.
    pub name: &'static str,
    /// The service of that name.
    pub named: N,
    /// The one that gets all other calls.
    pub other: O,
}

/// What is made of a call.
type Answer = BoxFuture<Response<Body>, Infallible>;

impl<B, N, O> Service<Request<B>> for Both<N, O>
where
    N: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = Answer>,
    O: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = Answer>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Services that are made by tonic never wait.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let path = request.uri().path();
        if path.strip_prefix('/').is_some_and(|path| path.starts_with(self.name)) {
            self.named.call(request)
        } else {
            self.other.call(request)
        }
    }
}
