//! Laws of the dialect: what is read and said again is the same, and a stream folds to the whole answer.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Conversation, Delta, DocumentSource, Effort, Event, ImageSource,
    Losses, Metadata, Origin, ResponseFormat, Role, Sampling, StopReason, Thinking, Tool, ToolChoice, Turn,
};
use tollgate_terms::{Delivery, Usage};
use tollgate_wire::json::{Map, Text, Value};

use super::*;
use crate::fold::{Fold, frames, value};
use crate::laws::{self};
use crate::words::DecodeStream;

fn block(kind: BlockKind) -> Block {
    Block { origin: "".into(), cache: None, kind }
}

fn object() -> impl Strategy<Value = Value> {
    vec(("[a-z]{1,6}", prop_oneof![any::<i32>().prop_map(Value::from), ".{0,8}".prop_map(Value::from)]), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map>()))
}

fn user_blocks() -> impl Strategy<Value = Vec<Block>> {
    let text = ".{1,20}".prop_map(|text| BlockKind::Text { text: text.into(), citations: Vec::new() });
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
    let file = ("[a-zA-Z0-9+/]{4,12}", "[a-z]{1,8}").prop_map(|(data, title)| BlockKind::Document {
        source: DocumentSource::Base64 { media_type: "application/pdf".to_owned(), data: data.into() },
        title: Some(title),
        context: None,
        cites: false,
    });
    let audio = "[a-zA-Z0-9+/]{4,12}"
        .prop_map(|data| BlockKind::Audio { data: data.into(), format: "wav".to_owned() });
    let result = ("[a-z0-9]{1,8}", ".{0,20}").prop_map(|(id, text)| BlockKind::ToolResult {
        id,
        is_error: says_error(&text.as_str().into()),
        content: if text.is_empty() { Vec::new() } else { vec![Block::text("", text)] },
    });
    let said = vec(prop_oneof![4 => text, 1 => image, 1 => url, 1 => file, 1 => audio], 1..4);
    (vec(result, 0..3), said)
        .prop_map(|(results, said)| results.into_iter().chain(said).map(block).collect::<Vec<_>>())
}

fn assistant_blocks() -> impl Strategy<Value = Vec<Block>> {
    let thinking = (".{1,12}", option::of("[a-z0-9]{4,8}")).prop_map(|(text, signature)| {
        BlockKind::Thinking { text: text.into(), signature: signature.map(Text::from) }
    });
    let redacted = "[a-z0-9]{1,8}".prop_map(|data| BlockKind::RedactedThinking { data: data.into() });
    let text = ".{1,20}".prop_map(|text| BlockKind::Text { text: text.into(), citations: Vec::new() });
    let refusal = ".{1,20}".prop_map(|text| BlockKind::Refusal { text: text.into() });
    let call = ("[a-z0-9]{1,8}", "[a-z_]{1,8}", object()).prop_map(|(id, name, input)| BlockKind::ToolUse {
        id,
        name,
        input,
    });
    (vec(prop_oneof![thinking, redacted], 0..3), vec(text, 1..3), option::of(refusal), vec(call, 0..3))
        .prop_map(|(thinking, texts, refusal, calls)| {
            thinking.into_iter().chain(texts).chain(refusal).chain(calls).map(block).collect::<Vec<_>>()
        })
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    vec((user_blocks(), assistant_blocks()), 1..3).prop_map(|pairs| {
        let pair = |(user, assistant)| {
            [Turn { role: Role::User, blocks: user }, Turn { role: Role::Assistant, blocks: assistant }]
        };
        pairs.into_iter().flat_map(pair).collect()
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let tool = ("[a-z_]{1,12}", option::of(".{1,12}"), option::of(object()), option::of(any::<bool>()));
    let tool = tool.prop_map(|(name, description, schema, strict)| Tool {
        origin: Origin::default(),
        name,
        description: description.map(Text::from),
        schema,
        strict,
        cache: None,
    });
    vec(tool, 1..3)
}

fn format() -> impl Strategy<Value = ResponseFormat> {
    let schema = (".{1,12}", option::of(".{1,12}"), object(), option::of(any::<bool>()));
    prop_oneof![
        Just(ResponseFormat::Text),
        Just(ResponseFormat::JsonObject),
        schema.prop_map(|(name, description, schema, strict)| ResponseFormat::JsonSchema {
            name: Some(name),
            description,
            schema,
            strict
        }),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let floats = (option::of(0.0..2.0_f64), option::of(0.0..1.0_f64), option::of(-2.0..2.0_f64));
    let whole = (option::of(any::<i64>()), option::of(1..5_u64), option::of(any::<bool>()));
    (floats, whole).prop_map(|((temperature, top_p, penalty), (seed, choices, logprobs))| Sampling {
        temperature,
        top_p,
        frequency_penalty: penalty,
        presence_penalty: penalty,
        seed,
        choices,
        logprobs,
        ..Sampling::default()
    })
}

prop_compose! {
    fn conversation()(
        system in option::of(".{1,20}"),
        turns in turns(),
        tools in tools(),
        choice in prop_oneof![
            Just(ToolChoice::Auto), Just(ToolChoice::Required), Just(ToolChoice::Forbidden),
            "[a-z]{1,8}".prop_map(ToolChoice::Named),
        ],
        output_tokens_max in option::of(any::<u64>()),
        stop in vec(".{1,4}", 0..3),
        sampling in sampling(),
        format in option::of(format()),
        thinking in option::of(prop_oneof![
            any::<u64>().prop_map(|tokens| Thinking::Enabled { budget_tokens: Some(tokens), display: None }),
            Just(Thinking::Adaptive { display: Some("omitted".to_owned()) }),
            Just(Thinking::Disabled),
        ]),
        effort in option::of(prop_oneof![Just("low"), Just("xhigh")]),
        verbosity in option::of(Just("low".to_owned())),
        streams in any::<bool>(),
        user in option::of(".{1,8}"),
    ) -> Conversation {
        Conversation {
            system: system.map(|text| Block::text("", text)).into_iter().collect(),
            turns,
            tools,
            tool_choice: Some(choice),
            parallel_tools: Some(streams),
            output_tokens_max,
            stop,
            sampling,
            format,
            thinking,
            effort: effort.map(|word| Effort(word.to_owned())),
            verbosity,
            delivery: if streams { Delivery::Stream } else { Delivery::Whole },
            metadata: Metadata { user, labels: None },
            service_tier: Some("auto".to_owned()),
            extensions: Vec::new(),
            cache_key: Some("k".to_owned()),
        }
    }
}

prop_compose! {
    fn answer()(
        choices in vec((assistant_blocks(), prop_oneof![
            Just(StopReason::EndOfTurn), Just(StopReason::OutputLimit), Just(StopReason::Refusal),
        ]), 1..3),
        prompt in 0..1_000_000_u64,
        completion in 0..1_000_000_u64,
        (cited, tells_logprobs) in (laws::cited(), any::<bool>()),
    ) -> Answer {
        let choices = choices.into_iter().map(|(mut blocks, stop)| {
            laws::cite(&mut blocks, &cited);
            let logprobs = if tells_logprobs { laws::logprobs(&blocks) } else { None };
            let called = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolUse { .. }));
            let stop = if called { StopReason::ToolUse } else { stop };
            Choice { blocks, stop, logprobs }
        }).collect();
        let usage = Usage {
            input_tokens: prompt,
            output_tokens: completion,
            provider_total_tokens: Some(prompt + completion),
            ..Usage::default()
        };
        Answer {
            id: "id".to_owned(),
            model: Some("served".to_owned()),
            created_s: Some(1),
            choices,
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
        laws::stream_folds(&WORDS, answer, citing, cut)?;
    }

    #[test]
    fn nonsense_is_refused_and_never_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        laws::refuses_nonsense(&WORDS, &bytes);
    }
}

#[test]
fn calls_of_tools_may_be_mixed() {
    let chunk = |index: usize, id: Option<&str>, arguments: &str| {
        let call = json!({"index": index, "id": id, "function": {"name": id, "arguments": arguments}});
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
    };
    let stream = [
        chunk(0, Some("a"), "{\"x\":"),
        chunk(1, Some("b"), "{}"),
        chunk(0, None, "1}"),
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let mut decoder = StreamDecoder::new();
    let mut events = Vec::new();
    for frame in frames(stream.as_bytes(), 0) {
        decoder.frame(&frame, &mut events, &mut Losses::default()).expect("a chunk");
    }
    assert_eq!(events.last(), Some(&Event::End));
    assert!(events.contains(&Event::BlockDelta { choice: 0, block: 0, delta: Delta::Input("1}".into()) }));
    let mut fold = Fold::default();
    events.into_iter().for_each(|event| fold.take(event));
    let inputs: Vec<Value> = fold.answer().choices[0]
        .blocks
        .iter()
        .filter_map(|block| match &block.kind {
            BlockKind::ToolUse { input, .. } => Some(input.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(inputs, [value(json!({"x": 1})), Map::new().into()]);
}

#[test]
fn a_stream_that_stops_early_is_not_whole() {
    let mut decoder = StreamDecoder::new();
    for frame in frames(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n", 0) {
        decoder.frame(&frame, &mut Vec::new(), &mut Losses::default()).expect("a chunk");
    }
    assert!(decoder.finish(&mut Vec::new()).is_err());
}
