//! Each message is what the types that are made from the definitions read in it.

use std::collections::BTreeMap;

use prost::Message;

use super::*;
use crate::processing::body_mutation::Mutation;
use crate::processing::common_response::ResponseStatus;
use crate::processing::processing_response::Response;
use crate::processing::{
    BodyMutation, BodyResponse, CommonResponse, HeaderAppendAction, HeaderMutation, HeaderValue,
    HeaderValueOption, HeadersResponse, HttpStatus, ImmediateResponse, ProcessingResponse,
    StreamedBodyResponse, TrailersResponse,
};
use crate::value::Kind;
use crate::{Struct, Value};

fn read(answer: Outgoing) -> ProcessingResponse {
    let mut out = Vec::new();
    answer.write(&mut out);
    let (prefix, message) = out.split_first_chunk::<PREFIX_BYTES>().unwrap();
    assert_eq!((prefix[0], &prefix[1..]), (0, &(message.len() as u32).to_be_bytes()[..]));
    ProcessingResponse::decode(message).unwrap()
}

fn response(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..Default::default() }
}

fn option(key: &str, value: &'static [u8], action: HeaderAppendAction) -> HeaderValueOption {
    let header =
        HeaderValue { key: key.to_owned(), value: String::new(), raw_value: Bytes::from_static(value) };
    HeaderValueOption { header: Some(header), append_action: action.into(), ..Default::default() }
}

const LONG: &[u8] = &[b'x'; 300];

fn changes() -> (HeaderChanges, HeaderMutation) {
    let mut changes = HeaderChanges::default();
    assert!(changes.is_empty());
    changes.set(b":path", b"/v1", Set::Overwrite);
    changes.remove(b"a");
    changes.set(b"b", LONG, Set::Append);
    changes.set(b"c", b"", Set::Overwrite);
    assert!(!changes.is_empty());
    let mutation = HeaderMutation {
        set_headers: vec![
            option(":path", b"/v1", HeaderAppendAction::OverwriteIfExistsOrAdd),
            option("b", LONG, HeaderAppendAction::AppendIfExistsOrAdd),
            option("c", b"", HeaderAppendAction::OverwriteIfExistsOrAdd),
        ],
        remove_headers: vec!["a".to_owned()],
    };
    (changes, mutation)
}

#[test]
fn what_changes_nothing_is_continue() {
    let headers = HeadersResponse::default();
    assert_eq!(
        read(Onward::default().answer(Phase::RequestHeaders)),
        response(Response::RequestHeaders(headers.clone()))
    );
    assert_eq!(
        read(Onward::default().answer(Phase::ResponseHeaders)),
        response(Response::ResponseHeaders(headers))
    );
    let body = BodyResponse::default();
    assert_eq!(read(Onward::default().answer(Phase::RequestBody)), response(Response::RequestBody(body)));
    assert_eq!(read(trailers()), response(Response::ResponseTrailers(TrailersResponse::default())));
}

#[test]
fn a_head_is_changed_and_its_body_replaced() {
    for (body, mutation) in [
        (Bytes::from_static(LONG), Mutation::Body(Bytes::from_static(LONG))),
        (Bytes::new(), Mutation::ClearBody(true)),
    ] {
        let (headers, header_mutation) = changes();
        let onward = Onward { headers, body: Some(body), clear_route_cache: true, metadata: None };
        let mut common = CommonResponse {
            status: ResponseStatus::ContinueAndReplace.into(),
            header_mutation: Some(header_mutation),
            body_mutation: Some(BodyMutation { mutation: Some(mutation) }),
            clear_route_cache: true,
            ..Default::default()
        };
        let answered = Response::RequestHeaders(HeadersResponse { response: Some(common.clone()) });
        assert_eq!(read(onward.clone().answer(Phase::RequestHeaders)), response(answered));
        // Where the body itself is answered, it is replaced without a word.
        common.status = ResponseStatus::Continue.into();
        let answered = Response::RequestBody(BodyResponse { response: Some(common) });
        assert_eq!(read(onward.answer(Phase::RequestBody)), response(answered));
    }
}

#[test]
fn pieces_go_back_with_their_end() {
    for (body, is_end) in [(LONG, false), (b"x", true), (b"", true), (b"", false)] {
        let body = Bytes::from_static(body);
        let streamed =
            StreamedBodyResponse { body: body.clone(), end_of_stream: is_end, ..Default::default() };
        let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
        let common = CommonResponse { body_mutation: Some(mutation), ..Default::default() };
        let answered = Response::ResponseBody(BodyResponse { response: Some(common) });
        assert_eq!(read(piece(body, is_end, None)), response(answered));
    }
}

#[test]
fn a_reply_ends_the_request() {
    for (status, body) in [(429, LONG), (204, b"")] {
        let (headers, mutation) = changes();
        let body = Bytes::from_static(body);
        let reply = Immediate { status, headers, body: body.clone(), details: "tollgate_probe".to_owned() };
        let answered = ImmediateResponse {
            status: Some(HttpStatus { code: i32::from(status) }),
            headers: Some(mutation),
            body,
            details: "tollgate_probe".to_owned(),
            ..Default::default()
        };
        assert_eq!(read(reply.answer()), response(Response::ImmediateResponse(answered)));
    }
}

#[test]
fn metadata_is_told_beside_an_answer() {
    assert_eq!(Members::new("space").told(), None);
    let mut members = Members::new("space");
    members.add_text("text", "said");
    members.add_number("number", 7.0);
    members.add_text("text", "said last");
    let metadata = members.told();
    let value = |kind| Value { kind: Some(kind) };
    let fields = BTreeMap::from([
        ("text".to_owned(), value(Kind::StringValue("said last".to_owned()))),
        ("number".to_owned(), value(Kind::NumberValue(7.0))),
    ]);
    let space = value(Kind::StructValue(Struct { fields }));
    let expected = Struct { fields: BTreeMap::from([("space".to_owned(), space)]) };
    let onward = Onward { metadata: metadata.clone(), ..Onward::default() };
    assert_eq!(read(onward.answer(Phase::RequestHeaders)).dynamic_metadata, Some(expected.clone()));
    assert_eq!(read(piece(Bytes::from_static(b"x"), true, metadata)).dynamic_metadata, Some(expected));
}
