//! Laws of streamed answers: however one is cut into chunks, the client gets the same bytes and the record says the same; and
//! whatever a backend sends, the client is told how it ended, and nothing that only the gateway asked for.

#![expect(clippy::expect_used, reason = "a test may end at once")]

mod two_dialects;

use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use tollgate_config::Snapshot;
use tollgate_dialect::{Observer, Seen};
use tollgate_exchange::{Arrival, Attempt, BodyFraming, Chance, Ending, Exchange, RequestHead, Routed, Step};
use tollgate_terms::{BackendFault, Delivery, Dialect, Fault, Operation};
use tollgate_wire::sse::{Decoder, Piece};

/// A moment for all: when a chunk comes may differ.
#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

const DIALECTS: [Speaks; 2] = [Speaks::OpenAi, Speaks::Anthropic];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    OpenAi,
    Anthropic,
}

/// One event, or what stands in its place.
#[derive(Debug, Clone)]
enum Item {
    /// An event with this data.
    Event(Value),
    /// The data of an event that is no document, or bytes that are no event.
    Data(&'static str),
    Raw(&'static str),
}

/// How an event is written.
#[derive(Debug, Clone)]
struct Hand {
    line_end: &'static str,
    begin: &'static str,
    names_event: bool,
    /// Whether its data stands on two lines.
    breaks_data: bool,
}

/// What befalls a list of events.
#[derive(Debug, Clone)]
enum Mishap {
    Drop(Index),
    Repeat(Index),
    Swap(Index, Index),
    Insert(Index, Item),
    /// In front, since what comes first decides.
    Begin(Item),
}

/// How the body of the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    Good,
    Reset,
}

/// An answer as its backend sends it.
#[derive(Debug, Clone)]
struct Sent {
    backend: Speaks,
    body: Bytes,
    coding: Option<&'static str>,
    end: BodyEnd,
    /// Whether the client has asked for the usage, in a dialect where it has to.
    usage_wanted: bool,
}

/// Everything that is to be the same.
#[derive(Debug, PartialEq)]
struct Told {
    client: BytesMut,
    record: Value,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,12}", "[\"\\\\\n\ré日🙂{}:]{0,6}"]
}

fn openai_chunk(choices: Value) -> Item {
    Item::Event(json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": choices,
    }))
}

fn openai_delta() -> impl Strategy<Value = Item> {
    let delta = prop_oneof![
        4 => text().prop_map(|text| json!({"content": text})),
        1 => text().prop_map(|text| json!({"reasoning_content": text})),
        1 => text().prop_map(|text| json!({"refusal": text})),
        1 => (0..2_usize).prop_map(|index| json!({"tool_calls": [
            {"index": index, "id": format!("call_{index}"), "function": {"name": "f", "arguments": ""}}
        ]})),
        2 => (0..2_usize, text()).prop_map(|(index, text)| json!({"tool_calls": [
            {"index": index, "function": {"arguments": text}}
        ]})),
    ];
    (delta, 0..8_usize).prop_map(|(delta, index)| {
        openai_chunk(json!([{"index": index / 7, "delta": delta, "finish_reason": null}]))
    })
}

fn openai_usage(choices: Value) -> Item {
    let Item::Event(mut event) = openai_chunk(choices) else { return Item::Data("") };
    event["usage"] = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    Item::Event(event)
}

fn openai() -> impl Strategy<Value = Vec<Item>> {
    let reason = select(&["stop", "length", "tool_calls"][..]);
    (vec(openai_delta(), 0..6), reason, 0..4_u8, any::<bool>()).prop_map(|(deltas, reason, usage, done)| {
        let finish = json!([{"index": 0, "delta": {}, "finish_reason": reason}]);
        let mut items =
            vec![openai_chunk(json!([{"index": 0, "delta": {"role": "assistant", "content": ""}}]))];
        items.extend(deltas);
        items.push(if usage == 0 { openai_usage(finish) } else { openai_chunk(finish) });
        items.extend((usage > 1).then(|| openai_usage(json!([]))));
        items.extend((usage > 0 || done).then_some(Item::Data("[DONE]")));
        items
    })
}

fn anthropic_block() -> impl Strategy<Value = (Value, Vec<Value>)> {
    let texts = || vec(text(), 0..4);
    let deltas = |kind: &'static str, member: &'static str, texts: Vec<String>| {
        let deltas = texts.into_iter().map(move |text| json!({"type": kind, member: text}));
        deltas.collect::<Vec<_>>()
    };
    prop_oneof![
        3 => texts().prop_map(move |texts| {
            (json!({"type": "text", "text": ""}), deltas("text_delta", "text", texts))
        }),
        1 => texts().prop_map(move |texts| {
            (json!({"type": "thinking", "thinking": ""}), deltas("thinking_delta", "thinking", texts))
        }),
        1 => texts().prop_map(move |texts| {
            let block = json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}});
            (block, deltas("input_json_delta", "partial_json", texts))
        }),
    ]
}

fn anthropic() -> impl Strategy<Value = Vec<Item>> {
    let reason = select(&["end_turn", "max_tokens", "tool_use"][..]);
    (vec(anthropic_block(), 0..4), reason).prop_map(|(blocks, reason)| {
        let mut events = vec![json!({"type": "message_start", "message": {
            "id": "m1", "type": "message", "role": "assistant", "model": "m-1", "content": [],
            "usage": {"input_tokens": 11, "output_tokens": 1},
        }})];
        for (index, (block, deltas)) in blocks.into_iter().enumerate() {
            events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            events.extend(
                deltas
                    .into_iter()
                    .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
            );
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        events.push(json!({
            "type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7},
        }));
        events.push(json!({"type": "message_stop"}));
        events.into_iter().map(Item::Event).collect()
    })
}

/// What may stand anywhere.
fn other() -> impl Strategy<Value = Item> {
    prop_oneof![
        3 => select(&[": ping\n\n", "\n", ":\n: two\n\n", "id: 7\nretry: 9\n\n", "\u{feff}"][..])
            .prop_map(Item::Raw),
        2 => select(&["", "no JSON", "{", "null", "[]", "\"a\"", "[DONE]", "{\"type\":\"message_stop\"}"][..])
            .prop_map(Item::Data),
        1 => Just(Item::Event(json!({"type": "ping"}))),
        1 => Just(Item::Event(json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}))),
        1 => Just(Item::Event(json!({"error": {"type": "server_error", "message": "no"}}))),
        1 => Just(Item::Event(json!({"choices": [{"index": 0, "delta": {"content": 7}}]}))),
    ]
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        1 => any::<Index>().prop_map(Mishap::Drop),
        1 => any::<Index>().prop_map(Mishap::Repeat),
        1 => any::<(Index, Index)>().prop_map(|(one, two)| Mishap::Swap(one, two)),
        3 => (any::<Index>(), other()).prop_map(|(at, item)| Mishap::Insert(at, item)),
        1 => other().prop_map(Mishap::Begin),
    ]
}

fn befall(items: &mut Vec<Item>, mishap: Mishap) {
    let size = items.len();
    match mishap {
        Mishap::Begin(item) => items.insert(0, item),
        _ if size == 0 => {}
        Mishap::Drop(at) => drop(items.remove(at.index(size))),
        Mishap::Repeat(at) => items.insert(at.index(size), items[at.index(size)].clone()),
        Mishap::Swap(one, two) => items.swap(one.index(size), two.index(size)),
        Mishap::Insert(at, item) => items.insert(at.index(size), item),
    }
}

fn hand() -> impl Strategy<Value = Hand> {
    let line_end = prop_oneof![6 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    let begin = prop_oneof![6 => Just("data: "), 1 => Just("data:")];
    (line_end, begin, prop::bool::weighted(0.8), prop::bool::weighted(0.1)).prop_map(
        |(line_end, begin, names_event, breaks_data)| Hand { line_end, begin, names_event, breaks_data },
    )
}

fn write(item: &Item, hand: &Hand) -> Vec<u8> {
    let (data, kind) = match item {
        Item::Raw(raw) => return raw.replace('\n', hand.line_end).into_bytes(),
        Item::Data(data) => ((*data).to_owned(), None),
        Item::Event(event) => (event.to_string(), event["type"].as_str()),
    };
    let data = match data.strip_prefix('{') {
        Some(rest) if hand.breaks_data => format!("{{\n{}{rest}", hand.begin),
        _ => data,
    };
    let event = kind.filter(|_| hand.names_event).map(|kind| format!("event: {kind}\n")).unwrap_or_default();
    format!("{event}{}{data}\n\n", hand.begin).replace('\n', hand.line_end).into_bytes()
}

fn pack(events: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for event in events {
        encoder.write_all(event).expect("packed");
        encoder.flush().expect("packed");
    }
    encoder.finish().expect("packed")
}

/// Streams of both dialects: most of them good, all kinds of bad ones among them.
fn sent() -> impl Strategy<Value = Sent> {
    let items = prop_oneof![
        openai().prop_map(|items| (Speaks::OpenAi, items)),
        anthropic().prop_map(|items| (Speaks::Anthropic, items)),
    ];
    let mishaps = prop_oneof![2 => vec(mishap(), 0..1), 3 => vec(mishap(), 1..4)];
    let hands = prop_oneof![2 => vec(hand(), 1..2), 1 => vec(hand(), 2..6)];
    let truncates =
        prop_oneof![2 => Just(None), 1 => (1..4_usize).prop_map(Some), 1 => (4..400_usize).prop_map(Some)];
    let mistakes = prop_oneof![4 => vec(any::<(Index, u8)>(), 0..1), 1 => vec(any::<(Index, u8)>(), 1..3)];
    let coding = prop_oneof![2 => Just(None), 1 => Just(Some("gzip"))];
    let end = prop_oneof![3 => Just(BodyEnd::Good), 1 => Just(BodyEnd::Reset)];
    (items, mishaps, hands, truncates, mistakes, coding, end, any::<bool>()).prop_map(
        |((backend, mut items), mishaps, hands, truncates, mistakes, coding, end, usage_wanted)| {
            mishaps.into_iter().for_each(|mishap| befall(&mut items, mishap));
            let events: Vec<_> =
                items.iter().zip(hands.iter().cycle()).map(|(item, hand)| write(item, hand)).collect();
            let mut body = if coding.is_some() { pack(&events) } else { events.concat() };
            body.truncate(body.len().saturating_sub(truncates.unwrap_or_default()));
            for (at, byte) in mistakes {
                let at = at.index(body.len().max(1));
                body.get_mut(at).into_iter().for_each(|it| *it = byte);
            }
            Sent { backend, body: body.into(), coding, end, usage_wanted }
        },
    )
}

/// Where to cut: anywhere, after each byte, or into pieces of one size.
fn cuts() -> impl Strategy<Value = Cuts> {
    prop_oneof![
        4 => vec(any::<Index>(), 1..8).prop_map(Cuts::At),
        2 => (1..40_usize).prop_map(Cuts::Every),
    ]
}

#[derive(Debug, Clone)]
enum Cuts {
    At(Vec<Index>),
    Every(usize),
}

fn cut(body: &Bytes, cuts: &Cuts) -> Vec<Bytes> {
    let at = match cuts {
        Cuts::Every(size) => return body.chunks(*size).map(Bytes::copy_from_slice).collect(),
        Cuts::At(at) => at,
    };
    let mut at: Vec<usize> = at.iter().map(|at| at.index(body.len() + 1)).collect();
    at.sort_unstable();
    let starts = std::iter::once(0).chain(at.iter().copied());
    let ends = at.iter().copied().chain([body.len()]);
    starts.zip(ends).map(|(start, end)| body.slice(start..end)).collect()
}

static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(two_dialects::snapshot);

/// An attempt at a backend, up to the head of its answer.
fn attempt(client: Speaks, sent: &Sent) -> Attempt {
    let path = match client {
        Speaks::OpenAi => "/v1/chat/completions",
        Speaks::Anthropic => "/v1/messages",
    };
    let mut body = json!({
        "model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}],
    });
    if client == Speaks::OpenAi && sent.usage_wanted {
        body["stream_options"] = json!({"include_usage": true});
    }
    let body = body.to_string();
    let head = RequestHead {
        method: Method::POST,
        path: path.to_owned(),
        query: None,
        host: Some("h".to_owned()),
        headers: HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]),
        listener: "l".into(),
        client_address: String::new(),
        body: BodyFraming::Sized(body.len() as u64),
    };
    let arrival = Arrival {
        request_id: "r".into(),
        at: *NOW,
        at_unix_ms: 0,
        keyring: Arc::default(),
        vouched: Vec::new(),
    };
    let (mut exchange, plan) = Exchange::new(&SNAPSHOT, head, arrival);
    plan.expect("a body is wanted");
    let (routed, request): (Arc<Routed>, _) = exchange.on_request_body(body.into()).expect("a route");
    let mut attempt = Attempt::new(&routed, sent.backend as usize, 1, *NOW, 0).expect("a target");
    assert!(matches!(attempt.on_dispatch(&request, tollgate_exchange::Admission::First), Step::Forward(_)));
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let coding = sent.coding.map(HeaderValue::from_static);
    headers.extend(coding.map(|coding| (http::header::CONTENT_ENCODING, coding)));
    assert!(matches!(attempt.on_response_head(StatusCode::OK, headers, Chance::More), Step::Forward(_)));
    attempt
}

/// What a client whose response has begun is told, and what is recorded.
fn told(client: Speaks, sent: &Sent, chunks: Vec<Bytes>) -> Told {
    let mut attempt = attempt(client, sent);
    let mut out = BytesMut::new();
    let mut ended = None;
    for chunk in chunks {
        match attempt.on_response_chunk(chunk, *NOW) {
            Step::Forward(bytes) => out.extend_from_slice(&bytes),
            Step::Hold => {}
            Step::Retry(fault) => {
                ended = Some(attempt.on_stream_fault(fault, *NOW));
                break;
            }
            Step::Reply(_) | Step::Ask(_) => unreachable!("a stream asks nothing"),
        }
    }
    let (rest, fault) = ended.unwrap_or_else(|| match sent.end {
        BodyEnd::Good => attempt.on_response_end(*NOW),
        BodyEnd::Reset => attempt.on_stream_fault(Fault::Backend(BackendFault::Cut), *NOW),
    });
    out.extend_from_slice(&rest);
    let record = attempt.finish(fault.map_or(Ending::Delivered, Ending::Broken), *NOW);
    Told { client: out, record: serde_json::to_value(record).expect("a record") }
}

fn assert_same(client: Speaks, sent: &Sent, cuts: &Cuts) -> Result<(), TestCaseError> {
    let whole = told(client, sent, vec![sent.body.clone()]);
    prop_assert_eq!(&whole, &told(client, sent, cut(&sent.body, cuts)));
    prop_assert_eq!(&whole, &told(client, sent, cut(&sent.body, &Cuts::Every(1))), "byte by byte");
    Ok(())
}

/// What a client sees in its stream.
fn seen(client: Speaks, stream: &BytesMut) -> (Vec<Seen>, Observer) {
    let dialect = match client {
        Speaks::OpenAi => Dialect::OpenAiChat,
        Speaks::Anthropic => Dialect::AnthropicMessages,
    };
    let mut observer = Observer::new(dialect, Operation::Chat, Delivery::Stream);
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(stream.clone().freeze());
    let frames = std::iter::from_fn(|| decoder.next().or_else(|| decoder.finish()));
    let seen = frames.map(|piece| match piece {
        Piece::Frame(frame) => observer.frame(&frame),
        Piece::Oversize(_) | Piece::Tail(_) => Seen::Other,
    });
    (seen.collect(), observer)
}

fn assert_is_told(client: Speaks, sent: &Sent, told: &Told) -> Result<(), TestCaseError> {
    let (seen, observer) = seen(client, &told.client);
    match told.record["fault"].as_str() {
        None => prop_assert!(observer.is_complete(), "{:?}", told),
        Some("error_event") => prop_assert!(seen.contains(&Seen::Error), "{:?}", told),
        Some(_) => prop_assert_eq!(seen.last(), Some(&Seen::Error), "{:?}", told),
    }
    let may_tell_usage = client == Speaks::Anthropic || sent.usage_wanted;
    prop_assert!(may_tell_usage || !seen.contains(&Seen::UsageOnly), "{:?}", told);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 500, ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_tells_the_same(sent in sent(), cuts in cuts()) {
        for client in DIALECTS {
            assert_same(client, &sent, &cuts)?;
        }
    }

    #[test]
    fn a_client_is_told_how_it_ended(sent in sent()) {
        for client in DIALECTS {
            assert_is_told(client, &sent, &told(client, &sent, vec![sent.body.clone()]))?;
        }
    }
}

fn plain(backend: Speaks, body: String) -> Sent {
    Sent { backend, body: body.into(), coding: None, end: BodyEnd::Good, usage_wanted: false }
}

#[test]
fn an_event_that_is_too_large_to_be_read_comes_to_the_same_however_it_is_cut() {
    let text = "x".repeat((1 << 20) + 100_000);
    let done = "data: [DONE]";
    for end in ["\n", "\r", "\r\n"] {
        let body = format!("data: {{}}\n\ndata: \"{text}\"\n\n{done}\n\n").replace('\n', end);
        let sent = plain(Speaks::OpenAi, body);
        for client in DIALECTS {
            let whole = told(client, &sent, vec![sent.body.clone()]);
            for size in [1000, 4096, 300_000, (1 << 20) + 1] {
                let cut = told(client, &sent, cut(&sent.body, &Cuts::Every(size)));
                assert!(cut == whole, "{client:?}, {end:?}, chunks of {size} bytes");
            }
            assert_eq!(client == Speaks::OpenAi, whole.client == sent.body, "{end:?}");
        }
    }
}

#[test]
fn comments_before_an_error_leave_another_backend_its_chance() {
    let sent = plain(Speaks::OpenAi, String::new());
    let mut attempt = attempt(Speaks::OpenAi, &sent);
    let step = attempt.on_response_chunk(Bytes::from_static(b": one moment\n\n"), *NOW);
    assert!(matches!(step, Step::Hold), "{step:?}");
    let step = attempt.on_response_chunk(Bytes::from_static(b"data: {\"error\":{}}\n\n"), *NOW);
    assert!(matches!(step, Step::Retry(Fault::Backend(BackendFault::ErrorEvent))), "{step:?}");
}

#[test]
fn a_last_event_without_its_blank_line_is_one_unless_it_is_half() {
    let finish =
        r#"data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"id":"c1","model":"m-1","choices":[],"usage":{"prompt_tokens":11}}"#;
    let outcome = |body: &str| {
        let sent = plain(Speaks::OpenAi, body.to_owned());
        let told = told(Speaks::OpenAi, &sent, vec![sent.body.clone()]);
        let client = String::from_utf8(told.client.to_vec()).expect("text");
        (client, told.record["outcome"].as_str().expect("an outcome").to_owned())
    };
    let complete = "complete".to_owned();
    assert_eq!(outcome(finish), (format!("{finish}\n\n"), complete.clone()));
    // The usage that only the gateway asked for stays hidden there too.
    assert_eq!(outcome(&format!("{finish}\n\n{usage}")), (format!("{finish}\n\n"), complete));
    // Neither half an event nor the end that it would have told reaches anybody.
    let (client, outcome) = outcome(finish.strip_suffix('}').expect("its end"));
    assert!(client.starts_with("data: {\"type\":\"error\""), "{client}");
    assert_eq!(outcome, "upstream_cut");
}
