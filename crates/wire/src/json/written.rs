//! A list of ours that is written item by item: none of them is kept until all are there.

use bytes::Bytes;
use serde::ser::{Error, Serialize, Serializer};

use super::text::Text;
use super::value::Value;

/// A list, as far as it has been written. It can get more items, and nobody looks into it again.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenList {
    // Invariant: a bracket, and behind it JSON values with commas between.
    text: Vec<u8>,
    items: usize,
}

/// An item of ours that is the same every time but for one text in it, as it is written: both together with a text between them have to be a JSON value.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// What stands before the text.
    pub before: &'static str,
    /// What stands behind it.
    pub behind: &'static str,
}

impl WrittenList {
    /// No items, and room for so many bytes of them.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut text = Vec::with_capacity(bytes + 2);
        text.push(b'[');
        Self { text, items: 0 }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Writes one more item.
    pub fn push(&mut self, item: &Value) {
        self.begin_item();
        item.write(&mut self.text);
    }

    /// Writes a text with what stands around it as one more item.
    pub fn push_around(&mut self, around: Around, text: &Text) {
        self.begin_item();
        let Around { before, behind } = around;
        self.text.reserve(before.len() + text.written_bytes() + behind.len());
        self.text.extend_from_slice(before.as_bytes());
        text.write(&mut self.text);
        self.text.extend_from_slice(behind.as_bytes());
    }

    fn begin_item(&mut self) {
        if self.items > 0 {
            self.text.push(b',');
        }
        self.items += 1;
    }

    /// Appends the list as a JSON text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text);
        out.push(b']');
    }

    /// How many bytes it is written in.
    pub(super) fn written_bytes(&self) -> usize {
        self.text.len() + 1
    }
}

/// Costs another reading, and fails where that does: at what is nested deeper than documents may be.
impl Serialize for WrittenList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(self.written_bytes());
        self.write(&mut text);
        Value::read(&Bytes::from(text)).map_err(Error::custom)?.serialize(serializer)
    }
}

impl From<WrittenList> for Value {
    fn from(list: WrittenList) -> Self {
        Self::WrittenList(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_as_its_items_are() {
        let around = Around { before: r#"{"a":["#, behind: r#"],"b":true}"# };
        let mut list = WrittenList::with_capacity(0);
        assert_eq!(Value::from(list.clone()).to_string(), "[]");
        list.push(&1.into());
        list.push_around(around, &"a \"text\"\n".into());
        list.push(&Value::Array(vec!["b".into(), Value::Null]));
        assert_eq!(list.len(), 3);
        let value = Value::from(list);
        let written = r#"[1,{"a":["a \"text\"\n"],"b":true},["b",null]]"#;
        assert_eq!(value.to_string(), written);
        assert_eq!(serde_json::to_string(&value).expect("a value"), written);
    }
}
