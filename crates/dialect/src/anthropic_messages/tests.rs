//! Laws of the dialect: what is read and said again is the same, and a stream folds to the whole answer.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;
use tollgate_chat::{
    Answer, Block, BlockKind, BlockStart, CachePoint, Choice, Conversation, Delta, DocumentSource, Effort,
    Event, ImageSource, Losses, Metadata, Origin, ResponseFormat, Role, Sampling, StopReason, Thinking, Tool,
    ToolChoice, Turn,
};
use tollgate_terms::{Delivery, Usage};
use tollgate_wire::json::{self, Map, Text};

use super::*;
use crate::fold::{Citing, frames};
use crate::laws::{self, context};
use crate::words::EncodeStream;

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

fn cache() -> impl Strategy<Value = Option<CachePoint>> {
    option::of(option::of("1h").prop_map(|ttl| CachePoint { ttl }))
}

fn text() -> impl Strategy<Value = BlockKind> {
    ".{1,20}".prop_map(|text| BlockKind::Text { text: text.into(), citations: Vec::new() })
}

fn block(kind: impl Strategy<Value = BlockKind>) -> impl Strategy<Value = Block> {
    (kind, cache()).prop_map(|(kind, cache)| Block { origin: "".into(), cache, kind })
}

fn user_blocks() -> impl Strategy<Value = Vec<Block>> {
    let image = "[a-zA-Z0-9+/]{4,12}".prop_map(|data| BlockKind::Image {
        source: ImageSource::Base64 { media_type: "image/png".to_owned(), data: data.into() },
        detail: None,
    });
    let document = ("[a-z]{1,8}", option::of(".{1,8}"), any::<bool>()).prop_map(|(text, title, cites)| {
        BlockKind::Document { source: DocumentSource::Text(text.into()), title, context: None, cites }
    });
    let result = ("[a-z0-9]{1,8}", vec(block(text()), 0..2), any::<bool>())
        .prop_map(|(id, content, is_error)| BlockKind::ToolResult { id, content, is_error });
    let said = block(prop_oneof![4 => text(), 1 => image, 1 => document]);
    (vec(block(result), 0..3), vec(said, 1..4))
        .prop_map(|(results, said)| results.into_iter().chain(said).collect())
}

fn assistant_blocks() -> impl Strategy<Value = Vec<Block>> {
    let thinking = (".{0,12}", "[a-z0-9]{4,8}").prop_map(|(text, signature)| BlockKind::Thinking {
        text: text.into(),
        signature: Some(signature.into()),
    });
    let redacted = "[a-z0-9]{1,8}".prop_map(|data| BlockKind::RedactedThinking { data: data.into() });
    let call = ("[a-z0-9]{1,8}", "[a-z_]{1,8}", object()).prop_map(|(id, name, input)| BlockKind::ToolUse {
        id,
        name,
        input,
    });
    vec(prop_oneof![thinking, redacted, text(), call], 1..5).prop_map(|kinds| {
        kinds.into_iter().map(|kind| Block { origin: "".into(), cache: None, kind }).collect()
    })
}

prop_compose! {
    fn conversation()(
        system in vec(block(text()), 0..3),
        pairs in vec((user_blocks(), assistant_blocks()), 1..3),
        tools in vec(("[a-z_]{1,12}", option::of(".{1,12}"), object(), option::of(any::<bool>()), cache()), 0..3),
        choice in prop_oneof![
            Just(ToolChoice::Auto), Just(ToolChoice::Required), "[a-z]{1,8}".prop_map(ToolChoice::Named),
        ],
        (output_tokens_max, top_k) in (any::<u64>(), option::of(any::<u64>())),
        temperature in option::of(0.0..1.0_f64),
        stop in vec(".{1,4}", 0..3),
        schema in option::of(object()),
        thinking in option::of(prop_oneof![
            any::<u64>().prop_map(|tokens| Thinking::Enabled { budget_tokens: Some(tokens), display: None }),
            Just(Thinking::Adaptive { display: Some("omitted".to_owned()) }),
            Just(Thinking::BetweenTools),
            Just(Thinking::Disabled),
        ]),
        effort in option::of(prop_oneof![Just("low"), Just("max")]),
        streams in any::<bool>(),
        user in option::of(".{1,8}"),
    ) -> Conversation {
        let pair = |(user, assistant)| {
            [Turn { role: Role::User, blocks: user }, Turn { role: Role::Assistant, blocks: assistant }]
        };
        let has_tools = !tools.is_empty();
        let tool = |(name, description, schema, strict, cache): (String, Option<String>, json::Value, Option<bool>, _)| {
            Tool { origin: Origin::default(), name, description: description.map(Text::from), schema: Some(schema), strict, cache }
        };
        Conversation {
            system,
            turns: pairs.into_iter().flat_map(pair).collect(),
            tools: tools.into_iter().map(tool).collect(),
            tool_choice: has_tools.then_some(choice),
            parallel_tools: has_tools.then_some(streams),
            output_tokens_max: Some(output_tokens_max),
            stop,
            sampling: Sampling { temperature, top_k, ..Sampling::default() },
            format: schema.map(|schema| {
                ResponseFormat::JsonSchema { name: None, description: None, schema, strict: None }
            }),
            thinking,
            effort: effort.map(|word| Effort(word.to_owned())),
            verbosity: None,
            delivery: if streams { Delivery::Stream } else { Delivery::Whole },
            metadata: Metadata { user, labels: None },
            service_tier: Some("auto".to_owned()),
            extensions: Vec::new(),
            cache_key: None,
        }
    }
}

prop_compose! {
    fn answer()(
        blocks in assistant_blocks(),
        stop in prop_oneof![
            Just(StopReason::EndOfTurn), Just(StopReason::OutputLimit), Just(StopReason::ContextLimit),
            Just(StopReason::ToolUse), Just(StopReason::Refusal), Just(StopReason::Pause),
            ".{1,4}".prop_map(|text| StopReason::StopSequence(Some(text))),
        ],
        counts in (0..1_000_000_u64, 0..1_000_000_u64, 0..1_000_000_u64, 1..1_000_000_u64),
    ) -> Answer {
        let (fresh, read, written, output_tokens) = counts;
        let usage = Usage {
            input_tokens: fresh + read + written,
            cached_input_tokens: read,
            cache_creation_input_tokens: written,
            output_tokens,
            reasoning_tokens: output_tokens / 2,
            provider_total_tokens: None,
        };
        Answer {
            id: "id".to_owned(),
            model: Some("served".to_owned()),
            created_s: None,
            choices: vec![Choice { blocks, stop, logprobs: None }],
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
    fn a_stream_folds_to_the_whole_answer(answer in answer(), cut in any::<prop::sample::Index>()) {
        laws::stream_folds(&WORDS, answer, Citing::AtOnce, cut)?;
    }

    #[test]
    fn nonsense_is_refused_and_never_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        laws::refuses_nonsense(&WORDS, &bytes);
    }
}

#[test]
fn mixed_blocks_come_one_after_the_other() {
    let start = |block, start| Event::BlockStart { choice: 0, block, start };
    let delta = |block, text: &str| Event::BlockDelta { choice: 0, block, delta: Delta::Input(text.into()) };
    let call = |id: &str| BlockStart::ToolUse { id: id.to_owned(), name: id.to_owned() };
    let mut encoder = StreamEncoder::new(context());
    let mut stream = bytes::BytesMut::new();
    for event in [
        start(0, call("a")),
        delta(0, "{\"x\":"),
        start(1, call("b")),
        delta(1, "{}"),
        delta(0, "1}"),
        Event::BlockStop { choice: 0, block: 0 },
        Event::BlockStop { choice: 0, block: 1 },
        Event::Stop { choice: 0, reason: StopReason::ToolUse },
        Event::End,
    ] {
        encoder.event(event, &mut stream, &mut Losses::default());
    }
    let said: Vec<String> = frames(&stream, 0)
        .iter()
        .map(|frame| {
            let event: Value = serde_json::from_slice(&frame.data()).expect("JSON");
            format!("{} {}", event["type"].as_str().expect("a type"), event["index"])
        })
        .collect();
    let expected = [
        "message_start null",
        "content_block_start 0",
        "content_block_delta 0",
        "content_block_delta 0",
        "content_block_stop 0",
        "content_block_start 1",
        "content_block_delta 1",
        "content_block_stop 1",
        "message_delta null",
        "message_stop null",
    ];
    assert_eq!(said, expected);
}
