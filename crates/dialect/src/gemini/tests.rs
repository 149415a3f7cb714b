//! Laws of the dialect: what is read and said again is the same, and a stream folds to the whole answer.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use tollgate_chat::{
    Answer, Block, BlockKind, Choice, Conversation, Delta, DocumentSource, Effort, Event, Extension,
    ImageSource, Losses, Metadata, Origin, ResponseFormat, Role, Sampling, StopReason, Thinking, Tool,
    ToolChoice, Turn, Wish,
};
use tollgate_terms::{Delivery, ModelName, Usage};
use tollgate_wire::json::{Map, Text, Value};

use super::*;
use crate::fold::{frames, value};
use crate::laws::{self};
use crate::words::DecodeStream;

fn object() -> impl Strategy<Value = Value> {
    vec(("[a-z]{1,6}", prop_oneof![any::<i32>().prop_map(Value::from), ".{0,8}".prop_map(Value::from)]), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map>()))
}

fn text() -> impl Strategy<Value = BlockKind> {
    ".{1,20}".prop_map(|text| BlockKind::Text { text: text.into(), citations: Vec::new() })
}

fn block(kind: BlockKind) -> Block {
    Block { origin: "".into(), cache: None, kind }
}

fn user_blocks() -> impl Strategy<Value = Vec<Block>> {
    let image = ("[a-zA-Z0-9+/]{4,12}", option::of(prop_oneof![Just("low"), Just("high")])).prop_map(
        |(data, detail)| BlockKind::Image {
            source: ImageSource::Base64 { media_type: "image/png".to_owned(), data: data.into() },
            detail: detail.map(str::to_owned),
        },
    );
    let address = "[a-z]{1,8}".prop_map(|name| BlockKind::Image {
        source: ImageSource::Url(format!("gs://bucket/{name}.png")),
        detail: None,
    });
    let document = ("[a-zA-Z0-9]{4}", option::of(".{1,8}")).prop_map(|(data, title)| {
        let source = DocumentSource::Base64 { media_type: "application/pdf".to_owned(), data: data.into() };
        BlockKind::Document { source, title, context: None, cites: false }
    });
    let audio =
        "[a-zA-Z0-9]{4}".prop_map(|data| BlockKind::Audio { data: data.into(), format: "wav".to_owned() });
    vec(prop_oneof![4 => text(), 1 => image, 1 => address, 1 => document, 1 => audio].prop_map(block), 1..4)
}

fn model_blocks() -> impl Strategy<Value = Vec<Block>> {
    let thinking = (".{0,12}", "[a-z0-9]{4}").prop_map(|(text, signature)| BlockKind::Thinking {
        text: text.into(),
        signature: Some(signature.into()),
    });
    let call = ("[a-z_]{1,8}", object()).prop_map(|(name, input)| BlockKind::ToolUse {
        id: String::new(),
        name,
        input,
    });
    vec(prop_oneof![thinking, text(), call].prop_map(block), 1..6)
}

/// Gives each call an id.
fn numbered(mut blocks: Vec<Block>, turn: usize) -> Vec<Block> {
    for (index, block) in blocks.iter_mut().enumerate() {
        if let BlockKind::ToolUse { id, .. } = &mut block.kind {
            *id = format!("call-{turn}-{index}");
        }
    }
    blocks
}

/// The results of the calls among `blocks`.
fn results(blocks: &[Block], text: &str, is_error: bool) -> Vec<Block> {
    let calls = blocks.iter().filter_map(|block| match &block.kind {
        BlockKind::ToolUse { id, .. } => Some(id.clone()),
        _ => None,
    });
    let result = |id| BlockKind::ToolResult { id, content: vec![Block::text("", text)], is_error };
    calls.map(|id| block(result(id))).collect()
}

prop_compose! {
    fn turns()(
        pairs in vec((user_blocks(), model_blocks()), 1..4),
        result in prop_oneof![".{0,12}", Just("{\"a\":1}".to_owned()), Just("{\"output\":\"x\"}".to_owned())],
        is_error in any::<bool>(),
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut before = Vec::new();
        for (index, (user, model)) in pairs.into_iter().enumerate() {
            let blocks = before.into_iter().chain(user).collect();
            let model = numbered(model, index);
            before = results(&model, &result, is_error);
            turns.push(Turn { role: Role::User, blocks });
            turns.push(Turn { role: Role::Assistant, blocks: model });
        }
        turns
    }
}

fn extension() -> impl Strategy<Value = Extension> {
    let wish = prop_oneof![
        Just(Wish::Safety(value(json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}])))),
        Just(Wish::MediaResolution("MEDIA_RESOLUTION_LOW".to_owned())),
        Just(Wish::ServerTool { name: "googleSearch".to_owned(), options: Map::new().into() }),
    ];
    wish.prop_map(|wish| Extension { origin: Origin::default(), wish })
}

prop_compose! {
    fn conversation()(
        system in vec(text().prop_map(block), 0..3),
        turns in turns(),
        tools in vec(("[a-z_]{1,12}", option::of(".{1,12}"), option::of(object())), 0..3),
        choice in prop_oneof![
            Just(ToolChoice::Auto), Just(ToolChoice::Required), Just(ToolChoice::Forbidden),
            "[a-z]{1,8}".prop_map(ToolChoice::Named),
        ],
        (output_tokens_max, top_k) in (0..i64::MAX as u64, option::of(0..i64::MAX as u64)),
        temperature in option::of(0.0..1.0_f64),
        (seed, choices, logprobs) in (option::of(any::<i32>()), option::of(1..8_u64), option::of(any::<bool>())),
        stop in vec(".{1,4}", 0..3),
        format in option::of(prop_oneof![
            Just(ResponseFormat::JsonObject),
            vec("[a-z]{1,4}", 1..3).prop_map(ResponseFormat::Choice),
            object().prop_map(|schema| {
                ResponseFormat::JsonSchema { name: None, description: None, schema, strict: None }
            }),
        ]),
        (thinking, effort) in prop_oneof![
            Just((None, None)),
            (0..i64::MAX as u64).prop_map(|tokens| {
                (Some(Thinking::Enabled { budget_tokens: Some(tokens), display: None }), None)
            }),
            Just((Some(Thinking::Adaptive { display: Some("omitted".to_owned()) }), Some("high"))),
            Just((Some(Thinking::Disabled), None)),
            Just((None, Some("low"))),
        ],
        tier in option::of(prop_oneof![Just("default"), Just("flex"), Just("priority")]),
        labels in option::of(Just(value(json!({"team": "a-1"})))),
        extensions in vec(extension(), 0..3),
    ) -> Conversation {
        let mut extensions = extensions;
        // The hub's order is that of the reader.
        extensions.sort_by_key(|extension| match extension.wish {
            Wish::ServerTool { .. } => 0,
            Wish::MediaResolution(_) => 1,
            Wish::Safety(_) => 2,
        });
        let has_tools = !tools.is_empty();
        let tool = |(name, description, schema): (String, Option<String>, Option<Value>)| {
            Tool { origin: Origin::default(), name, description: description.map(Text::from), schema, strict: None, cache: None }
        };
        Conversation {
            system,
            turns,
            tools: tools.into_iter().map(tool).collect(),
            tool_choice: has_tools.then_some(choice),
            parallel_tools: None,
            output_tokens_max: Some(output_tokens_max),
            stop,
            sampling: Sampling {
                temperature, top_k, choices, logprobs, seed: seed.map(i64::from), ..Sampling::default()
            },
            format,
            thinking,
            effort: effort.map(|word| Effort(word.to_owned())),
            delivery: Delivery::Whole,
            metadata: Metadata { user: None, labels },
            verbosity: None,
            cache_key: None,
            service_tier: tier.map(str::to_owned),
            extensions,
        }
    }
}

/// Two texts in a row are one in a stream.
fn apart(mut blocks: Vec<Block>) -> Vec<Block> {
    let is_text = |block: &Block| matches!(block.kind, BlockKind::Text { .. });
    blocks.dedup_by(|two, one| is_text(one) && is_text(two));
    blocks
}

prop_compose! {
    fn choice()(
        blocks in model_blocks(),
        stop in prop_oneof![
            Just(StopReason::EndOfTurn), Just(StopReason::OutputLimit), Just(StopReason::ToolUse),
            Just(StopReason::Refusal), Just(StopReason::Other("RECITATION".to_owned())),
        ],
        (cited, tells_logprobs) in (laws::cited(), any::<bool>()),
    ) -> Choice {
        let mut blocks = numbered(apart(blocks), 0);
        laws::cite(&mut blocks, &cited);
        let logprobs = if tells_logprobs { laws::logprobs(&blocks) } else { None };
        Choice { blocks, stop, logprobs }
    }
}

prop_compose! {
    fn answer()(
        choices in vec(choice(), 1..3),
        created_s in option::of(0..4_000_000_000_u64),
        (fresh, read, output_tokens) in (0..1_000_000_u64, 0..1_000_000_u64, 1..1_000_000_u64),
    ) -> Answer {
        let usage = Usage {
            input_tokens: fresh + read,
            cached_input_tokens: read,
            cache_creation_input_tokens: 0,
            output_tokens,
            reasoning_tokens: output_tokens / 2,
            provider_total_tokens: None,
        };
        Answer {
            id: "id".to_owned(),
            model: Some("served".to_owned()),
            created_s,
            choices,
            usage: Some(usage),
            service_tier: None,
        }
    }
}

proptest! {
    #[test]
    fn a_request_read_and_said_again_is_the_same(
        conversation in conversation(),
        model in prop_oneof![Just("gemini-3-pro"), Just("gemini-4-flash")],
    ) {
        let model = ModelName::parse(model).expect("a name");
        let mut losses = Losses::default();
        let said = encode_request(conversation, &model, &mut losses).expect("words for all of it").to_bytes();
        let mut losses = Losses::default();
        let read = decode_request((&said).into(), &mut losses).expect("what was said");
        let again = encode_request(read, &model, &mut losses).expect("words for all of it").to_bytes();
        prop_assert_eq!(&said, &again);
        prop_assert_eq!(losses.as_slice(), []);
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

/// Events of one stream, and whether it came to its end.
fn read(stream: &str) -> (Vec<Event>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut events = Vec::new();
    let frames = frames(stream.as_bytes(), 0);
    let is_read =
        frames.iter().all(|frame| decoder.frame(frame, &mut events, &mut Losses::default()).is_ok());
    let is_whole = is_read && decoder.finish(&mut events).is_ok();
    (events, is_whole)
}

#[test]
fn a_stream_that_stops_early_is_not_whole() {
    let text = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n";
    let end = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
    for (stream, is_whole) in [
        (String::new(), false),
        (text.to_owned(), false),
        ("data: {\"usageMetadata\":{\"promptTokenCount\":1}}\n\n".to_owned(), false),
        (format!("{text}{end}"), true),
        (end.to_owned(), true),
        ("data: {\"candidates\":[{\"index\":99999999999}]}\n\n".to_owned(), false),
        ("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n".to_owned(), true),
    ] {
        assert_eq!(read(&stream).1, is_whole, "{stream}");
    }
}

#[test]
fn the_signature_of_a_call_stands_before_it() {
    let stream = concat!(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"},",
        "\"thoughtSignature\":\"c2ln\"}]},\"finishReason\":\"STOP\"}]}\n\n",
    );
    let (events, _) = read(stream);
    let signed = Event::BlockDelta { choice: 0, block: 1, delta: Delta::Signature("c2ln".into()) };
    assert!(events.contains(&signed), "{events:?}");
    assert!(events.contains(&Event::Stop { choice: 0, reason: StopReason::ToolUse }), "{events:?}");
}

#[test]
fn both_names_of_a_member_are_known() {
    let body = json!({
        "system_instruction": {"parts": [{"text": "s"}]},
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}],
        "generation_config": {"top_p": 0.5, "thinking_config": {"thinking_level": "LOW"}},
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"a_b": 1}}]}],
    });
    let mut losses = Losses::default();
    let body = bytes::Bytes::from(body.to_string());
    let read = decode_request((&body).into(), &mut losses).expect("a request");
    assert_eq!(losses.as_slice(), []);
    assert_eq!(read.sampling.top_p, Some(0.5));
    assert_eq!(read.effort, Some(Effort("low".to_owned())));
    assert_eq!(read.tools[0].schema, Some(value(json!({"a_b": 1}))));
}
