//! For tests: laws that hold for every dialect of clients, over conversations and answers that it has words for.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tollgate_chat::{Answer, Conversation, Losses};
use tollgate_terms::ModelName;
use tollgate_wire::sse::Frame;

use crate::fold::{Fold, frames, unfold};
use crate::words::{ClientWords, Words};
use crate::{AnswerContext, VectorEncoding};

type Held = Result<(), TestCaseError>;

/// What an answer needs that it does not carry itself.
pub(crate) fn context() -> AnswerContext {
    AnswerContext {
        requested_model: ModelName::parse("asked").expect("a name"),
        created_s: 7,
        fallback_id: "fallback".to_owned(),
        usage_wanted: true,
        vectors: VectorEncoding::Float,
        usage: None,
    }
}

fn client(words: &Words) -> &ClientWords {
    words.client.as_ref().expect("a dialect that clients speak")
}

/// A request that is read and said again is the same.
pub(crate) fn request_again(words: &Words, conversation: Conversation) -> Held {
    let model = ModelName::parse("m").expect("a name");
    let mut losses = Losses::default();
    let encode = words.backend.encode_request;
    let said = encode(conversation, &model, &mut losses).expect("words for all of it");
    let read = (client(words).decode_request)(&said, &mut losses).expect("what was said");
    let again = encode(read, &model, &mut losses).expect("words for all of it");
    prop_assert_eq!(&said, &again);
    prop_assert_eq!(losses.as_slice(), []);
    Ok(())
}

/// An answer that is read and said again is the same.
pub(crate) fn answer_again(words: &Words, answer: Answer) -> Held {
    let mut losses = Losses::default();
    let encode = client(words).encode_answer;
    let said = encode(answer, &context(), &mut losses);
    let read = (words.backend.decode_answer)(&said, &mut losses).expect("what was said");
    let again = encode(read, &context(), &mut losses);
    prop_assert_eq!(&said, &again);
    prop_assert_eq!(losses.as_slice(), []);
    Ok(())
}

/// A stream folds to the whole answer. Returns the whole answer and the stream.
pub(crate) fn stream_folds(
    words: &Words,
    answer: Answer,
    cut: prop::sample::Index,
) -> Result<(Bytes, Vec<Frame>), TestCaseError> {
    let mut losses = Losses::default();
    let encode = client(words).encode_answer;
    let whole = encode(answer.clone(), &context(), &mut losses);
    let mut encoder = (client(words).encode_stream)(context());
    let mut stream = BytesMut::new();
    unfold(&answer).into_iter().for_each(|event| encoder.event(event, &mut stream, &mut losses));
    let mut decoder = (words.backend.decode_stream)();
    let mut events = Vec::new();
    let frames = frames(&stream, cut.index(stream.len()));
    for frame in &frames {
        decoder.frame(frame, &mut events, &mut losses).expect("what was said");
    }
    decoder.finish(&mut events).expect("an end");
    let mut fold = Fold::default();
    events.into_iter().for_each(|event| fold.take(event));
    let folded = encode(fold.answer(), &context(), &mut losses);
    prop_assert_eq!(&whole, &folded);
    prop_assert_eq!(losses.as_slice(), []);
    Ok((whole, frames))
}

/// Nonsense is refused and never a panic.
pub(crate) fn refuses_nonsense(words: &Words, bytes: &[u8]) {
    let mut losses = Losses::default();
    let body = Bytes::copy_from_slice(bytes);
    let _ = (client(words).decode_request)(&body, &mut losses);
    let _ = (words.backend.decode_answer)(&body, &mut losses);
    for frame in frames(bytes, 0) {
        let _ = (words.backend.decode_stream)().frame(&frame, &mut Vec::new(), &mut losses);
    }
}
