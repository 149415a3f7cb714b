//! An external processor that answers every message with CONTINUE: what one would cost that does nothing.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tollgate_envoy::grpc;
use tollgate_envoy::processing::body_mutation::Mutation;
use tollgate_envoy::processing::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use tollgate_envoy::processing::processing_request::Request as Asked;
use tollgate_envoy::processing::processing_response::Response as Answered;
use tollgate_envoy::processing::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, HttpBody, ProcessingRequest,
    ProcessingResponse, StreamedBodyResponse, TrailersResponse,
};
use tonic::{Request, Response, Status, Streaming};

/// Serves it on a Unix socket, on one thread, until the server is dropped. Bodies of requests are expected buffered, and those of
/// responses streamed in full duplex, where CONTINUE is to send each piece back as it is.
///
/// # Errors
/// When the socket cannot be bound.
pub fn serve(path: &Path) -> io::Result<grpc::Server> {
    grpc::serve(&ExternalProcessorServer::new(Continuing), path, "continuing", 1)
}

#[derive(Clone)]
struct Continuing;

#[tonic::async_trait]
impl ExternalProcessor for Continuing {
    type ProcessStream = Answers;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        Ok(Response::new(Answers(request.into_inner())))
    }
}

/// The answers to the messages of one stream.
struct Answers(Streaming<ProcessingRequest>);

impl Stream for Answers {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|message| Some(message?.map(answer)))
    }
}

fn answer(message: ProcessingRequest) -> ProcessingResponse {
    let response = message.request.map(|asked| match asked {
        Asked::RequestHeaders(_) => Answered::RequestHeaders(HeadersResponse::default()),
        Asked::RequestBody(_) => Answered::RequestBody(BodyResponse::default()),
        Asked::RequestTrailers(_) => Answered::RequestTrailers(TrailersResponse::default()),
        Asked::ResponseHeaders(_) => Answered::ResponseHeaders(HeadersResponse::default()),
        Asked::ResponseBody(body) => Answered::ResponseBody(same(body)),
        Asked::ResponseTrailers(_) => Answered::ResponseTrailers(TrailersResponse::default()),
    });
    ProcessingResponse { response, ..Default::default() }
}

fn same(HttpBody { body, end_of_stream, .. }: HttpBody) -> BodyResponse {
    let streamed = StreamedBodyResponse { body, end_of_stream, ..Default::default() };
    let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
    BodyResponse { response: Some(CommonResponse { body_mutation: Some(mutation), ..Default::default() }) }
}
