//! Requests, answers and streams of every dialect.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tollgate_dialect::{AnswerContext, BackendError, Observer, SpliceEdits, StreamTranslator};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};
use tollgate_wire::sse::{Decoder, Frame, Piece};

use super::law;

const DIALECTS: [(Dialect, Operation); 12] = [
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
    (Dialect::CohereRerank, Operation::Rerank),
    (Dialect::VllmTokenize, Operation::CountTokens),
];

const PAIRS: [(Dialect, Dialect); 6] = [
    (Dialect::OpenAiChat, Dialect::AnthropicMessages),
    (Dialect::AnthropicMessages, Dialect::OpenAiChat),
    (Dialect::OpenAiResponses, Dialect::OpenAiChat),
    (Dialect::OpenAiResponses, Dialect::AnthropicMessages),
    (Dialect::OpenAiChat, Dialect::OpenAiResponses),
    (Dialect::AnthropicMessages, Dialect::OpenAiResponses),
];

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
            let Ok(facts) = tollgate_dialect::inspect(dialect, operation, content_type, &body) else {
                continue;
            };
            let edits = SpliceEdits { model: Some(&model), ask_usage: true, body_set: &[], body_remove: &[] };
            let edited =
                Bytes::from(tollgate_dialect::splice_request(dialect, &body, &facts, &edits).concat());
            let again = tollgate_dialect::inspect(dialect, operation, content_type, &edited);
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
    };
    for (client, backend) in PAIRS {
        if let Ok(encoded) = tollgate_dialect::translate_request(
            client,
            backend,
            input,
            &context.requested_model,
            Delivery::Whole,
        ) {
            let value: Value = serde_json::from_slice(&encoded.body).map_err(|error| error.to_string())?;
            law(value["model"] == "other", || format!("{backend:?}: the model is {}", value["model"]))?;
        }
        if let Ok(answer) = tollgate_dialect::translate_answer(client, backend, input, &context) {
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
