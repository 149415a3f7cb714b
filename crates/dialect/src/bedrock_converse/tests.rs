//! Laws of the dialect: a request says everything or records it as lost, and a stream folds to the whole answer.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_chat::{
    Answer, Block, BlockKind, CachePoint, Choice, Citation, CitedSource, Conversation, DocumentSource,
    Effort, Event, ImageSource, Losses, Metadata, Origin, Passage, Role, Sampling, StopReason, Tool,
    ToolChoice, Turn,
};
use tollgate_terms::{Delivery, ModelName, Usage};
use tollgate_wire::json::{Map, Text};
use tollgate_wire::sse::{self, Frame};

use super::*;
use crate::fold::{Fold, frames};
use crate::words::DecodeStream;

fn cache() -> impl Strategy<Value = Option<CachePoint>> {
    option::of(option::of(prop_oneof![Just("1h"), Just("1d")]))
        .prop_map(|point| point.map(|ttl| CachePoint { ttl: ttl.map(str::to_owned) }))
}

/// A source, the only one with this number.
fn citation(number: u64) -> Citation {
    Citation {
        source: CitedSource::Document { index: number, file: None, passage: Passage::Pages(1..2) },
        title: None,
        quote: Some("so".into()),
        span: None,
    }
}

/// The same, as the API tells it.
fn told_citation(number: &Value) -> Value {
    let location = json!({"documentPage": {"documentIndex": number, "start": 1, "end": 2}});
    json!({"sourceContent": [{"text": "s"}, {"text": "o"}], "location": location})
}

/// What a block is made of: its sort, an id or a title, whether it has what is rare, a cache point.
type Parts = (usize, String, bool, Option<CachePoint>);

/// A block, of which all that it says is `mark`.
fn kind(mark: &str, sort: usize, id: &str, odd: bool) -> BlockKind {
    let mark = mark.to_owned();
    let text = |text: String| BlockKind::Text {
        text: text.into(),
        citations: if odd { vec![citation(1)] } else { vec![] },
    };
    match sort {
        0..4 => text(mark),
        4 => text(String::new()),
        5 => BlockKind::Refusal { text: mark.into() },
        6 => BlockKind::Thinking { text: mark.into(), signature: odd.then(|| "s".into()) },
        7 => {
            BlockKind::RedactedThinking { data: if odd { format!("!{mark}").into() } else { "AAAA".into() } }
        }
        8 => BlockKind::ToolUse { id: id.to_owned(), name: mark, input: Map::new().into() },
        9 => {
            let content = vec![Block { origin: "".into(), cache: None, kind: text(mark) }];
            BlockKind::ToolResult { id: id.to_owned(), content, is_error: odd }
        }
        10 => BlockKind::Image {
            source: ImageSource::Base64 { media_type: "image/png".to_owned(), data: mark.into() },
            detail: None,
        },
        _ => BlockKind::Document {
            source: DocumentSource::Text(mark.into()),
            title: odd.then(|| id.to_owned()),
            context: None,
            cites: false,
        },
    }
}

prop_compose! {
    fn conversation()(
        turns in vec((any::<bool>(), vec((0..12_usize, "[a-z !]{1,3}", any::<bool>(), cache()), 0..5)), 0..6),
        tools in vec(("[a-z_]{1,12}", option::of("[a-z]{0,3}"), option::of(any::<bool>()), cache()), 0..3),
        choice in option::of(prop_oneof![
            Just(ToolChoice::Auto), Just(ToolChoice::Required), Just(ToolChoice::Forbidden),
            "[a-z]{1,8}".prop_map(ToolChoice::Named),
        ]),
        effort in option::of(prop_oneof![Just("none"), Just("low"), Just("max"), Just("of_tomorrow")]),
        stop in vec(".{1,4}", 0..3),
        top_k in option::of(any::<u64>()),
    ) -> Conversation {
        let mut number = 0;
        let mut turn = |(is_user, blocks): (bool, Vec<Parts>)| {
            let blocks = blocks.into_iter().map(|(sort, id, odd, cache)| {
                number += 1;
                let kind = kind(&format!("mark{number}."), sort, &id, odd);
                Block { origin: format!("/mark{number}").into(), cache, kind }
            });
            Turn { role: if is_user { Role::User } else { Role::Assistant }, blocks: blocks.collect() }
        };
        let turns = turns.into_iter().map(&mut turn).collect();
        let tool = |(name, description, strict, cache): (String, Option<String>, Option<bool>, _)| {
            Tool { origin: "/tool".to_owned().into(), name, description: description.map(Text::from), schema: None, strict, cache }
        };
        Conversation {
            system: Vec::new(),
            turns,
            tools: tools.into_iter().map(tool).collect(),
            tool_choice: choice,
            parallel_tools: None,
            output_tokens_max: None,
            stop,
            sampling: Sampling { top_k, ..Sampling::default() },
            format: None,
            thinking: None,
            effort: effort.map(|word| Effort(word.to_owned())),
            delivery: Delivery::Whole,
            metadata: Metadata::default(),
            verbosity: None,
            cache_key: None,
            service_tier: None,
            extensions: Vec::new(),
        }
    }
}

fn model() -> impl Strategy<Value = ModelName> {
    prop_oneof![Just("anthropic.claude-x"), Just("amazon.nova-x"), Just("openai.gpt-x"), Just("x")]
        .prop_map(|model| ModelName::parse(model).expect("a name"))
}

/// A block of an answer, as the API writes it whole, and the same in events of a stream.
type Told = (Value, Vec<(&'static str, Value)>);

fn told_text(index: usize, text: &str, citations: &[Value]) -> Told {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let mut deltas = vec![json!({"text": &text[..middle]}), json!({"text": &text[middle..]})];
    deltas.extend(citations.iter().map(|citation| json!({"citation": told_citation(citation)})));
    let whole = if citations.is_empty() {
        json!({"text": text})
    } else {
        let citations: Vec<Value> = citations.iter().map(told_citation).collect();
        json!({"citationsContent": {"content": [{"text": text}], "citations": citations}})
    };
    (whole, events(index, None, deltas))
}

fn events(index: usize, start: Option<Value>, deltas: Vec<Value>) -> Vec<(&'static str, Value)> {
    let start = start.map(|start| ("contentBlockStart", json!({"contentBlockIndex": index, "start": start})));
    let deltas = deltas
        .into_iter()
        .map(|delta| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta})));
    let stop = ("contentBlockStop", json!({"contentBlockIndex": index}));
    start.into_iter().chain(deltas).chain([stop]).collect()
}

/// The parts of a block of an answer: a sort, and what to say.
fn block() -> impl Strategy<Value = (usize, String, Vec<Value>)> {
    (0..4_usize, "[a-z\u{e9}\"]{1,12}", vec(any::<u32>().prop_map(Value::from), 0..3))
}

fn told(index: usize, (sort, text, list): &(usize, String, Vec<Value>)) -> Told {
    match sort {
        0 => told_text(index, text, list),
        1 => {
            let whole = json!({"reasoningContent": {"reasoningText": {"text": text, "signature": "s"}}});
            let deltas = vec![
                json!({"reasoningContent": {"text": text}}),
                json!({"reasoningContent": {"signature": "s"}}),
            ];
            (whole, events(index, None, deltas))
        }
        2 => {
            let whole = json!({"reasoningContent": {"redactedContent": "AAAABBBB"}});
            let deltas = vec![
                json!({"reasoningContent": {"redactedContent": "AAAA"}}),
                json!({"reasoningContent": {"redactedContent": "BBBB"}}),
            ];
            (whole, events(index, None, deltas))
        }
        _ => {
            let input = json!({"list": list});
            let said = input.to_string();
            let deltas =
                vec![json!({"toolUse": {"input": &said[..3]}}), json!({"toolUse": {"input": &said[3..]}})];
            let start = json!({"toolUse": {"toolUseId": "t", "name": "f"}});
            let whole = json!({"toolUse": {"toolUseId": "t", "name": "f", "input": input}});
            (whole, events(index, Some(start), deltas))
        }
    }
}

fn without_origins(answer: Answer) -> Answer {
    let choices = answer.choices.into_iter().map(|choice| Choice {
        blocks: choice.blocks.into_iter().map(|block| Block { origin: "".into(), ..block }).collect(),
        ..choice
    });
    Answer { choices: choices.collect(), ..answer }
}

/// The answer that a stream tells.
fn folded(stream: &[u8], cut: usize) -> Answer {
    let mut decoder = StreamDecoder::default();
    let mut events = Vec::new();
    for frame in frames(stream, cut) {
        decoder.frame(&frame, &mut events, &mut Losses::default()).expect("an event");
    }
    decoder.finish(&mut events).expect("an end");
    assert_eq!(events.last(), Some(&Event::End));
    let mut fold = Fold::default();
    events.into_iter().for_each(|event| fold.take(event));
    fold.answer()
}

fn points(value: &Value) -> usize {
    match value {
        Value::Object(members) => {
            usize::from(members.contains_key("cachePoint")) + members.values().map(points).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(points).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn a_request_says_everything_or_records_it_as_lost(conversation in conversation(), model in model()) {
        let mut losses = Losses::default();
        let said = encode_request(conversation.clone(), &model, &mut losses).expect("words for all of it").to_bytes();
        let text = String::from_utf8_lossy(&said);
        let body: Value = serde_json::from_slice(&said).expect("JSON");
        let messages = body["messages"].as_array().expect("messages");
        prop_assert!(messages.windows(2).all(|pair| pair[0]["role"] != pair[1]["role"]), "{}", text);
        prop_assert!(messages.iter().all(|message| message["content"] != json!([])), "{}", text);
        let lost = |origin: &Origin, end: &str| {
            losses.as_slice().iter().any(|loss| loss.pointer == format!("{origin}{end}"))
        };
        let mut cached = 0;
        for block in conversation.turns.iter().flat_map(|turn| &turn.blocks) {
            cached += usize::from(block.cache.is_some() && !lost(&block.origin, "/cache_control"));
            let says_nothing = match &block.kind {
                BlockKind::Text { text, .. } => text.is_empty(),
                BlockKind::RedactedThinking { data } => data == "AAAA",
                _ => false,
            };
            let is_said = text.contains(&format!("{}.", block.origin.to_string().trim_start_matches('/')));
            prop_assert!(says_nothing || is_said || lost(&block.origin, ""), "{} in {}", block.origin, text);
        }
        prop_assert_eq!(points(&body["messages"]), cached, "{}", text);
        let tools = conversation.tools.iter().filter(|tool| tool.cache.is_some()).count();
        let config = &body["toolConfig"];
        prop_assert_eq!(points(config), if config.is_null() { 0 } else { tools }, "{}", text);
    }

    #[test]
    fn a_stream_folds_to_the_whole_answer(
        blocks in vec(block(), 0..5),
        reason in prop_oneof![
            Just(json!("end_turn")), Just(json!("max_tokens")), Just(json!("guardrail_intervened")),
            Just(json!("stop_sequence")), Just(json!("malformed_tool_use")), Just(Value::Null),
        ],
        counts in (0..1_000_000_u64, 0..1_000_000_u64, 0..1_000_000_u64),
        cut in any::<prop::sample::Index>(),
    ) {
        let usage = json!({"inputTokens": counts.0, "outputTokens": counts.1, "cacheReadInputTokens": counts.2});
        let (whole, events): (Vec<_>, Vec<_>) =
            blocks.iter().enumerate().map(|(index, block)| told(index, block)).unzip();
        let body = json!({
            "output": {"message": {"role": "assistant", "content": whole}},
            "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 1},
        });
        let mut stream = BytesMut::new();
        let mut write = |name: &str, data: &Value| sse::encode(&mut stream, Some(name), data.to_string().as_bytes());
        write("messageStart", &json!({"role": "assistant", "p": "abc"}));
        events.iter().flatten().for_each(|(name, data)| write(name, data));
        write("messageStop", &json!({"stopReason": reason}));
        write("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 1}, "p": "a"}));
        let mut losses = Losses::default();
        let answer = decode_answer(&body.to_string().into(), &mut losses).expect("an answer");
        prop_assert_eq!(losses.as_slice(), []);
        prop_assert_eq!(without_origins(answer), folded(&stream, cut.index(stream.len())));
    }

    #[test]
    fn nonsense_is_refused_and_never_a_panic(
        bytes in vec(any::<u8>(), 0..100),
        events in vec((0..9_usize, "(\\{|\\}|\"|:|,|1|contentBlockIndex|start|delta|text|toolUse|input){0,12}"), 0..6),
    ) {
        let _ = decode_answer(&bytes.into(), &mut Losses::default());
        let mut decoder = StreamDecoder::default();
        for (name, data) in events {
            let names = [
                "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
                "metadata", "error", "validationException", "else",
            ];
            let raw = Bytes::from(format!("event: {}\ndata: {data}\n\n", names[name]));
            let _ = decoder.frame(&Frame { raw }, &mut Vec::new(), &mut Losses::default());
        }
        let _ = decoder.finish(&mut Vec::new());
    }
}

#[test]
fn a_stream_of_the_matrix_tells_what_its_whole_answer_tells() {
    let matrix = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/bedrock_converse");
    for case in fs::read_dir(matrix).expect("the matrix") {
        let case = case.expect("a case").path();
        let Ok(answer) = fs::read(case.join("answer.json")) else { continue };
        let answer = decode_answer(&answer.into(), &mut Losses::default()).expect("an answer");
        let stream = fs::read(case.join("stream.sse")).expect("a stream");
        assert_eq!(without_origins(answer), folded(&stream, stream.len() / 2), "{}", case.display());
    }
}

#[test]
fn a_stream_holds_no_more_than_it_must() {
    let read = |event: &dyn Fn(usize) -> String| {
        let mut decoder = StreamDecoder::default();
        (0..5000).find_map(|number| {
            let raw = Bytes::from(format!("event: contentBlockDelta\ndata: {}\n\n", event(number)));
            decoder.frame(&Frame { raw }, &mut Vec::new(), &mut Losses::default()).err()
        })
    };
    let delta = |index: usize, delta: Value| json!({"contentBlockIndex": index, "delta": delta}).to_string();
    assert!(read(&|number| delta(number, json!({"text": "a"}))).is_some());
    assert!(read(&|number| delta(number % 60, json!({"text": "a"}))).is_none());
    let redacted = json!({"reasoningContent": {"redactedContent": "AAAA".repeat(100)}});
    assert!(read(&|_| delta(0, redacted.clone())).is_some());
}

#[test]
fn an_answer_without_output_names_its_reason() {
    let refused = |body: &str| {
        decode_answer(&Bytes::copy_from_slice(body.as_bytes()), &mut Losses::default())
            .expect_err("no answer")
            .0
    };
    let text = refused(r#"{"stopReason":"guardrail_intervened","usage":{"inputTokens":1}}"#);
    assert!(text.contains("guardrail_intervened"), "{text}");
    assert!(refused("{}").contains("none told"));
    assert!(!refused(r#"{"output":{}}"#).is_empty());
}

#[test]
fn an_answer_has_the_tokens_of_its_cache_in_its_prompt() {
    let body = json!({
        "output": {"message": {"content": null}},
        "usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 400},
    });
    let answer = decode_answer(&body.to_string().into(), &mut Losses::default()).expect("an answer");
    let usage = Usage {
        input_tokens: 431,
        cached_input_tokens: 30,
        cache_creation_input_tokens: 400,
        output_tokens: 2,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));
    assert_eq!(answer.choices[0].stop, StopReason::EndOfTurn);
}
