//! For tests: laws that hold for every dialect of clients, over conversations and answers that it has words for.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tollgate_chat::{Answer, Block, BlockKind, Citation, CitedSource, Conversation, Losses};
use tollgate_terms::ModelName;
use tollgate_wire::json::Value;
use tollgate_wire::sse::Frame;

use crate::fields::object;
use crate::fold::{Citing, Fold, frames, unfold};
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
        repeated: Bytes::new(),
    }
}

/// A page that a text rests on, its title, and from where how many characters rest on it.
pub(crate) type Cited = (u8, Option<String>, Option<(u64, u64)>);

/// What the texts of an answer rest on.
pub(crate) fn cited() -> impl Strategy<Value = Vec<Cited>> {
    let page = (1..4_u8, prop::option::of("[a-z]{1,3}"), (0..20_u64, 0..20_u64));
    // A provider tells places, or it does not.
    (any::<bool>(), prop::collection::vec(page, 0..3)).prop_map(|(has_places, pages)| {
        pages.into_iter().map(|(page, title, place)| (page, title, has_places.then_some(place))).collect()
    })
}

/// When they are told it in a stream.
pub(crate) fn citing() -> impl Strategy<Value = Citing> {
    prop_oneof![Just(Citing::AtOnce), Just(Citing::AtTheEnd)]
}

/// Gives it to them.
pub(crate) fn cite(blocks: &mut [Block], cited: &[Cited]) {
    for block in blocks {
        let BlockKind::Text { text, citations } = &mut block.kind else { continue };
        let chars = text.as_str().chars().count() as u64;
        let span = |(start, length): (u64, u64)| {
            let start = start % chars;
            start..(start + length).min(chars)
        };
        let citation = |(page, title, place): &Cited| Citation {
            source: CitedSource::Web { url: format!("https://example.com/{page}"), proof: None },
            title: title.clone(),
            quote: None,
            span: place.map(span),
        };
        citations.extend(cited.iter().map(citation));
    }
}

/// Log probabilities of the texts of an answer, as far as it has any.
pub(crate) fn logprobs(blocks: &[Block]) -> Option<Value> {
    let texts = blocks.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let token = |text: std::borrow::Cow<'_, str>| {
        let bytes = text.as_bytes().to_vec();
        object!({"token": text, "logprob": -0.5, "bytes": bytes, "top_logprobs": Value::Array(Vec::new())})
    };
    let tokens: Vec<Value> = texts.map(token).collect();
    (!tokens.is_empty()).then(|| object!({"content": tokens, "refusal": Value::Null}))
}

fn client(words: &Words) -> &ClientWords {
    words.client.as_ref().expect("a dialect that clients speak")
}

/// A request that is read and said again is the same.
pub(crate) fn request_again(words: &Words, conversation: Conversation) -> Held {
    let model = ModelName::parse("m").expect("a name");
    let mut losses = Losses::default();
    let encode = words.backend.encode_request;
    let said = encode(conversation, &model, &mut losses).expect("words for all of it").to_bytes();
    let read = (client(words).decode_request)((&said).into(), &mut losses).expect("what was said");
    let again = encode(read, &model, &mut losses).expect("words for all of it").to_bytes();
    prop_assert_eq!(&said, &again);
    prop_assert_eq!(losses.as_slice(), []);
    Ok(())
}

/// An answer that is read and said again is the same.
pub(crate) fn answer_again(words: &Words, answer: Answer) -> Held {
    let mut losses = Losses::default();
    let encode = client(words).encode_answer;
    let said = encode(answer, &context(), &mut losses).to_bytes();
    let read = (words.backend.decode_answer)(&said, &mut losses).expect("what was said");
    let again = encode(read, &context(), &mut losses).to_bytes();
    prop_assert_eq!(&said, &again);
    prop_assert_eq!(losses.as_slice(), []);
    Ok(())
}

/// A stream folds to the whole answer. Returns the whole answer and the stream.
pub(crate) fn stream_folds(
    words: &Words,
    answer: Answer,
    citing: Citing,
    cut: prop::sample::Index,
) -> Result<(Bytes, Vec<Frame>), TestCaseError> {
    let mut losses = Losses::default();
    let encode = client(words).encode_answer;
    let whole = encode(answer.clone(), &context(), &mut losses).to_bytes();
    let mut encoder = (client(words).encode_stream)(context());
    let mut stream = BytesMut::new();
    unfold(&answer, citing).into_iter().for_each(|event| encoder.event(event, &mut stream, &mut losses));
    let mut decoder = (words.backend.decode_stream)();
    let mut events = Vec::new();
    let frames = frames(&stream, cut.index(stream.len()));
    for frame in &frames {
        decoder.frame(frame, &mut events, &mut losses).expect("what was said");
    }
    decoder.finish(&mut events).expect("an end");
    let mut fold = Fold::default();
    events.into_iter().for_each(|event| fold.take(event));
    let folded = encode(fold.answer(), &context(), &mut losses).to_bytes();
    prop_assert_eq!(&whole, &folded);
    prop_assert_eq!(losses.as_slice(), []);
    Ok((whole, frames))
}

/// Nonsense is refused and never a panic.
pub(crate) fn refuses_nonsense(words: &Words, bytes: &[u8]) {
    let mut losses = Losses::default();
    let body = Bytes::copy_from_slice(bytes);
    let _ = (client(words).decode_request)((&body).into(), &mut losses);
    let _ = (words.backend.decode_answer)(&body, &mut losses);
    for frame in frames(bytes, 0) {
        let _ = (words.backend.decode_stream)().frame(&frame, &mut Vec::new(), &mut losses);
    }
}
