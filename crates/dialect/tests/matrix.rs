//! Goldens of every client dialect against every backend dialect.
//!
//! Inputs: `tests/matrix/<dialect>/<case>/` has `request.json` as a client says it, and `answer.json` and `stream.sse` as a
//! backend does, or `error.json`, which it says with the status in the name of the case (and the type in `error_type.txt`, where a
//! header tells it), and `broken.sse`, a stream that ends with an error. From them come, in `golden/matrix/<case>/`, `<client>_to_<backend>.request.json`, what the backend is
//! asked, `<client>_from_<backend>.answer.json`, `.stream.sse`, `.error.json` and `.broken.sse`, what the client is answered, and `losses.txt`, what could
//! not be said. `cargo xtask bless` rewrites them; the table of the README is made from them.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tollgate_dialect::{
    AnswerContext, BackendError, Observer, StreamTranslator, TranslatedAnswer, VectorEncoding, can_translate,
    inspect, repeated, reshape_error, translate_answer, translate_request,
};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};
use tollgate_wire::sse::{Decoder, Frame, Piece};

const CONVERSATIONS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiResponses,
    Dialect::AnthropicMessages,
    Dialect::Gemini,
    Dialect::BedrockConverse,
];

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

/// The context of an answer to the request that `client` makes in `case`, if it makes one.
fn context_of(case: &str, client: Dialect) -> AnswerContext {
    let request = folder("tests/matrix").join(client.label()).join(case).join("request.json");
    let Ok(body) = fs::read(request).map(Bytes::from) else { return context() };
    // Those that name their model in the path repeat nothing.
    let Ok(facts) = inspect(client, Operation::Chat, None, None, &body) else { return context() };
    AnswerContext { repeated: repeated(client, &body, &facts), ..context() }
}

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// The cases that there are for `dialect`.
fn cases(dialect: Dialect) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder("tests/matrix").join(dialect.label())) else { return Vec::new() };
    let mut cases: Vec<_> = entries
        .map(|entry| entry.expect("a case"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    cases.sort();
    cases
}

fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON") + "\n"
}

/// What goldens say, by their place: all of them are gathered before any is compared.
#[derive(Default)]
struct Goldens {
    files: BTreeMap<PathBuf, String>,
    losses: BTreeMap<String, Vec<String>>,
}

impl Goldens {
    fn write(&mut self, case: &str, name: &str, text: String) {
        self.files.insert(folder("golden/matrix").join(case).join(name), text);
    }

    fn lose(&mut self, case: &str, pair: &str, losses: &[tollgate_chat::Loss]) {
        let lines = losses.iter().map(|loss| format!("{pair} {loss:?}\n"));
        self.losses.entry(case.to_owned()).or_default().extend(lines);
    }

    fn compare(mut self) {
        for (case, lines) in std::mem::take(&mut self.losses) {
            self.write(&case, "losses.txt", lines.concat());
        }
        let root = folder("golden/matrix");
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            // What no input makes any more goes.
            let _ = fs::remove_dir_all(&root);
            for (path, text) in &self.files {
                fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
                fs::write(path, text).expect("the golden is written");
            }
        }
        for (path, text) in &self.files {
            let want = fs::read_to_string(path).unwrap_or_default();
            assert_eq!(*text, want, "{}: run `cargo xtask bless` to accept", path.display());
        }
    }
}

fn delivery(body: &[u8]) -> Delivery {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if value["stream"] == true { Delivery::Stream } else { Delivery::Whole }
}

fn frames(input: &[u8], size: usize) -> Vec<Frame> {
    let mut decoder = Decoder::new(1 << 20);
    let mut frames = Vec::new();
    for chunk in input.chunks(size) {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = decoder.next() {
            if let Piece::Frame(frame) = piece {
                frames.push(frame);
            }
        }
    }
    frames
}

/// The translated stream, and what it lost; a stream that breaks ends in a comment that says why.
fn translated(
    frames: &[Frame],
    client: Dialect,
    backend: Dialect,
    context: &AnswerContext,
) -> (String, Vec<tollgate_chat::Loss>) {
    let mut translator =
        StreamTranslator::new(client, backend, context.clone()).expect("words between the two");
    let mut out = BytesMut::new();
    let read = frames.iter().try_for_each(|frame| translator.frame(frame, &mut out));
    let broken = read.and_then(|()| translator.finish(&mut out)).err();
    let end = broken.map(|error| format!(": {error}\n")).unwrap_or_default();
    (String::from_utf8_lossy(&out).into_owned() + &end, translator.losses().to_vec())
}

/// Tokens in and out: the parts of them not every dialect tells.
fn seen(dialect: Dialect, frames: &[Frame]) -> (u64, u64) {
    let mut observer = Observer::new(dialect, Operation::Chat, Delivery::Stream);
    for frame in frames {
        observer.frame(frame);
    }
    let usage = observer.usage().map(|(usage, _)| usage).unwrap_or_default();
    (usage.input_tokens, usage.output_tokens)
}

/// A model as it is called there: what a dialect can say depends on its family.
fn model(backend: Dialect) -> &'static str {
    match backend {
        Dialect::BedrockConverse => "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        Dialect::Gemini => "gemini-3-pro",
        _ => "upstream-model",
    }
}

fn requests(goldens: &mut Goldens, client: Dialect) {
    for (case, path) in cases(client) {
        let Ok(body) = fs::read(path.join("request.json")).map(Bytes::from) else { continue };
        for backend in CONVERSATIONS {
            if !can_translate(client, backend, Operation::Chat) {
                continue;
            }
            let pair = format!("{}_to_{}", client.label(), backend.label());
            let model = ModelName::parse(model(backend)).expect("a name");
            let said = translate_request(client, backend, Operation::Chat, &body, &model, delivery(&body));
            let text = match said {
                Ok(encoded) => {
                    goldens.lose(&case, &pair, &encoded.losses);
                    pretty(&encoded.body.to_bytes())
                }
                Err(invalid) => format!("\"{:?}: {}\"\n", invalid.kind, invalid.message),
            };
            goldens.write(&case, &format!("{pair}.request.json"), text);
        }
    }
}

/// A whole answer in the client's dialect. Of one that is read for it as much is seen as of one that passes by.
fn answer(client: Dialect, backend: Dialect, body: &Bytes, context: &AnswerContext) -> TranslatedAnswer {
    let (mut reading, mut passing) = (observer(backend), observer(backend));
    let said = translate_answer(client, backend, Operation::Chat, body, context, &mut reading);
    passing.body(body);
    let facts = |observer: &Observer| {
        (observer.usage(), observer.served_model().cloned(), observer.output_bytes(), observer.is_complete())
    };
    assert_eq!(facts(&reading), facts(&passing), "{backend:?}");
    said.expect("an answer")
}

fn observer(backend: Dialect) -> Observer {
    Observer::new(backend, Operation::Chat, Delivery::Whole)
}

fn answers(goldens: &mut Goldens, backend: Dialect) {
    for (case, path) in cases(backend) {
        for client in CONVERSATIONS {
            if !can_translate(client, backend, Operation::Chat) {
                continue;
            }
            let pair = format!("{}_from_{}", client.label(), backend.label());
            let context = context_of(&case, client);
            if let Ok(body) = fs::read(path.join("answer.json")).map(Bytes::from) {
                let said = answer(client, backend, &body, &context);
                goldens.lose(&case, &pair, &said.losses);
                goldens.write(&case, &format!("{pair}.answer.json"), pretty(&said.body));
            }
            if let Ok(input) = fs::read(path.join("stream.sse")) {
                let whole = frames(&input, input.len());
                let (said, losses) = translated(&whole, client, backend, &context);
                for size in [1, 7, 100] {
                    let cut = translated(&frames(&input, size), client, backend, &context).0;
                    assert_eq!(cut, said, "{case} {pair}: cut into {size} bytes");
                }
                let told = frames(said.as_bytes(), said.len().max(1));
                assert_eq!(seen(client, &told), seen(backend, &whole), "{case} {pair}: another usage");
                goldens.lose(&case, &format!("{pair} stream"), &losses);
                goldens.write(&case, &format!("{pair}.stream.sse"), said);
            }
        }
    }
}

fn errors(goldens: &mut Goldens, backend: Dialect) {
    for (case, path) in cases(backend) {
        for client in CONVERSATIONS {
            if !can_translate(client, backend, Operation::Chat) {
                continue;
            }
            let pair = format!("{}_from_{}", client.label(), backend.label());
            if let Ok(body) = fs::read(path.join("error.json")) {
                let status = case.strip_prefix("error_").and_then(|status| status.parse().ok());
                let kind = fs::read_to_string(path.join("error_type.txt")).ok();
                let told = BackendError {
                    status: status.expect("a status in the name"),
                    content_type: Some("application/json"),
                    kind: kind.as_deref().map(str::trim_end),
                    body: &body,
                };
                let said = reshape_error(client, backend, &told, "the-id-of-the-request");
                goldens.write(&case, &format!("{pair}.error.json"), pretty(said.as_deref().unwrap_or(&body)));
            }
            if let Ok(input) = fs::read(path.join("broken.sse")) {
                let whole = frames(&input, input.len());
                let (said, losses) = translated(&whole, client, backend, &context());
                goldens.lose(&case, &format!("{pair} stream"), &losses);
                goldens.write(&case, &format!("{pair}.broken.sse"), said);
            }
        }
    }
}

#[test]
fn all_pairs_say_what_they_said() {
    let mut goldens = Goldens::default();
    for dialect in CONVERSATIONS {
        assert!(cases(dialect).len() > 5, "{dialect:?} has cases");
        requests(&mut goldens, dialect);
        answers(&mut goldens, dialect);
        errors(&mut goldens, dialect);
    }
    assert!(!goldens.files.is_empty());
    goldens.compare();
}
