//! Laws of the dialect: what is read and said again is the same, a stream folds to the whole answer, and reasoning comes back as it went.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_chat::{
    Answer, Block, BlockKind, BlockStart, Choice, Conversation, Delta, DocumentSource, Effort, Event,
    ImageSource, Losses, Metadata, Origin, ResponseFormat, Role, Sampling, StopReason, Thinking, Tool,
    ToolChoice, Turn,
};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, Usage};
use tollgate_wire::json::{self, Map, Text};

use super::*;
use crate::fold::{frames, value};
use crate::laws::{self, context};
use crate::openai_chat::says_error;
use crate::words::{DecodeStream, EncodeStream, words};

fn block(kind: BlockKind) -> Block {
    Block { origin: "".into(), cache: None, kind }
}

fn object() -> impl Strategy<Value = json::Value> {
    vec(
        (
            "[a-z]{1,6}",
            prop_oneof![any::<i32>().prop_map(json::Value::from), ".{0,8}".prop_map(json::Value::from)],
        ),
        0..3,
    )
    .prop_map(|members| json::Value::Object(members.into_iter().collect::<Map>()))
}

fn text() -> impl Strategy<Value = BlockKind> {
    ".{1,20}".prop_map(|text| BlockKind::Text { text: text.into(), citations: Vec::new() })
}

fn media() -> impl Strategy<Value = BlockKind> {
    let image = ("[a-zA-Z0-9+/]{4,12}", option::of(Just("high".to_owned()))).prop_map(|(data, detail)| {
        BlockKind::Image {
            source: ImageSource::Base64 { media_type: "image/png".to_owned(), data: data.into() },
            detail,
        }
    });
    let url = "[a-z]{1,8}".prop_map(|name| {
        let source = ImageSource::Url(format!("https://example.com/{name}.png"));
        BlockKind::Image { source, detail: None }
    });
    let source = prop_oneof![
        "[a-zA-Z0-9+/]{4,12}".prop_map(|data| {
            DocumentSource::Base64 { media_type: "application/pdf".to_owned(), data: data.into() }
        }),
        "[a-z]{1,8}".prop_map(|name| DocumentSource::Url(format!("https://example.com/{name}.pdf"))),
        "[a-z]{1,8}".prop_map(DocumentSource::File),
    ];
    let file = (source, option::of("[a-z]{1,8}")).prop_map(|(source, title)| BlockKind::Document {
        source,
        title,
        context: None,
        cites: false,
    });
    prop_oneof![image, url, file]
}

fn user_blocks() -> impl Strategy<Value = Vec<Block>> {
    let content = vec(prop_oneof![4 => text(), 1 => media()].prop_map(block), 0..3);
    let result = ("[a-z0-9]{1,8}", content).prop_map(|(id, content)| {
        let says = |block: &Block| match &block.kind {
            BlockKind::Text { text, .. } => says_error(text),
            _ => false,
        };
        BlockKind::ToolResult { id, is_error: content.iter().any(says), content }
    });
    vec(prop_oneof![4 => text(), 1 => media(), 1 => result], 1..5)
        .prop_map(|kinds| kinds.into_iter().map(block).collect())
}

fn call() -> impl Strategy<Value = BlockKind> {
    ("[a-z0-9]{1,8}", "[a-z_]{1,8}", object()).prop_map(|(id, name, input)| BlockKind::ToolUse {
        id,
        name,
        input,
    })
}

fn refusal() -> impl Strategy<Value = BlockKind> {
    ".{1,20}".prop_map(|text| BlockKind::Refusal { text: text.into() })
}

prop_compose! {
    fn conversation()(
        system in option::of(".{1,20}"),
        pairs in vec((user_blocks(), vec(prop_oneof![text(), refusal(), call()].prop_map(block), 1..5)), 1..3),
        tools in vec(("[a-z_]{1,12}", option::of(".{1,12}"), object(), any::<bool>()), 1..3),
        choice in prop_oneof![
            Just(ToolChoice::Auto), Just(ToolChoice::Required), Just(ToolChoice::Forbidden),
            "[a-z]{1,8}".prop_map(ToolChoice::Named),
        ],
        (temperature, logprobs, top_logprobs) in
            (option::of(0.0..2.0_f64), option::of(Just(true)), option::of(0..20_u64)),
        format in option::of(prop_oneof![
            Just(ResponseFormat::Text),
            Just(ResponseFormat::JsonObject),
            (".{1,12}", option::of(".{1,12}"), object(), option::of(any::<bool>())).prop_map(
                |(name, description, schema, strict)| {
                    ResponseFormat::JsonSchema { name: Some(name), description, schema, strict }
                }
            ),
        ]),
        thinking in option::of(prop_oneof![
            option::of("omitted").prop_map(|display| Thinking::Enabled { budget_tokens: None, display }),
            option::of("omitted").prop_map(|display| Thinking::Adaptive { display }),
            Just(Thinking::Disabled),
        ]),
        effort in option::of(prop_oneof![Just("low"), Just("none"), Just("xhigh")]),
        verbosity in option::of(Just("high".to_owned())),
        streams in any::<bool>(),
        (user, output_tokens_max) in (option::of(".{1,8}"), option::of(any::<u64>())),
    ) -> Conversation {
        let pair = |(user, assistant)| {
            [Turn { role: Role::User, blocks: user }, Turn { role: Role::Assistant, blocks: assistant }]
        };
        let tool = |(name, description, schema, strict): (String, Option<String>, json::Value, bool)| Tool {
            origin: Origin::default(),
            name,
            description: description.map(Text::from),
            schema: Some(schema),
            strict: Some(strict),
            cache: None,
        };
        Conversation {
            system: system.map(|text| Block::text("", text)).into_iter().collect(),
            turns: pairs.into_iter().flat_map(pair).collect(),
            tools: tools.into_iter().map(tool).collect(),
            tool_choice: Some(choice),
            parallel_tools: Some(streams),
            output_tokens_max,
            stop: Vec::new(),
            sampling: Sampling { temperature, logprobs, top_logprobs, ..Sampling::default() },
            format,
            thinking,
            effort: effort.map(|word| Effort(word.to_owned())),
            verbosity,
            delivery: if streams { Delivery::Stream } else { Delivery::Whole },
            metadata: Metadata { user, labels: Some(value(json!({"team": "a"}))) },
            service_tier: Some("auto".to_owned()),
            extensions: Vec::new(),
            cache_key: Some("k".to_owned()),
        }
    }
}

prop_compose! {
    fn answer()(
        kinds in vec(prop_oneof![
            2 => text(),
            1 => refusal(),
            1 => call(),
            1 => (".{1,12}", option::of("[a-z0-9]{4,8}"))
                .prop_map(|(text, signature)| BlockKind::Thinking { text: text.into(), signature: signature.map(Text::from) }),
            1 => "[a-z0-9]{1,8}".prop_map(|signature| {
                BlockKind::Thinking { text: Text::default(), signature: Some(signature.into()) }
            }),
            1 => "[a-z0-9]{1,8}".prop_map(|data| BlockKind::RedactedThinking { data: data.into() }),
        ], 0..6),
        stop in prop_oneof![
            Just(StopReason::EndOfTurn), Just(StopReason::OutputLimit), Just(StopReason::Refusal),
        ],
        counts in (0..1_000_000_u64, 0..1_000_000_u64, 0..1_000_000_u64, 1..1_000_000_u64),
        (cited, tells_logprobs) in (laws::cited(), any::<bool>()),
    ) -> Answer {
        let mut blocks: Vec<Block> = kinds.iter().cloned().map(block).collect();
        laws::cite(&mut blocks, &cited);
        let texts = kinds.iter().filter(|kind| matches!(kind, BlockKind::Text { .. })).count();
        // Chat completions tell them of all texts together, so of several nobody knows whose they are.
        let logprobs = if tells_logprobs && texts == 1 { laws::logprobs(&blocks) } else { None };
        let (fresh, read, written, output_tokens) = counts;
        let has_called = kinds.iter().any(|kind| matches!(kind, BlockKind::ToolUse { .. }));
        let stop = if has_called && stop == StopReason::EndOfTurn { StopReason::ToolUse } else { stop };
        let usage = Usage {
            input_tokens: fresh + read + written,
            cached_input_tokens: read,
            cache_creation_input_tokens: written,
            output_tokens,
            reasoning_tokens: output_tokens / 2,
            provider_total_tokens: Some(fresh + read + written + output_tokens),
        };
        Answer {
            id: "id".to_owned(),
            model: Some("served".to_owned()),
            created_s: Some(1),
            choices: vec![Choice { blocks, stop, logprobs }],
            usage: Some(usage),
            service_tier: None,
        }
    }
}

proptest! {
    #[test]
    fn a_request_read_and_said_again_is_the_same(conversation in conversation()) {
        laws::request_again(&WORDS, conversation)?;
    }

    #[test]
    fn an_answer_read_and_said_again_is_the_same(answer in answer()) {
        laws::answer_again(&WORDS, answer)?;
    }

    #[test]
    fn a_stream_folds_to_the_whole_answer(
        answer in answer(),
        citing in laws::citing(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (whole, frames) = laws::stream_folds(&WORDS, answer, citing, cut)?;
        // The last event tells the same as a whole answer does.
        let last: Value = serde_json::from_slice(&frames.last().expect("events").data()).expect("JSON");
        let whole: Value = serde_json::from_slice(&whole).expect("JSON");
        prop_assert_eq!(&last["response"], &whole);
    }

    #[test]
    fn nonsense_is_refused_and_never_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        laws::refuses_nonsense(&WORDS, &bytes);
    }

    #[test]
    fn events_in_any_order_and_shape_are_no_panic(
        events in vec((0..EVENTS.len(), 0..3_u64, 0..3_u64, 0..3_usize), 0..20),
    ) {
        let mut decoder = StreamDecoder::new();
        for (kind, output, part, shape) in events {
            let value = [json!("x"), json!({"type": "output_text", "text": "x"}), json!(7)][shape].clone();
            let event = json!({
                "type": EVENTS[kind], "output_index": output, "content_index": part, "summary_index": part,
                "delta": value, "item": value, "part": value, "annotation": value, "response": value,
                "arguments": value, "error": value,
            });
            for frame in frames(format!("data: {event}\n\n").as_bytes(), 0) {
                let _ = decoder.frame(&frame, &mut Vec::new(), &mut Losses::default());
            }
        }
    }
}

const EVENTS: [&str; 12] = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.refusal.delta",
    "response.output_text.annotation.added",
    "response.content_part.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.of_tomorrow",
];

/// The content of the model's turn that comes back from a client of `client` to a backend of `backend`, which gave `answer`. `pick` is what
/// the client makes of the answer: the members that tell the next request what was said.
fn told_back(client: Dialect, backend: Dialect, answer: &Value, request: impl Fn(&Value) -> Value) -> Value {
    let body = Bytes::from(answer.to_string());
    let chat = Operation::Chat;
    let mut observer = crate::Observer::new(backend, chat, Delivery::Whole);
    let said = crate::translate_answer(client, backend, chat, &body, &context(), &mut observer);
    let said = said.expect("an answer");
    assert_eq!(said.losses, []);
    let request = request(&serde_json::from_slice(&said.body).expect("JSON"));
    let body = Bytes::from(request.to_string());
    let model = ModelName::parse("m").expect("a name");
    let asked =
        crate::translate_request(client, backend, chat, &body, &model, Delivery::Whole).expect("a request");
    assert_eq!(asked.losses, []);
    serde_json::from_slice(&asked.body.to_bytes()).expect("JSON")
}

fn anthropic_content() -> Value {
    json!([
        {"type": "thinking", "thinking": "First.\n\nSecond.", "signature": "EqQBCg=="},
        {"type": "redacted_thinking", "data": "EmwKAh=="},
        {"type": "thinking", "thinking": "", "signature": "EqQBCh=="},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
    ])
}

#[test]
fn anthropics_reasoning_comes_back_as_it_went() {
    let content = anthropic_content();
    let answer = json!({"id": "msg_1", "content": content, "stop_reason": "tool_use", "usage": {}});
    for strips_ids in [false, true] {
        let asked = told_back(Dialect::OpenAiResponses, Dialect::AnthropicMessages, &answer, |said| {
            let mut input = vec![json!({"role": "user", "content": "Look."})];
            input.extend(said["output"].as_array().expect("items").iter().cloned());
            if strips_ids {
                input.iter_mut().for_each(|item| drop(item.as_object_mut().expect("an item").remove("id")));
            }
            input.push(json!({"type": "function_call_output", "call_id": "toolu_1", "output": "1"}));
            json!({"model": "m", "input": input})
        });
        assert_eq!(asked["messages"][1], json!({"role": "assistant", "content": content}));
    }
}

#[test]
fn openais_reasoning_comes_back_as_it_went() {
    let summary = |text: &str| json!({"type": "summary_text", "text": text});
    let call =
        json!({"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"at\":1}"});
    let reasoning = [
        json!({"type": "reasoning", "id": "rs_1", "summary": [summary("One.")], "encrypted_content": "gAAAAAB1"}),
        json!({"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAAB2"}),
        json!({"type": "reasoning", "id": "rs_3", "summary": [], "content": [{"type": "reasoning_text", "text": "All."}]}),
    ];
    let output: Vec<Value> = reasoning.iter().cloned().chain([call.clone()]).collect();
    let answer = json!({"id": "resp_1", "status": "completed", "output": output});
    let asked = told_back(Dialect::AnthropicMessages, Dialect::OpenAiResponses, &answer, |said| {
        let user = json!({"role": "user", "content": "Look."});
        let messages = json!([user, {"role": "assistant", "content": said["content"]}]);
        json!({"model": "m", "max_tokens": 100, "messages": messages})
    });
    assert_eq!(asked["input"].as_array().expect("items")[1..], output);
    assert_eq!(asked["include"], json!(["reasoning.encrypted_content"]));
    let asked = told_back(Dialect::OpenAiChat, Dialect::OpenAiResponses, &answer, |said| {
        let user = json!({"role": "user", "content": "Look."});
        json!({"model": "m", "messages": [user, said["choices"][0]["message"]]})
    });
    assert_eq!(asked["input"].as_array().expect("items")[1..], output);
}

#[test]
fn a_summary_of_several_parts_is_one_text() {
    let summary = json!([{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]);
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "e"});
    let answer = json!({"id": "resp_1", "status": "completed", "output": [item]});
    let read = decode_answer(&answer.to_string().into(), &mut Losses::default()).expect("an answer");
    let expected = BlockKind::Thinking { text: "One.\n\nTwo.".into(), signature: Some("rs_1:e".into()) };
    assert_eq!(read.choices[0].blocks[0].kind, expected);
}

#[test]
fn an_answer_that_failed_is_none() {
    let words = &words(Dialect::OpenAiResponses).expect("words").backend;
    for status in ["failed", "in_progress", "cancelled", "queued"] {
        let body = json!({"id": "resp_1", "status": status, "output": [], "error": {"message": "no"}});
        assert!((words.decode_answer)(&body.to_string().into(), &mut Losses::default()).is_err(), "{status}");
    }
}

#[test]
fn a_stream_that_stops_early_is_not_whole() {
    let mut decoder = StreamDecoder::new();
    let event = json!({"type": "response.output_text.delta", "delta": "a"});
    for frame in frames(format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes(), 0) {
        decoder.frame(&frame, &mut Vec::new(), &mut Losses::default()).expect("an event");
    }
    assert!(decoder.finish(&mut Vec::new()).is_err());
}

#[test]
fn an_answer_too_long_to_be_said_twice_breaks_off() {
    let mut encoder = StreamEncoder::new(context());
    let mut stream = bytes::BytesMut::new();
    let start = BlockStart::Text;
    encoder.event(Event::BlockStart { choice: 0, block: 0, start }, &mut stream, &mut Losses::default());
    for _ in 0..40 {
        let delta = Delta::Text("a".repeat(1 << 20).into());
        encoder.event(Event::BlockDelta { choice: 0, block: 0, delta }, &mut stream, &mut Losses::default());
    }
    encoder.event(Event::End, &mut stream, &mut Losses::default());
    let events = frames(&stream, 0);
    assert_eq!(events.last().and_then(|frame| frame.event().map(<[u8]>::to_vec)), Some(b"error".to_vec()));
}
