//! The events of a stream as the elements of a JSON array, for clients that do not read server-sent events.
//!
//! What the data of an event says is passed on as it comes: an element may be longer than could be held. Names, ids and comments are left
//! out.

use bytes::BytesMut;

/// What a line begins with whose rest is data.
const DATA: &[u8] = b"data:";

/// Writes one array.
#[derive(Debug, Default)]
pub struct ArrayWriter {
    line: Line,
    /// Whether the last byte was a carriage return, of whose line end a line feed is a part.
    is_after_return: bool,
    /// Whether anything of the event has been written, and whether its next data are of another line.
    element: Element,
    has_begun: bool,
}

/// Where in a line it is.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// In its name, of which so many bytes are those of [`DATA`].
    Name(usize),
    /// Before its data, of which a space may be none.
    Space,
    Data,
    /// In something else.
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(0)
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Element {
    #[default]
    None,
    /// It has begun, in this line.
    Line,
    /// It has begun, in a line before.
    LineBefore,
}

impl ArrayWriter {
    /// Takes in more of the stream, which may be cut anywhere.
    pub fn push(&mut self, mut chunk: &[u8], out: &mut BytesMut) {
        while let Some((&byte, tail)) = chunk.split_first() {
            let was_after_return = std::mem::take(&mut self.is_after_return);
            if byte == b'\n' && was_after_return {
                chunk = tail;
                continue;
            }
            if is_end(byte) {
                self.is_after_return = byte == b'\r';
                self.end_line();
                chunk = tail;
                continue;
            }
            match self.line {
                Line::Name(matched) if DATA.get(matched) == Some(&byte) => {
                    let matched = matched + 1;
                    self.line = if matched == DATA.len() { Line::Space } else { Line::Name(matched) };
                    chunk = tail;
                }
                Line::Name(_) => self.line = Line::Other,
                Line::Space => {
                    self.line = Line::Data;
                    chunk = chunk.strip_prefix(b" ").unwrap_or(chunk);
                }
                Line::Data | Line::Other => {
                    let end = chunk.iter().position(|byte| is_end(*byte)).unwrap_or(chunk.len());
                    let (said, rest) = chunk.split_at(end);
                    if matches!(self.line, Line::Data) {
                        self.say(said, out);
                    }
                    chunk = rest;
                }
            }
        }
    }

    /// The end of the array.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if !self.has_begun {
            out.extend_from_slice(b"[");
        }
        self.has_begun = true;
        out.extend_from_slice(b"]");
    }

    fn end_line(&mut self) {
        self.element = match (self.line, self.element) {
            // An empty line ends an event.
            (Line::Name(0), _) | (_, Element::None) => Element::None,
            (_, Element::Line | Element::LineBefore) => Element::LineBefore,
        };
        self.line = Line::Name(0);
    }

    fn say(&mut self, data: &[u8], out: &mut BytesMut) {
        let before: &[u8] = match self.element {
            Element::None if self.has_begun => b",\r\n",
            Element::None => b"[",
            Element::Line => b"",
            Element::LineBefore => b"\n",
        };
        self.has_begun = true;
        self.element = Element::Line;
        out.extend_from_slice(before);
        out.extend_from_slice(data);
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(stream: &[u8], size: usize) -> String {
        let (mut writer, mut out) = (ArrayWriter::default(), BytesMut::new());
        stream.chunks(size).for_each(|chunk| writer.push(chunk, &mut out));
        writer.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn an_event_is_an_element() {
        let stream = b": hello\n\nevent: e\ndata: {\"a\":\ndata:1}\n\ndata:\n\ndatum: x\r\ndata: {\"b\": \"data: 2\"}\r\n\r\nid: 3\n";
        assert_eq!(written(stream, stream.len()), "[{\"a\":\n1},\r\n{\"b\": \"data: 2\"}]");
        assert_eq!(written(b"", 1), "[]");
        assert_eq!(written(b": nothing\n\n", 3), "[]");
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_is_the_same_array(
            events in prop::collection::vec("[a-z\"\u{e9} :]{1,9}", 0..5),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            size in 1_usize..9,
        ) {
            let events: Vec<_> = events.iter().map(|text| serde_json::json!({"text": text})).collect();
            let stream: String = events.iter().map(|event| format!("data: {event}{end}{end}")).collect();
            let array: Vec<serde_json::Value> =
                serde_json::from_str(&written(stream.as_bytes(), size)).expect("an array");
            prop_assert_eq!(array, events);
        }
    }
}
