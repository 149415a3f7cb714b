//! A YAML document as a tree: JSON's values, each with its position.

use serde_json::{Map, Number, Value};

use crate::position::{Inner, Place, Position};

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Clone)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// A key of a map, and its value.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_position: Position,
    pub(crate) value: Node,
}

impl Node {
    /// The value of a member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(members) => {
                members.iter().find(|member| member.key == key).map(|member| &member.value)
            }
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, with its article, for a sentence such as `expected a list, got a string`.
    pub(crate) fn noun(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(number) if number.is_f64() => "a number",
            Content::Number(_) => "an integer",
            Content::Text(_) => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Map(members) => {
                let pairs = members.iter().map(|member| (member.key.clone(), member.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The positions alone.
    pub(crate) fn place(&self) -> Place {
        let inner = match &self.content {
            Content::List(items) => Inner::Items(items.iter().map(Node::place).collect()),
            Content::Map(members) => Inner::Members(
                members.iter().map(|member| (member.key.clone(), member.value.place())).collect(),
            ),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => Inner::Nothing,
        };
        Place { position: self.position, inner }
    }
}
