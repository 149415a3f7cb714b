//! YAML text to trees with positions, within limits.
//!
//! YAML 1.2, core schema, with the merge key `<<` of YAML 1.1, which configurations use. Knows nothing of resources.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Number;

use crate::node::{Content, Member, Node};
use crate::position::Position;

/// Longest source, in bytes. Kubernetes itself refuses objects of more than 1.5 MB.
const SOURCE_BYTES_MAX: usize = 4 << 20;
/// How deep values may be nested; resources need about twenty levels.
const DEPTH_MAX: usize = 64;
/// Bound on what a document becomes once its aliases are replaced, so that aliases of aliases do not explode.
const WEIGHT_MAX: usize = 32 << 20;
/// Most members of one map; each new key is compared with those before it.
const MEMBERS_MAX: usize = 10_000;
/// What a value counts apart from its text.
const NODE_WEIGHT: usize = 32;

/// A mistake in the YAML itself.
pub(crate) struct Mistake {
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// What a source holds. Empty documents are left out; a document with a mistake ends there.
pub(crate) struct Documents {
    pub(crate) documents: Vec<Node>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads every document of a source.
pub(crate) fn read(text: &str) -> Documents {
    let mut read = Documents { documents: Vec::new(), mistakes: Vec::new() };
    if text.len() > SOURCE_BYTES_MAX {
        let message = format!("has {} bytes, at most {SOURCE_BYTES_MAX} are allowed", text.len());
        read.mistakes.push(Mistake { position: Position { line: 1, column: 1 }, message });
        return read;
    }
    let mut line = 0;
    for fragment in fragments(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let mut builder = Builder::new(line);
        let stopped = builder.build(fragment).err();
        read.documents.append(&mut builder.documents);
        read.mistakes.append(&mut builder.mistakes);
        read.mistakes.extend(stopped);
        line += fragment.matches('\n').count();
    }
    read
}

/// Cuts a text before each line that begins with `---`. YAML allows such a line nowhere inside a document
/// (`c-forbidden`), so a broken document does not hide the next one.
fn fragments(text: &str) -> Vec<&str> {
    let mut fragments = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(found) = rest.get(from..).and_then(|tail| tail.find("\n---")) {
        let at = from + found + 1;
        let after = rest.as_bytes().get(at + 3);
        if after.is_none_or(u8::is_ascii_whitespace)
            && let Some((fragment, tail)) = rest.split_at_checked(at)
        {
            fragments.push(fragment);
            (rest, from) = (tail, 0);
        } else {
            from = at;
        }
    }
    fragments.push(rest);
    fragments
}

/// A list or map that has begun and not ended.
struct Open {
    position: Position,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    /// The members so far, and a key that waits for its value.
    Map(Vec<Member>, Option<(String, Position)>),
}

/// What an alias stands for, and its weight and height.
struct Anchored {
    node: Node,
    weight: usize,
    height: usize,
}

struct Builder {
    /// Lines before this fragment.
    line: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    weight: usize,
    documents: Vec<Node>,
    mistakes: Vec<Mistake>,
}

impl Builder {
    fn new(line: usize) -> Self {
        Self {
            line,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            weight: 0,
            documents: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    fn position(&self, span: Span) -> Position {
        position(self.line + span.start.line(), span.start.col())
    }

    fn build(&mut self, fragment: &str) -> Result<(), Mistake> {
        for event in Parser::new_from_str(fragment) {
            let (event, span) = event.map_err(|error| Mistake {
                position: position(self.line + error.marker().line(), error.marker().col()),
                message: format!("is not YAML: {}", error.info()),
            })?;
            self.take(event, self.position(span))?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, position: Position) -> Result<(), Mistake> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.weight = 0;
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let content =
                    scalar(&text, style, tag.as_deref()).map_err(|message| Mistake { position, message })?;
                self.weigh(NODE_WEIGHT + text.len(), position)?;
                self.finish(Node { position, content }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(position, anchor, OpenContent::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(position, anchor, OpenContent::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(position),
            Event::Alias(anchor) => self.alias(anchor, position),
        }
    }

    fn begin(&mut self, position: Position, anchor: usize, content: OpenContent) -> Result<(), Mistake> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(position));
        }
        self.weigh(NODE_WEIGHT, position)?;
        self.open.push(Open { position, anchor, content });
        Ok(())
    }

    fn end(&mut self, position: Position) -> Result<(), Mistake> {
        let Some(open) = self.open.pop() else {
            return Err(Mistake {
                position,
                message: "is not YAML: unexpected end of a list or map".to_owned(),
            });
        };
        let content = match open.content {
            OpenContent::List(items) => Content::List(items),
            OpenContent::Map(members, _) => Content::Map(merge(members)),
        };
        self.finish(Node { position: open.position, content }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Mistake> {
        // The parser knows every name; an anchor that is not here yet is one that the alias is a part of.
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Mistake { position, message: "alias stands inside its own anchor".to_owned() });
        };
        if self.open.len() + anchored.height > DEPTH_MAX {
            return Err(too_deep(position));
        }
        let weight = anchored.weight;
        self.weigh(weight, position)?;
        let node = self.anchors.get(&anchor).map(|anchored| Node { position, ..anchored.node.clone() });
        node.map_or(Ok(()), |node| self.finish(node, 0))
    }

    fn weigh(&mut self, weight: usize, position: Position) -> Result<(), Mistake> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > WEIGHT_MAX {
            let message = format!("document is larger than {WEIGHT_MAX} bytes with its aliases replaced");
            return Err(Mistake { position, message });
        }
        Ok(())
    }

    /// Puts a value where it belongs: into the list or map around it, or on top.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        if anchor > 0 {
            let (weight, height) = measure(&node);
            self.weigh(weight, node.position)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight, height });
        }
        let Some(open) = self.open.last_mut() else {
            if !matches!(node.content, Content::Null) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            OpenContent::List(items) => items.push(node),
            OpenContent::Map(members, key) => match key.take() {
                None => *key = Some((key_text(&node)?, node.position)),
                Some((_, position)) if members.len() >= MEMBERS_MAX => {
                    let message = format!("map has more than {MEMBERS_MAX} members");
                    return Err(Mistake { position, message });
                }
                Some((key, key_position)) => {
                    let earlier = members.iter().find(|member| member.key == key && key != MERGE);
                    if let Some(earlier) = earlier {
                        let line = earlier.key_position.line;
                        let message = format!("key {key:?} stands twice in this map, first on line {line}");
                        self.mistakes.push(Mistake { position: key_position, message });
                    } else {
                        members.push(Member { key, key_position, value: node });
                    }
                }
            },
        }
        Ok(())
    }
}

fn position(line: usize, column: usize) -> Position {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column.saturating_add(1)) }
}

fn too_deep(position: Position) -> Mistake {
    Mistake { position, message: format!("values are nested more than {DEPTH_MAX} deep") }
}

fn measure(node: &Node) -> (usize, usize) {
    let of_all = |nodes: &mut dyn Iterator<Item = (usize, &Node)>| {
        nodes.fold((NODE_WEIGHT, 0), |(weight, height), (key_weight, node)| {
            let inner = measure(node);
            (weight + key_weight + inner.0, height.max(inner.1))
        })
    };
    match &node.content {
        Content::List(items) => {
            let (weight, height) = of_all(&mut items.iter().map(|item| (0, item)));
            (weight, height + 1)
        }
        Content::Map(members) => {
            let (weight, height) =
                of_all(&mut members.iter().map(|member| (member.key.len() + NODE_WEIGHT, &member.value)));
            (weight, height + 1)
        }
        Content::Text(text) => (NODE_WEIGHT + text.len(), 0),
        Content::Null | Content::Bool(_) | Content::Number(_) => (NODE_WEIGHT, 0),
    }
}

/// Keys are texts; a number or boolean as a key is taken for the text that it was.
fn key_text(node: &Node) -> Result<String, Mistake> {
    match &node.content {
        Content::Text(text) => Ok(text.clone()),
        Content::Bool(value) => Ok(value.to_string()),
        Content::Number(number) => Ok(number.to_string()),
        Content::Null => Ok("null".to_owned()),
        Content::List(_) | Content::Map(_) => Err(Mistake {
            position: node.position,
            message: format!("expected a string as key, got {}", node.noun()),
        }),
    }
}

/// The key whose value is a map, or a list of maps, that this map takes over.
const MERGE: &str = "<<";

fn merge(members: Vec<Member>) -> Vec<Member> {
    if !members.iter().any(|member| member.key == MERGE) {
        return members;
    }
    let (merged, mut members): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.key == MERGE);
    for member in merged {
        let sources = match member.value.content {
            Content::List(items) => items,
            content => vec![Node { position: member.value.position, content }],
        };
        for source in sources {
            let Content::Map(inherited) = source.content else { continue };
            for candidate in inherited {
                if !members.iter().any(|member| member.key == candidate.key) {
                    members.push(candidate);
                }
            }
        }
    }
    members
}

/// The value of a scalar: a plain one by the core schema, a quoted one is text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Content, String> {
    let tag = tag.filter(|tag| !(tag.handle.is_empty() && tag.suffix == "!"));
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Content::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Content::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() => {
            let content = plain(text);
            let fits = match tag.suffix.as_str() {
                "null" => matches!(content, Content::Null),
                "bool" => matches!(content, Content::Bool(_)),
                "int" | "float" => matches!(content, Content::Number(_)),
                _ => false,
            };
            if fits { Ok(content) } else { Err(format!("tag {tag} does not fit or is not supported")) }
        }
        Some(tag) => Err(format!("tag {tag} is not supported")),
    }
}

fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        _ => number(text).map_or_else(|| Content::Text(text.to_owned()), Content::Number),
    }
}

/// Integers (decimal, `0x`, `0o`) and floats of the core schema. Infinities and NaN have no JSON and stay text.
fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, 16).ok())?
            .map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| u64::from_str_radix(digits, 8).ok())?
            .map(Number::from);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !begins || !numeric {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let signed = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = signed.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = signed.parse::<u64>() {
            return Some(number.into());
        }
    }
    Number::from_f64(text.parse().ok()?)
}
