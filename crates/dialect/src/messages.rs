//! The messages of a request as they are said: each is written when it is whole, so that no tree of all of them is ever there.

use tollgate_chat::{Block, BlockKind, Role, Turn};
use tollgate_wire::json::{Around, Map, Text, Value, WrittenList};

/// How a dialect says messages.
pub(crate) struct MessageWords {
    /// The user's.
    pub(crate) user: SideWords,
    /// The model's.
    pub(crate) model: SideWords,
    /// The member of a message that lists its parts.
    pub(crate) content: &'static str,
    /// A part that is nothing but a text.
    pub(crate) part: fn(Text) -> Value,
}

/// How a dialect says the messages of one side.
pub(crate) struct SideWords {
    /// The word for its role.
    pub(crate) role: &'static str,
    /// What is around the text of a message of nothing else.
    pub(crate) around: Around,
}

/// Messages, of which no two neighbours are of one side: who says nothing has no message, and those beside it are one then.
pub(crate) struct Messages {
    words: &'static MessageWords,
    written: WrittenList,
    /// The last one, to which more may be said.
    open: Option<(Role, Said)>,
}

enum Said {
    Text(Text),
    Parts(Vec<Value>),
}

impl Messages {
    /// No messages, but room for those of `turns`.
    pub(crate) fn of(turns: &[Turn], words: &'static MessageWords) -> Self {
        Self { words, written: room_for(turns), open: None }
    }

    /// Adds a text.
    pub(crate) fn say_text(&mut self, role: Role, text: Text) {
        if self.is_open(role) {
            self.say(role, vec![(self.words.part)(text)]);
        } else {
            self.begin(role, Said::Text(text));
        }
    }

    /// Adds parts; who says none says nothing.
    pub(crate) fn say(&mut self, role: Role, mut parts: Vec<Value>) {
        if parts.is_empty() {
            return;
        }
        let said = match self.open.take_if(|(last, _)| *last == role) {
            Some((_, Said::Text(text))) => {
                parts.insert(0, (self.words.part)(text));
                parts
            }
            Some((_, Said::Parts(mut said))) => {
                said.append(&mut parts);
                said
            }
            None => parts,
        };
        self.begin(role, Said::Parts(said));
    }

    fn is_open(&self, role: Role) -> bool {
        self.open.as_ref().is_some_and(|(last, _)| *last == role)
    }

    fn begin(&mut self, role: Role, said: Said) {
        if let Some((role, said)) = self.open.replace((role, said)) {
            self.write(role, said);
        }
    }

    fn write(&mut self, role: Role, said: Said) {
        let side = match role {
            Role::User => &self.words.user,
            Role::Assistant => &self.words.model,
        };
        match said {
            Said::Text(text) => self.written.push_around(side.around, &text),
            Said::Parts(parts) => {
                let mut message = Map::with_capacity(2);
                message.insert_word("role", side.role.into());
                message.insert_word(self.words.content, parts.into());
                self.written.push(&message.into());
            }
        }
    }

    /// All of them.
    pub(crate) fn end(mut self) -> WrittenList {
        if let Some((role, said)) = self.open.take() {
            self.write(role, said);
        }
        self.written
    }
}

/// The text of a turn that says nothing else, and of which nothing can be lost: most are so. Its blocks otherwise.
pub(crate) fn only_text(mut blocks: Vec<Block>) -> Result<Text, Vec<Block>> {
    match blocks.as_mut_slice() {
        [Block { origin: _, cache: None, kind: BlockKind::Text { text, citations } }]
            if citations.is_empty() && !text.is_empty() =>
        {
            Ok(std::mem::take(text))
        }
        _ => Err(blocks),
    }
}

/// Puts what the tools came to before what the user says of it, as the APIs want it.
pub(crate) fn results_first(blocks: &mut [Block]) {
    blocks.sort_by_key(|block| !matches!(block.kind, BlockKind::ToolResult { .. }));
}

/// Room for turns as they are written. What is no text has to grow it.
pub(crate) fn room_for(turns: &[Turn]) -> WrittenList {
    /// What is around them, in the wordiest dialects.
    const BESIDE: usize = 96;
    let blocks = turns.iter().flat_map(|turn| &turn.blocks).map(|block| match &block.kind {
        BlockKind::Text { text, .. } => text.len() + BESIDE,
        _ => 2 * BESIDE,
    });
    WrittenList::with_capacity(blocks.sum())
}

#[cfg(test)]
mod tests {
    use tollgate_chat::{CachePoint, Conversation, Losses};
    use tollgate_terms::{Dialect, ModelName};

    use super::*;
    use crate::words::words;
    use crate::{anthropic_messages, bedrock_converse, gemini};

    /// What a dialect says of turns.
    fn said(dialect: Dialect, turns: Vec<Turn>) -> String {
        let encode = words(dialect).expect("a dialect of conversations").backend.encode_request;
        let model = ModelName::parse("m").expect("a name");
        let conversation = Conversation { turns, ..Conversation::default() };
        let body = encode(conversation, &model, &mut Losses::default()).expect("words for all of it");
        Value::from(body).to_string()
    }

    #[test]
    fn a_turn_of_one_text_is_said_as_any_other() {
        for dialect in [
            Dialect::OpenAiChat,
            Dialect::OpenAiResponses,
            Dialect::AnthropicMessages,
            Dialect::BedrockConverse,
            Dialect::Gemini,
        ] {
            for text in ["a \"text\"\n", " ", ""] {
                let turns = |more: fn(Dialect, &mut Vec<Block>)| {
                    let turn = |role| {
                        let mut blocks = vec![Block::text("/a", text)];
                        more(dialect, &mut blocks);
                        Turn { role, blocks }
                    };
                    said(dialect, [Role::User, Role::Assistant, Role::User].map(turn).to_vec())
                };
                let other = turns(|dialect, blocks| match dialect {
                    // They say a text with a cache point as one without.
                    Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                        blocks.iter_mut().for_each(|block| block.cache = Some(CachePoint { ttl: None }));
                    }
                    // They leave empty texts out.
                    _ => blocks.push(Block::text("/b", "")),
                });
                assert_eq!(turns(|_, _| {}), other, "{dialect:?}");
            }
        }
    }

    #[test]
    fn a_text_and_what_is_around_it_is_a_message_of_one_part() {
        for words in [&anthropic_messages::MESSAGES, &bedrock_converse::MESSAGES, &gemini::MESSAGES] {
            for role in [Role::User, Role::Assistant] {
                let text = Text::from("a \"text\"");
                let (mut at_once, mut in_parts) = (Messages::of(&[], words), Messages::of(&[], words));
                at_once.say_text(role, text.clone());
                in_parts.say(role, vec![(words.part)(text)]);
                assert_eq!(at_once.end(), in_parts.end());
            }
        }
    }

    #[test]
    fn what_one_side_says_in_a_row_is_one_message() {
        let said = |text: &str| vec![(gemini::MESSAGES.part)(text.into())];
        let mut messages = Messages::of(&[], &gemini::MESSAGES);
        messages.say_text(Role::User, "a".into());
        messages.say_text(Role::User, "b".into());
        messages.say(Role::User, said("c"));
        messages.say(Role::Assistant, Vec::new());
        messages.say_text(Role::User, "d".into());
        messages.say(Role::Assistant, said("e"));
        messages.say_text(Role::Assistant, "f".into());
        messages.say_text(Role::User, "g".into());
        let contents = |role: &str, texts: &[&str]| {
            let parts: Vec<_> = texts.iter().map(|text| format!(r#"{{"text":"{text}"}}"#)).collect();
            format!(r#"{{"role":"{role}","parts":[{}]}}"#, parts.join(","))
        };
        let expected = [
            contents("user", &["a", "b", "c", "d"]),
            contents("model", &["e", "f"]),
            contents("user", &["g"]),
        ];
        assert_eq!(Value::from(messages.end()).to_string(), format!("[{}]", expected.join(",")));
    }
}
