//! For tests: a stream folded to the answer that it tells, and an answer unfolded to a stream.

use bytes::Bytes;
use tollgate_chat::{Answer, Block, BlockKind, BlockStart, Choice, Delta, Event, StopReason};
use tollgate_wire::json::{Map, Text, Value};
use tollgate_wire::sse::{Decoder, Frame, Piece};

/// The frames of a stream that comes in two chunks.
pub(crate) fn frames(stream: &[u8], cut: usize) -> Vec<Frame> {
    let (one, two) = stream.split_at(cut);
    let mut decoder = Decoder::new(1 << 20);
    let mut frames = Vec::new();
    for chunk in [one, two] {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = decoder.next() {
            if let Piece::Frame(frame) = piece {
                frames.push(frame);
            }
        }
    }
    frames
}

/// Puts the events of a stream together.
#[derive(Default)]
pub(crate) struct Fold {
    answer: Option<Answer>,
    /// Choice, block, and what it is so far; inputs as text.
    blocks: Vec<(usize, usize, BlockKind, String)>,
    /// Choice, and log probabilities of its text.
    logprobs: Vec<(usize, Value)>,
    stops: Vec<(usize, StopReason)>,
}

impl Fold {
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Start { id, model, created_s, usage } => {
                let choices = Vec::new();
                self.answer = Some(Answer { id, model, created_s, choices, usage, service_tier: None });
            }
            Event::BlockStart { choice, block, start } => {
                assert!(
                    !self.blocks.iter().any(|(c, b, ..)| (*c, *b) == (choice, block)),
                    "a block begins once"
                );
                self.blocks.push((choice, block, begun(start), String::new()));
            }
            Event::BlockDelta { choice, block, delta } => self.delta(choice, block, delta),
            Event::BlockStop { .. } | Event::Ping | Event::End => {}
            Event::Stop { choice, reason } => self.stops.push((choice, reason)),
            Event::Usage(usage) => self.answer.as_mut().expect("a start").usage = Some(usage),
            Event::Error { kind, message } => panic!("{kind}: {message}"),
        }
    }

    fn delta(&mut self, choice: usize, block: usize, delta: Delta) {
        if let Delta::Logprobs(tokens) = delta {
            self.logprobs.extend(tokens.into_iter().map(|token| (choice, token)));
            return;
        }
        let open = self.blocks.iter_mut().find(|(c, b, ..)| (*c, *b) == (choice, block));
        let (_, _, kind, input) = open.expect("a block that has begun");
        match (kind, delta) {
            (
                BlockKind::Text { text, .. } | BlockKind::Refusal { text } | BlockKind::Thinking { text, .. },
                Delta::Text(more),
            ) => *text = Text::join(vec![std::mem::take(text), more], ""),
            (BlockKind::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
            (BlockKind::Thinking { signature, .. }, Delta::Signature(more)) => {
                let before = signature.take().unwrap_or_default();
                *signature = Some(Text::join(vec![before, more], ""));
            }
            (BlockKind::ToolUse { .. }, Delta::Input(more)) => input.push_str(&more.as_str()),
            (kind, delta) => panic!("{delta:?} in {kind:?}"),
        }
    }

    /// The whole answer.
    pub(crate) fn answer(self) -> Answer {
        let mut answer = self.answer.expect("a start");
        let mut stops = self.stops;
        stops.sort_by_key(|(choice, _)| *choice);
        answer.choices =
            stops.into_iter().map(|(_, stop)| Choice { blocks: Vec::new(), stop, logprobs: None }).collect();
        for (choice, token) in self.logprobs {
            let told = answer.choices[choice].logprobs.get_or_insert_with(
                || crate::fields::object!({"content": Value::Array(Vec::new()), "refusal": Value::Null}),
            );
            told.get_mut("content").and_then(Value::as_array_mut).expect("a list").push(token);
        }
        for (choice, _, mut kind, text) in self.blocks {
            if let BlockKind::ToolUse { input, .. } = &mut kind
                && !text.is_empty()
            {
                *input = serde_json::from_str(&text).expect("JSON");
            }
            answer.choices[choice].blocks.push(Block { origin: "".into(), cache: None, kind });
        }
        answer
    }
}

fn begun(start: BlockStart) -> BlockKind {
    match start {
        BlockStart::Text => BlockKind::Text { text: Text::default(), citations: Vec::new() },
        BlockStart::Refusal => BlockKind::Refusal { text: Text::default() },
        BlockStart::Thinking => BlockKind::Thinking { text: Text::default(), signature: None },
        BlockStart::RedactedThinking { data } => BlockKind::RedactedThinking { data },
        BlockStart::ToolUse { id, name } => BlockKind::ToolUse { id, name, input: Map::new().into() },
        BlockStart::Foreign { name } => BlockKind::Foreign { name, value: Value::Null },
    }
}

/// The same value, of the gateway's own kind.
pub(crate) fn value(json: serde_json::Value) -> Value {
    serde_json::from_value(json).expect("a value")
}

/// When it is told what a text rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Citing {
    /// Behind the text.
    AtOnce,
    /// At the end of the choice.
    AtTheEnd,
}

/// The events that tell an answer, with each text in two pieces.
pub(crate) fn unfold(answer: &Answer, citing: Citing) -> Vec<Event> {
    let Answer { id, model, created_s, choices, usage, service_tier: _ } = answer.clone();
    let mut events = vec![Event::Start { id, model, created_s, usage: None }];
    for (choice, Choice { blocks, stop, logprobs }) in choices.into_iter().enumerate() {
        let mut tokens = logprobs.and_then(|told| told.get("content")?.as_array().cloned());
        let mut late = Vec::new();
        for (block, Block { kind, .. }) in blocks.into_iter().enumerate() {
            let (start, deltas) = pieces(kind);
            let tokens = if start == BlockStart::Text { tokens.take() } else { None };
            events.push(Event::BlockStart { choice, block, start });
            events.extend(tokens.map(|tokens| Event::BlockDelta {
                choice,
                block,
                delta: Delta::Logprobs(tokens),
            }));
            for delta in deltas {
                let is_late = citing == Citing::AtTheEnd && matches!(delta, Delta::Citation(_));
                let told = if is_late { &mut late } else { &mut events };
                told.push(Event::BlockDelta { choice, block, delta });
            }
            events.push(Event::BlockStop { choice, block });
        }
        events.append(&mut late);
        events.push(Event::Stop { choice, reason: stop });
    }
    events.extend(usage.map(Event::Usage));
    events.push(Event::End);
    events
}

fn pieces(kind: BlockKind) -> (BlockStart, Vec<Delta>) {
    match kind {
        BlockKind::Text { text, citations } => {
            let mut deltas = halves(&text, Delta::Text);
            deltas.extend(citations.into_iter().map(Delta::Citation));
            (BlockStart::Text, deltas)
        }
        BlockKind::Refusal { text } => (BlockStart::Refusal, halves(&text, Delta::Text)),
        BlockKind::Thinking { text, signature } => {
            let mut deltas = halves(&text, Delta::Text);
            deltas.extend(signature.map(Delta::Signature));
            (BlockStart::Thinking, deltas)
        }
        BlockKind::RedactedThinking { data } => (BlockStart::RedactedThinking { data }, Vec::new()),
        BlockKind::ToolUse { id, name, input } => {
            (BlockStart::ToolUse { id, name }, halves(&Text::of_document(&input), Delta::Input))
        }
        other => panic!("{other:?} in an answer"),
    }
}

fn halves(text: &Text, delta: impl Fn(Text) -> Delta) -> Vec<Delta> {
    let text = text.as_str();
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (one, two) = text.split_at(middle);
    [one, two].into_iter().filter(|half| !half.is_empty()).map(|half| delta(half.into())).collect()
}
