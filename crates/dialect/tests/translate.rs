//! Goldens of translation: `golden/translate/<case>/`, whose name begins with the two dialects.
//!
//! `request.json` goes from the first dialect to the second; `answer.json` and `stream.sse` come back. Beside each stands
//! what became of it, `*.out.*`, and in `losses.txt` what could not be said. `cargo xtask bless` rewrites them. The backend is asked
//! for the model in `model.txt`, where it matters.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tollgate_dialect::{
    AnswerContext, Observer, StreamTranslator, VectorEncoding, translate_answer, translate_request,
};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};
use tollgate_wire::sse::{Decoder, Piece};

fn context() -> AnswerContext {
    AnswerContext {
        requested_model: ModelName::parse("asked").expect("a name"),
        created_s: 1_767_225_600,
        fallback_id: "the-id-of-the-request".to_owned(),
        usage_wanted: true,
        vectors: VectorEncoding::Float,
        repeated: Bytes::new(),
    }
}

/// The dialects of a case, and the operation: a conversation, or what the first word says.
fn dialects(case: &str) -> (Dialect, Dialect, Operation) {
    let (operation, case) = match case.split_once('_') {
        Some(("count", case)) => (Operation::CountTokens, case),
        Some(("embeddings", _)) => (Operation::Embed, case),
        _ => (Operation::Chat, case),
    };
    let named = |name: &str| match name {
        "openai" => Dialect::OpenAiChat,
        "responses" => Dialect::OpenAiResponses,
        "anthropic" => Dialect::AnthropicMessages,
        "gemini" => Dialect::Gemini,
        "converse" => Dialect::BedrockConverse,
        "embeddings" => Dialect::OpenAiEmbeddings,
        "vertexembed" => Dialect::VertexEmbeddings,
        "geminiembed" => Dialect::GeminiEmbeddings,
        "titan" => Dialect::TitanEmbeddings,
        "cohere" => Dialect::CohereEmbeddings,
        "tokenize" => Dialect::VllmTokenize,
        other => panic!("{case}: which dialect is {other}?"),
    };
    let pair = case.split('-').next().and_then(|pair| pair.split_once("_to_"));
    let (client, backend) = pair.expect("two dialects");
    (named(client), named(backend), operation)
}

fn compare(path: &Path, got: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(path, got).expect("the golden is written");
    }
    let want = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(got, want, "{}: run `cargo xtask bless` to accept", path.display());
}

/// How the request wants its answer.
fn delivery(body: &[u8]) -> Delivery {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if value["stream"] == true { Delivery::Stream } else { Delivery::Whole }
}

fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON") + "\n"
}

fn request(folder: &Path, client: Dialect, backend: Dialect, operation: Operation, losses: &mut Vec<String>) {
    let Ok(body) = fs::read(folder.join("request.json")).map(Bytes::from) else { return };
    let model = fs::read_to_string(folder.join("model.txt")).unwrap_or("upstream-model".to_owned());
    let model = ModelName::parse(model.trim_end()).expect("a name");
    let got = match translate_request(client, backend, operation, &body, &model, delivery(&body)) {
        Ok(encoded) => {
            losses.extend(encoded.losses.iter().map(|loss| format!("request {loss:?}")));
            pretty(&encoded.body.to_bytes())
        }
        Err(invalid) => format!("\"{:?}: {}\"\n", invalid.kind, invalid.message),
    };
    compare(&folder.join("request.out.json"), &got);
}

fn answer(folder: &Path, client: Dialect, backend: Dialect, operation: Operation, losses: &mut Vec<String>) {
    let Ok(body) = fs::read(folder.join("answer.json")).map(Bytes::from) else { return };
    let mut observer = Observer::new(backend, operation, Delivery::Whole);
    let got = translate_answer(client, backend, operation, &body, &context(), &mut observer);
    let got = got.expect("an answer");
    losses.extend(got.losses.iter().map(|loss| format!("answer {loss:?}")));
    compare(&folder.join("answer.out.json"), &pretty(&got.body));
}

/// The translated stream, with the input cut into chunks of `size` bytes.
fn translated(input: &[u8], size: usize, client: Dialect, backend: Dialect) -> (String, Vec<String>) {
    let mut translator = StreamTranslator::new(client, backend, context()).expect("words between the two");
    let mut decoder = Decoder::new(1 << 20);
    let mut out = BytesMut::new();
    let mut broken = None;
    for chunk in input.chunks(size) {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = decoder.next() {
            if let Piece::Frame(frame) = piece {
                broken = broken.or_else(|| translator.frame(&frame, &mut out).err());
            }
        }
    }
    let broken = broken.or_else(|| translator.finish(&mut out).err());
    let end = broken.map(|error| format!(": {error}\n")).unwrap_or_default();
    let losses = translator.losses().iter().map(|loss| format!("stream {loss:?}")).collect();
    (String::from_utf8_lossy(&out).into_owned() + &end, losses)
}

fn stream(folder: &Path, client: Dialect, backend: Dialect, losses: &mut Vec<String>) {
    let Ok(input) = fs::read(folder.join("stream.sse")) else { return };
    let (whole, lost) = translated(&input, input.len(), client, backend);
    for size in [1, 7, 100] {
        let (cut, _) = translated(&input, size, client, backend);
        assert_eq!(cut, whole, "{}: cut into {size} bytes", folder.display());
    }
    losses.extend(lost);
    compare(&folder.join("stream.out.sse"), &whole);
}

#[test]
fn translations_are_as_they_were() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/translate");
    let mut seen = 0;
    for entry in fs::read_dir(&goldens).expect("the goldens") {
        let folder = entry.expect("a case").path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (client, backend, operation) = dialects(name);
        let mut losses = Vec::new();
        request(&folder, client, backend, operation, &mut losses);
        answer(&folder, client, backend, operation, &mut losses);
        stream(&folder, client, backend, &mut losses);
        let losses: String = losses.iter().map(|loss| format!("{loss}\n")).collect();
        compare(&folder.join("losses.txt"), &losses);
        seen += 1;
    }
    assert!(seen > 0);
}
