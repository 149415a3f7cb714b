//! Messages are cut from frames that end anywhere, and answers are joined.

use std::collections::VecDeque;
use std::task::Waker;

use prost::Message;

use super::*;
use crate::processing::processing_request::Request as Asking;
use crate::processing::{HttpBody as SentBody, ProcessingRequest};
use crate::processor::{Asked, piece, trailers};

/// A body that comes in these chunks.
struct Chunks(VecDeque<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn message(body: &'static [u8]) -> Vec<u8> {
    let body = SentBody { body: Bytes::from_static(body), ..Default::default() };
    let request = Some(Asking::ResponseBody(body));
    let message = ProcessingRequest { request, ..Default::default() }.encode_to_vec();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

/// What is read of `chunks`: the bodies, and how it ends.
fn read(
    chunks: impl IntoIterator<Item = Bytes>,
    message_bytes_max: usize,
) -> (Vec<Bytes>, Option<tonic::Code>) {
    let mut messages = Messages::new(Chunks(chunks.into_iter().collect()), message_bytes_max);
    let mut bodies = Vec::new();
    loop {
        match messages.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(Incoming { asked: Asked::ResponseBody(body), .. }))) => {
                bodies.push(body.bytes)
            }
            Poll::Ready(Some(Ok(other))) => panic!("{other:?}"),
            Poll::Ready(Some(Err(status))) => return (bodies, Some(status.code())),
            Poll::Ready(None) => return (bodies, None),
            Poll::Pending => panic!("nothing is waited for"),
        }
    }
}

const LONG: &[u8] = &[b'x'; 300];

#[test]
fn messages_are_read_however_they_are_cut() {
    let all = Bytes::from([message(b"one"), message(LONG), message(b""), message(b"four")].concat());
    for size in 1..=all.len() {
        let chunks = all.chunks(size).map(Bytes::copy_from_slice);
        let expected: [&[u8]; 4] = [b"one", LONG, b"", b"four"];
        assert_eq!(read(chunks, 1 << 10), (expected.map(Bytes::from_static).to_vec(), None), "{size}");
    }
}

#[test]
fn what_is_no_message_ends_a_call() {
    let half = Bytes::from(message(b"one")).slice(..9);
    assert_eq!(read([half], 1 << 10), (vec![], Some(tonic::Code::Internal)));
    assert_eq!(read([message(LONG).into()], 300), (vec![], Some(tonic::Code::OutOfRange)));
    assert_eq!(read([Bytes::from_static(&[1, 0, 0, 0, 0])], 300), (vec![], Some(tonic::Code::Unimplemented)));
    assert_eq!(read([Bytes::from_static(&[0, 0, 0, 0, 1, 7])], 300), (vec![], Some(tonic::Code::Internal)));
}

/// Answers that are there, `None` where one has to be waited for.
struct Ready(VecDeque<Option<Result<Outgoing, Status>>>);

impl Stream for Ready {
    type Item = Result<Outgoing, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.pop_front() {
            Some(Some(answer)) => Poll::Ready(Some(answer)),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// The frames of a response: its data, how often was waited before, and how it ends.
fn said(
    answers: impl IntoIterator<Item = Option<Result<Outgoing, Status>>>,
) -> (Vec<(Vec<u8>, usize)>, HeaderMap) {
    let mut body = Answered { answers: Ready(answers.into_iter().collect()), end: End::Open };
    let (mut frames, mut waits, mut ends) = (Vec::new(), 0, None);
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => frames.push((data.to_vec(), std::mem::take(&mut waits))),
                Err(frame) => ends = frame.into_trailers().ok(),
            },
            Poll::Ready(Some(Err(never))) => match never {},
            Poll::Ready(None) => return (frames, ends.unwrap()),
            Poll::Pending => waits += 1,
        }
    }
}

#[test]
fn answers_that_are_ready_together_leave_together() {
    let answer = |text: &'static str| Some(Ok(piece(Bytes::from_static(text.as_bytes()), false, None)));
    let (frames, ends) = said([answer("one"), Some(Ok(trailers())), None, None, answer("three")]);
    // Each is behind a flag and its length.
    let first = b"\0\0\0\0\x0d\x22\x0b\x0a\x09\x1a\x07\x1a\x05\x0a\x03one\0\0\0\0\x02\x32\0";
    let second = b"\0\0\0\0\x0f\x22\x0d\x0a\x0b\x1a\x09\x1a\x07\x0a\x05three";
    assert_eq!(frames, [(first.to_vec(), 0), (second.to_vec(), 1)]);
    assert_eq!(ends[Status::GRPC_STATUS], "0");
}

#[test]
fn an_error_follows_what_was_answered_before() {
    let answer = Some(Ok(trailers()));
    let (frames, ends) = said([answer, Some(Err(Status::aborted("broken off"))), Some(Ok(trailers()))]);
    assert_eq!(frames, [(b"\0\0\0\0\x02\x32\0".to_vec(), 0)]);
    assert_eq!(
        (&ends[Status::GRPC_STATUS], &ends[Status::GRPC_MESSAGE]),
        (&HeaderValue::from(10), &HeaderValue::from_static("broken%20off"))
    );
}
