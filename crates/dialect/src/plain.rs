//! Turns of nothing but text, as most are: read as they stand, without values in between. All others are read by the decoder of their
//! dialect, as these would be, too.

use tollgate_chat::{Block, Effect, LossKind, Losses, Origin, Role, Turn};
use tollgate_wire::json::{Apart, Cursor, Document, Item, Text};

use crate::Invalid;
use crate::fields::{Fields, loss};

/// How a dialect writes its turns.
pub(crate) struct PlainTurns {
    /// The member of a request that lists them.
    pub(crate) list: &'static str,
    /// Who speaks, by the word for the role.
    pub(crate) speakers: &'static [(&'static str, Speaker)],
    /// The type that a turn may tell, where others may stand in the list.
    pub(crate) kind: Option<&'static str>,
    /// The member of a turn that holds its content.
    pub(crate) content: &'static str,
    /// What the content is.
    pub(crate) parts: Parts,
}

/// The content of a turn.
#[derive(Clone, Copy)]
pub(crate) enum Parts {
    /// A text, or a list of parts with a type. These are those of texts.
    Typed(&'static [&'static str]),
    /// A list of parts that tell by their members what they are. One with an empty text says nothing.
    Untyped,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// Who has set up the conversation.
    System,
    /// The user or a tool.
    User,
    /// The model.
    Model,
}

/// A turn of nothing but text.
#[derive(Debug, PartialEq)]
pub(crate) struct PlainTurn {
    pub(crate) speaker: Speaker,
    pub(crate) blocks: Vec<Block>,
}

impl PlainTurns {
    /// Reads a body, and apart from it the turns, where they are a list.
    pub(crate) fn read(&self, body: Document<'_>) -> Result<Apart<PlainTurn>, Invalid> {
        let mut index = 0;
        let read = body.read_list(self.list, |cursor| {
            let turn = self.turn(cursor, index);
            index += 1;
            turn
        });
        read.map_err(|malformed| Invalid::from_malformed(&malformed))
    }

    /// The turns of a body that has been read: `apart` from it, or as its member.
    pub(crate) fn of(
        &self,
        apart: Option<Vec<Item<PlainTurn>>>,
        body: &mut Fields,
    ) -> Result<Vec<Item<PlainTurn>>, Invalid> {
        match apart {
            Some(turns) => Ok(turns),
            None => Ok(body.list(self.list)?.into_iter().map(Item::Value).collect()),
        }
    }

    /// Who speaks in a role.
    pub(crate) fn speaker(&self, role: &[u8]) -> Option<Speaker> {
        self.speakers.iter().find(|(word, _)| role == word.as_bytes()).map(|(_, speaker)| *speaker)
    }

    fn turn(&self, cursor: &mut Cursor<'_, '_>, index: usize) -> Option<PlainTurn> {
        let (mut speaker, mut blocks) = (None, None);
        cursor.members(|cursor, key| {
            if key == b"role" {
                set_once(&mut speaker, self.speaker(cursor.word()?)?)
            } else if key == self.content.as_bytes() {
                set_once(&mut blocks, self.content(cursor, index)?)
            } else if key == b"type" {
                (cursor.word()? == self.kind?.as_bytes()).then_some(())
            } else {
                None
            }
        })?;
        Some(PlainTurn { speaker: speaker?, blocks: blocks? })
    }

    fn content(&self, cursor: &mut Cursor<'_, '_>, turn: usize) -> Option<Vec<Block>> {
        let mut blocks = Vec::with_capacity(1);
        if let Parts::Typed(_) = self.parts
            && let Some(text) = cursor.text()
        {
            if !text.is_empty() {
                blocks.push(Block::text(self.origin(turn, None), text));
            }
            return Some(blocks);
        }
        let mut index = 0;
        cursor.items(|cursor| {
            let text = self.part(cursor)?;
            if !(text.is_empty() && matches!(self.parts, Parts::Untyped)) {
                blocks.push(Block::text(self.origin(turn, Some(index)), text));
            }
            index += 1;
            Some(())
        })?;
        Some(blocks)
    }

    fn part(&self, cursor: &mut Cursor<'_, '_>) -> Option<Text> {
        let (mut text, mut kind) = (None, None);
        cursor.members(|cursor, key| {
            if key == b"text" {
                set_once(&mut text, cursor.text()?)
            } else if key == b"type" {
                set_once(&mut kind, cursor.word()?)
            } else {
                None
            }
        })?;
        let is_text = match (self.parts, kind) {
            (Parts::Typed(texts), Some(kind)) => texts.iter().any(|own| kind == own.as_bytes()),
            (Parts::Untyped, None) => true,
            _ => false,
        };
        text.filter(|_| is_text)
    }

    fn origin(&self, turn: usize, part: Option<usize>) -> Origin {
        Origin::of_text(self.list, turn, self.content, part)
    }
}

/// Sets what is not set: of a member that stands twice, the value knows which one counts.
fn set_once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// What has been said so far.
#[derive(Default)]
pub(crate) struct Said {
    /// Instructions: the hub has one place for them, before everything.
    pub(crate) system: Vec<Block>,
    /// Turns, of which no two neighbours are of one side.
    pub(crate) turns: Vec<Turn>,
}

impl Said {
    /// Adds what `speaker` says, at `pointer`.
    pub(crate) fn say(
        &mut self,
        speaker: Speaker,
        blocks: Vec<Block>,
        pointer: impl FnOnce() -> Origin,
        losses: &mut Losses,
    ) {
        match speaker {
            Speaker::User => self.push(Role::User, blocks),
            Speaker::Model => self.push(Role::Assistant, blocks),
            Speaker::System => {
                if !self.turns.is_empty() {
                    losses.push(loss(pointer(), LossKind::UnknownField, Effect::Meaning));
                }
                self.system.extend(blocks);
            }
        }
    }

    /// Adds to the turn of the same side, or begins a new one.
    pub(crate) fn push(&mut self, role: Role, blocks: Vec<Block>) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => self.turns.push(Turn { role, blocks }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use tollgate_terms::Dialect;
    use tollgate_wire::json::{Limits, scan};

    use super::*;
    use crate::words::words;

    /// Who lists turns, and where.
    const LISTS: [(Dialect, &str); 5] = [
        (Dialect::OpenAiChat, "messages"),
        (Dialect::OpenAiResponses, "input"),
        (Dialect::AnthropicMessages, "messages"),
        (Dialect::Gemini, "contents"),
        (Dialect::Gemini, "generateContentRequest"),
    ];

    /// Holds what is read of a request step by step to what is read of its values.
    fn check(dialect: Dialect, body: &str) -> Result<(), TestCaseError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let Ok(scanned) = scan(&body, Limits::default()) else { return Ok(()) };
        let decode = words(dialect).and_then(|words| words.client.as_ref()).expect("a client").decode_request;
        let read = |document: Document<'_>| {
            let mut losses = Losses::default();
            let read = decode(document, &mut losses);
            read.map(|conversation| (conversation, losses.into_vec()))
        };
        prop_assert_eq!(read(Document::scanned(&body, &scanned)), read(Document::from(&body)));
        Ok(())
    }

    /// One of the words as they are written, most often the first ones, or all kinds of others.
    fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        let others: &[&str] = &[
            "null",
            "1",
            "\"\"",
            "{}",
            "[]",
            "\"a\\u0041 text that is longer than those that are copied\\n\"",
        ];
        prop_oneof![9 => select(words), 1 => select(others)].prop_map(str::to_owned)
    }

    fn object(members: Vec<(&'static str, String)>) -> String {
        let members: Vec<_> = members.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", members.join(" ,"))
    }

    fn list(items: &[String]) -> String {
        format!("[{}]", items.join(", "))
    }

    fn text() -> impl Strategy<Value = String> {
        one_of(&[
            "\"a text\"",
            "\"a text with \\\"escapes\\\"\\nthat is longer than those that are copied\"",
            "\"\"",
        ])
    }

    fn part() -> impl Strategy<Value = String> {
        let kind = one_of(&["\"text\"", "\"text\"", "\"input_text\"", "\"output_text\"", "\"image\""]);
        let more = select(&["text", "type", "annotations", "cache_control", "thought", "t\\u0065xt"][..]);
        (text(), prop::option::of(kind), prop::option::weighted(0.2, (more, text()))).prop_map(
            |(text, kind, more)| {
                object(
                    kind.map(|kind| ("type", kind)).into_iter().chain([("text", text)]).chain(more).collect(),
                )
            },
        )
    }

    fn turn() -> impl Strategy<Value = String> {
        let role = one_of(&[
            "\"user\"",
            "\"user\"",
            "\"assistant\"",
            "\"model\"",
            "\"system\"",
            "\"tool\"",
            "\"r\\u006fle\"",
        ]);
        let content = prop_oneof![text(), vec(part(), 0..3).prop_map(|parts| list(&parts))];
        let key = select(&["content", "parts"][..]);
        let more = select(&["role", "content", "parts", "type", "name", "tool_calls"][..]);
        (role, key, content, prop::option::weighted(0.2, (more, one_of(&["\"message\""]))), any::<bool>())
            .prop_map(|(role, key, content, more, swaps)| {
                let mut members = vec![("role", role), (key, content)];
                if swaps {
                    members.reverse();
                }
                object(members.into_iter().chain(more).collect())
            })
    }

    proptest! {
        #[test]
        fn a_plain_turn_reads_as_its_value_does(
            (dialect, key) in select(&LISTS[..]),
            turns in vec(turn(), 0..5),
        ) {
            check(dialect, &object(vec![("model", "\"m\"".to_owned()), (key, list(&turns))]))?;
        }
    }

    #[test]
    fn whoever_has_a_wrapper_has_turns_in_it() {
        let turns = r#"[{"role":"user","parts":[{"text":"a"}]}]"#;
        let body = format!(r#"{{"contents":{turns},"generateContentRequest":{{"contents":{turns}}}}}"#);
        check(Dialect::Gemini, &body).expect("the same");
    }

    #[test]
    fn most_turns_are_plain() {
        for (plain, turn) in [
            (&crate::openai_chat::PLAIN, r#"{"role":"developer","content":"a"}"#),
            (&crate::openai_chat::PLAIN, r#"{"content":[{"text":"a","type":"text"}],"role":"user"}"#),
            (
                &crate::anthropic_messages::PLAIN,
                r#"{"role":"assistant","content":[{"type":"text","text":"a"}]}"#,
            ),
            (
                &crate::openai_responses::PLAIN,
                r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}"#,
            ),
            (&crate::openai_responses::PLAIN, r#"{"role":"assistant","content":"a"}"#),
            (&crate::gemini::PLAIN, r#"{"role":"model","parts":[{"text":"a"}]}"#),
        ] {
            let body = Bytes::from(format!(r#"{{"{}":[{turn}]}}"#, plain.list));
            let scanned = scan(&body, Limits::default()).expect("an object");
            let (_, turns) = plain.read(Document::scanned(&body, &scanned)).expect("an object");
            assert!(matches!(turns.as_deref(), Some([Item::Read(_)])), "{turn}");
        }
    }
}
