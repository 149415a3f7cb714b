//! The service as gRPC: what Envoy sends becomes messages, and the answers that are ready together leave together.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{BoxFuture, Service};

use super::outgoing::PREFIX_BYTES;
use super::{Incoming, Outgoing};

/// The one method of the service.
const PATH: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// When answers that are ready are sent before further ones.
const TOGETHER_BYTES_MAX: usize = 32 << 10;

/// For how many bytes there is room because a message says that it has them. For more there is when they come.
const TRUSTED_BYTES: usize = 1 << 20;

/// Who answers.
pub trait Processor: Clone + Send + 'static {
    /// The answers of one call. When they end, the call does.
    type Answers: Stream<Item = Result<Outgoing, Status>> + Unpin + Send + 'static;

    /// Begins a call with this metadata, about these messages.
    fn begin(&self, metadata: &HeaderMap, messages: Messages) -> Begun<Self::Answers>;
}

/// A call that has begun.
pub enum Begun<A> {
    /// It is answered.
    Now(A),
    /// It is answered when something is there.
    Later(Pin<Box<dyn Future<Output = A> + Send>>),
}

/// An external processor, served.
#[derive(Debug, Clone)]
pub struct Server<P> {
    /// Who answers.
    pub processor: P,
    /// Largest message of Envoy's.
    pub message_bytes_max: usize,
}

impl<P: Processor> Service<Request<hyper::body::Incoming>> for Server<P> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let (head, body) = request.into_parts();
        let messages = Messages::new(body, self.message_bytes_max);
        match self.processor.begin(&head.headers, messages) {
            Begun::Now(answers) => Box::pin(std::future::ready(Ok(response(answers)))),
            Begun::Later(answers) => Box::pin(async { Ok(response(answers.await)) }),
        }
    }
}

fn response<A>(answers: A) -> Response<Body>
where
    A: Stream<Item = Result<Outgoing, Status>> + Unpin + Send + 'static,
{
    let mut response = Response::new(Body::new(Answered { answers, end: End::Open }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The messages of a call, in the order in which they come.
#[derive(Debug)]
pub struct Messages<B = hyper::body::Incoming> {
    body: B,
    message_bytes_max: usize,
    /// What has come last, as far as it has not been read.
    chunk: Bytes,
    /// The beginning of a message whose end has not come. Nothing is in `chunk` then.
    partial: BytesMut,
}

impl<B: HttpBody<Data = Bytes> + Unpin> Messages<B> {
    fn new(body: B, message_bytes_max: usize) -> Self {
        Self { body, message_bytes_max, chunk: Bytes::new(), partial: BytesMut::new() }
    }

    /// The next message; `None` when there is no other one, or Envoy has let go of the call.
    ///
    /// # Errors
    /// When it is too large, or cannot be read. No other one follows.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Incoming, Status>>> {
        loop {
            if let Some(message) = self.take()? {
                let read = Incoming::decode(message);
                return Poll::Ready(Some(read.map_err(|malformed| Status::internal(malformed.to_string()))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None if self.partial.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(Status::internal("half a message")))),
                Some(Err(_)) => return Poll::Ready(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if self.partial.is_empty() => self.chunk = data,
                    Ok(data) => self.partial.extend_from_slice(&data),
                    // Trailers say nothing that matters here.
                    Err(_) => {}
                },
            }
        }
    }

    /// Takes the next message that is there as a whole.
    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let there: &[u8] = if self.partial.is_empty() { &self.chunk } else { &self.partial };
        let Some((&[flag, a, b, c, d], rest)) = there.split_first_chunk::<PREFIX_BYTES>() else {
            self.hold(PREFIX_BYTES);
            return Ok(None);
        };
        let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
        if flag != 0 {
            return Err(Status::unimplemented("messages are not compressed here"));
        }
        if bytes > self.message_bytes_max {
            return Err(Status::out_of_range(format!("{bytes} bytes are too many for a message")));
        }
        let Some(message) = rest.get(..bytes) else {
            self.hold(PREFIX_BYTES + bytes);
            return Ok(None);
        };
        if self.partial.is_empty() {
            // A copy, since messages live as long as their exchange, and what they came in is much larger.
            let message = Bytes::copy_from_slice(message);
            self.chunk.advance(PREFIX_BYTES + bytes);
            return Ok(Some(message));
        }
        self.partial.advance(PREFIX_BYTES);
        let message = self.partial.split_to(bytes).freeze();
        self.chunk = self.partial.split().freeze();
        Ok(Some(message))
    }

    /// Holds what is there until so many bytes are.
    fn hold(&mut self, bytes: usize) {
        if !self.chunk.is_empty() {
            self.partial.reserve(bytes.min(TRUSTED_BYTES));
            self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
        }
    }
}

/// The answers of a call, as the body of its response.
struct Answered<A> {
    answers: A,
    end: End,
}

/// Whether the answers have ended.
enum End {
    Open,
    /// How; what came before is sent already.
    Known(Status),
    Said,
}

impl<A: Stream<Item = Result<Outgoing, Status>> + Unpin> HttpBody for Answered<A> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut together = Vec::new();
        while matches!(self.end, End::Open) && together.len() < TOGETHER_BYTES_MAX {
            match Pin::new(&mut self.answers).poll_next(context) {
                Poll::Ready(Some(Ok(answer))) => answer.write(&mut together),
                Poll::Ready(Some(Err(status))) => self.end = End::Known(status),
                Poll::Ready(None) => self.end = End::Known(Status::ok("")),
                Poll::Pending if together.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !together.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(together.into()))));
        }
        let End::Known(status) = std::mem::replace(&mut self.end, End::Said) else {
            return Poll::Ready(None);
        };
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // What it says is no text for a header.
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests;
