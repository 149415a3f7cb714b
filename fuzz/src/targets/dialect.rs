//! Requests, answers and streams of every dialect.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tollgate_dialect::{
    AnswerContext, BackendError, Observer, Reframer, SpliceEdits, StreamTranslator, VectorEncoding,
};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, StreamFraming};
use tollgate_wire::event_stream;
use tollgate_wire::sse::{Decoder, Frame, Piece};

use super::law;

const DIALECTS: [(Dialect, Operation); 13] = [
    (Dialect::OpenAiChat, Operation::Chat),
    (Dialect::OpenAiCompletions, Operation::Complete),
    (Dialect::OpenAiEmbeddings, Operation::Embed),
    (Dialect::OpenAiResponses, Operation::Chat),
    (Dialect::OpenAiResponses, Operation::CountTokens),
    (Dialect::OpenAiImages, Operation::Draw),
    (Dialect::OpenAiAudio, Operation::Speak),
    (Dialect::OpenAiAudio, Operation::Transcribe),
    (Dialect::AnthropicMessages, Operation::Chat),
    (Dialect::AnthropicMessages, Operation::CountTokens),
    (Dialect::BedrockConverse, Operation::Chat),
    (Dialect::CohereRerank, Operation::Rerank),
    (Dialect::VllmTokenize, Operation::CountTokens),
];

/// Every two dialects between which conversations are translated.
fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    let all = Dialect::ALL.into_iter().flat_map(|client| Dialect::ALL.map(|backend| (client, backend)));
    all.filter(|(client, backend)| tollgate_dialect::can_translate(*client, *backend, Operation::Chat))
}

/// The events that end a stream.
const ENDS: [&[u8]; 3] = [b"message_stop", b"response.completed", b"response.incomplete"];

fn model() -> Result<ModelName, String> {
    ModelName::parse("other").map_err(|error| error.to_string())
}

fn frames(input: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::new(1 << 16);
    decoder.push(Bytes::copy_from_slice(input));
    let pieces = std::iter::from_fn(|| decoder.next());
    pieces.filter_map(|piece| if let Piece::Frame(frame) = piece { Some(frame) } else { None }).collect()
}

/// A request that is accepted stays what it is when it is edited.
pub(crate) fn inspect(input: &[u8]) -> Result<(), String> {
    let body = Bytes::copy_from_slice(input);
    let model = model()?;
    for (dialect, operation) in DIALECTS {
        for content_type in [Some("application/json"), Some("multipart/form-data; boundary=b"), None] {
            let Ok(facts) = tollgate_dialect::inspect(dialect, operation, content_type, None, &body) else {
                continue;
            };
            let edits = SpliceEdits {
                model: Some(&model),
                ask_usage: true,
                host: Vec::new(),
                bound: None,
                body_set: &[],
                body_remove: &[],
            };
            let edited =
                Bytes::from(tollgate_dialect::splice_request(dialect, &body, &facts, edits).concat());
            let again = tollgate_dialect::inspect(dialect, operation, content_type, None, &edited);
            let again = again.map_err(|error| format!("{dialect:?} {operation:?}: {}", error.message))?;
            law(again.model == model, || format!("{dialect:?}: the model is {}", again.model.as_str()))?;
            law(again.delivery == facts.delivery, || format!("{dialect:?}: another delivery"))?;
        }
    }
    Ok(())
}

/// An answer is watched, whatever it is.
pub(crate) fn observe(input: &[u8]) -> Result<(), String> {
    for (dialect, operation) in DIALECTS {
        let mut whole = Observer::new(dialect, operation, Delivery::Whole);
        whole.body(input);
        let mut streamed = Observer::new(dialect, operation, Delivery::Stream);
        for frame in frames(input) {
            streamed.frame(&frame);
        }
        let _ = (whole.usage(), streamed.usage(), streamed.is_complete());
        law(streamed.output_bytes() <= input.len() as u64, || format!("{dialect:?}: more text than bytes"))?;
    }
    Ok(())
}

/// A translation is JSON, or events of JSON, or refused.
pub(crate) fn translate(input: &[u8]) -> Result<(), String> {
    let context = AnswerContext {
        requested_model: model()?,
        created_s: 1,
        fallback_id: "id".to_owned(),
        usage_wanted: true,
        vectors: VectorEncoding::Float,
        repeated: Bytes::new(),
    };
    let body = Bytes::copy_from_slice(input);
    for (client, backend) in pairs() {
        if let Ok(encoded) = tollgate_dialect::translate_request(
            client,
            backend,
            Operation::Chat,
            &body,
            &context.requested_model,
            Delivery::Whole,
        ) {
            let value: Value =
                serde_json::from_slice(&encoded.body.to_bytes()).map_err(|error| error.to_string())?;
            // Some have it in their path.
            let is_in_path = matches!(backend, Dialect::BedrockConverse | Dialect::Gemini);
            let named = if is_in_path { Value::Null } else { "other".into() };
            law(value["model"] == named, || format!("{backend:?}: the model is {}", value["model"]))?;
        }
        let chat = Operation::Chat;
        let mut observer = Observer::new(backend, chat, Delivery::Whole);
        if let Ok(answer) =
            tollgate_dialect::translate_answer(client, backend, chat, &body, &context, &mut observer)
        {
            let _: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        }
        let translator = StreamTranslator::new(client, backend, context.clone());
        let mut translator = translator.ok_or("no words between the two")?;
        let mut out = BytesMut::new();
        let read = frames(input).iter().try_for_each(|frame| translator.frame(frame, &mut out));
        let ended = translator.finish(&mut out);
        let said = frames(&out);
        let is_done = said.last().is_some_and(|frame| {
            frame.data().as_ref() == b"[DONE]" || frame.event().is_some_and(|event| ENDS.contains(&event))
        });
        law(!is_done || ended.is_ok(), || format!("{client:?}: a clean end of a broken stream"))?;
        let _ = read;
        for frame in said {
            let data = frame.data();
            // A comment keeps the line alive.
            let is_json = data.is_empty() || serde_json::from_slice::<Value>(&data).is_ok();
            law(is_json || data.as_ref() == b"[DONE]", || format!("{client:?}: an event that is no JSON"))?;
        }
    }
    Ok(())
}

/// An error told again is JSON, whatever the backend said.
pub(crate) fn error(input: &[u8]) -> Result<(), String> {
    for (client, _) in DIALECTS {
        for (backend, _) in DIALECTS {
            for content_type in [Some("application/json"), Some("text/html"), None] {
                let error = BackendError { status: 502, content_type, kind: None, body: input };
                let told = tollgate_dialect::reshape_error(client, backend, &error, "id");
                let Some(told) = told else { continue };
                let _: Value = serde_json::from_slice(&told).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

/// Longest frame that is taken as one.
const FRAME_BYTES_MAX: usize = 1 << 10;

/// The pieces of a stream in another framing, each with its kind, and whether the stream is broken.
fn reframed<'a>(framing: StreamFraming, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Piece>, bool) {
    let mut reframer = Reframer::new(framing, Dialect::AnthropicMessages, FRAME_BYTES_MAX);
    let mut pieces = Vec::new();
    for chunk in chunks {
        reframer.push(Bytes::copy_from_slice(chunk));
        loop {
            match reframer.next() {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => break,
                Err(_) => return (pieces, true),
            }
        }
    }
    match reframer.finish() {
        Ok(piece) => pieces.extend(piece),
        Err(_) => return (pieces, true),
    }
    (pieces, false)
}

/// Any split of messages gives the same frames, whatever is in them, and each frame is one event.
pub(crate) fn reframe(input: &[u8]) -> Result<(), String> {
    let mut stream = BytesMut::new();
    for (number, payload) in input.split(|byte| *byte == 0).enumerate() {
        let kind = ["chunk", "PayloadPart", "metadata", "throttlingException"][number % 4];
        let (sort, header) =
            if number % 4 == 3 { ("exception", ":exception-type") } else { ("event", ":event-type") };
        let headers = [(":message-type", sort), (header, kind)];
        event_stream::encode(&mut stream, &headers, payload).map_err(|error| error.to_string())?;
    }
    for framing in [StreamFraming::AwsEvents, StreamFraming::AwsChunks, StreamFraming::AwsPayload] {
        let whole = reframed(framing, std::iter::once(&stream[..]));
        // What goes through unread may be told in more pieces.
        let frames = |pieces: &[Piece]| -> Vec<Piece> {
            pieces.iter().filter(|piece| matches!(piece, Piece::Frame(_))).cloned().collect()
        };
        for size in [1, 7] {
            let split = reframed(framing, stream.chunks(size));
            law(frames(&split.0) == frames(&whole.0) && split.1 == whole.1, || {
                format!("{framing:?} in pieces of {size}: {split:?}, whole: {whole:?}")
            })?;
        }
        for piece in whole.0 {
            let Piece::Frame(frame) = piece else { continue };
            // What a container wrote is its own affair.
            if framing == StreamFraming::AwsPayload {
                continue;
            }
            law(self::frames(&frame.raw).len() == 1, || format!("{framing:?}: {frame:?} is not one event"))?;
        }
    }
    Ok(())
}
