//! Responses of the processor, as messages.

use bytes::Bytes;
use tollgate_envoy::Struct;
use tollgate_envoy::processing::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpStatus,
    ImmediateResponse, ProcessingResponse, StreamedBodyResponse, TrailersResponse, body_mutation::Mutation,
    common_response::ResponseStatus, processing_response::Response,
};
use tollgate_exchange::LocalReply;

use crate::{headers, names};

/// Which message of Envoy's is answered. Envoy takes the answer to another one for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
}

/// What becomes of a body.
#[derive(Debug, Default)]
pub(crate) enum NewBody {
    /// It stays as it is.
    #[default]
    Same,
    /// These bytes take its place.
    Bytes(Bytes),
}

/// An answer that lets Envoy go on.
#[derive(Debug, Default)]
pub(crate) struct Onward {
    pub(crate) headers: HeaderMutation,
    pub(crate) body: NewBody,
    pub(crate) clear_route_cache: bool,
    pub(crate) metadata: Option<Struct>,
}

impl Onward {
    /// The answer as a message for `phase`.
    pub(crate) fn answer(self, phase: Phase) -> ProcessingResponse {
        let is_head = matches!(phase, Phase::RequestHeaders | Phase::ResponseHeaders);
        let body_mutation = match self.body {
            NewBody::Same => None,
            NewBody::Bytes(bytes) if bytes.is_empty() => {
                Some(BodyMutation { mutation: Some(Mutation::ClearBody(true)) })
            }
            NewBody::Bytes(bytes) => Some(BodyMutation { mutation: Some(Mutation::Body(bytes)) }),
        };
        let status = match body_mutation {
            Some(_) if is_head => ResponseStatus::ContinueAndReplace,
            _ => ResponseStatus::Continue,
        };
        let header_mutation = (!headers::is_empty(&self.headers)).then_some(self.headers);
        let changes_nothing = header_mutation.is_none() && body_mutation.is_none() && !self.clear_route_cache;
        let common = (!changes_nothing).then(|| CommonResponse {
            status: status.into(),
            header_mutation,
            body_mutation,
            clear_route_cache: self.clear_route_cache,
            ..Default::default()
        });
        let response = match phase {
            Phase::RequestHeaders => Response::RequestHeaders(HeadersResponse { response: common }),
            Phase::ResponseHeaders => Response::ResponseHeaders(HeadersResponse { response: common }),
            Phase::RequestBody => Response::RequestBody(BodyResponse { response: common }),
        };
        ProcessingResponse { response: Some(response), dynamic_metadata: self.metadata, ..Default::default() }
    }
}

/// A piece of a response body; the last one if it `is_end`.
pub(crate) fn piece(body: Bytes, is_end: bool, metadata: Option<Struct>) -> ProcessingResponse {
    let streamed = StreamedBodyResponse { body, end_of_stream: is_end, ..Default::default() };
    let common = CommonResponse {
        body_mutation: Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) }),
        ..Default::default()
    };
    ProcessingResponse {
        response: Some(Response::ResponseBody(BodyResponse { response: Some(common) })),
        dynamic_metadata: metadata,
        ..Default::default()
    }
}

/// Trailers of a response, as they are.
pub(crate) fn trailers() -> ProcessingResponse {
    let response = Response::ResponseTrailers(TrailersResponse::default());
    ProcessingResponse { response: Some(response), ..Default::default() }
}

/// An answer that ends the request with a reply of the gateway's own.
pub(crate) fn immediate(reply: &LocalReply) -> ProcessingResponse {
    let response = ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(reply.status.as_u16()) }),
        headers: Some(headers::changes(&[], &reply.headers)),
        body: reply.body.clone(),
        details: format!("{}_{}", names::REPLY_DETAILS, reply.reason.unwrap_or("answered")),
        ..Default::default()
    };
    ProcessingResponse { response: Some(Response::ImmediateResponse(response)), ..Default::default() }
}

/// The answer to a probe.
pub(crate) fn empty() -> ProcessingResponse {
    let response = ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(http::StatusCode::NO_CONTENT.as_u16()) }),
        details: format!("{}_probe", names::REPLY_DETAILS),
        ..Default::default()
    };
    ProcessingResponse { response: Some(Response::ImmediateResponse(response)), ..Default::default() }
}
