//! Events of text come by the thousand and differ in their text only. The shape of the last one tells the next one by two
//! comparisons, so that most events need no other look.

use std::ops::Range;

use tollgate_wire::json;

/// Longest event whose shape is kept, in bytes: it is held for as long as the stream lives.
const EVENT_BYTES_MAX: usize = 1024;

/// So many events in a row that did not fit, and no more shapes are kept: this stream has something new in each event.
const MISSES_MAX: u8 = 8;

/// The shape of an event of text.
#[derive(Debug, Default)]
pub(crate) struct Mould {
    event: Box<[u8]>,
    text: Range<usize>,
    misses: u8,
}

impl Mould {
    /// The length of the event that `stream` begins with and of the text in it, if it is the event of the mould with another
    /// text in it, which is not long.
    pub(crate) fn fit_first(&mut self, stream: &[u8]) -> Option<(usize, usize)> {
        // Behind a CR it is not known yet whether an LF belongs to the event.
        if !self.event.ends_with(b"\n") {
            return None;
        }
        let (text_bytes, rest) = self.split(stream)?;
        if text_bytes > EVENT_BYTES_MAX {
            return None;
        }
        self.misses = 0;
        Some((stream.len() - rest.len(), text_bytes))
    }

    /// The length of the text in `event`, if it is the event of the mould with another text in it.
    pub(crate) fn fit(&mut self, event: &[u8]) -> Option<usize> {
        let (text_bytes, rest) = self.split(event)?;
        if !rest.is_empty() {
            return None;
        }
        self.misses = 0;
        Some(text_bytes)
    }

    /// The length of the text in the event of the mould that `stream` begins with, and what stands behind that event.
    fn split<'a>(&self, stream: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let rest = stream.strip_prefix(self.event.get(..self.text.start)?)?;
        // It must be the inside of one string on one line, and its last character must not escape the quote behind.
        let (text, rest) = rest.split_at(memchr::memchr3(b'"', b'\n', b'\r', rest)?);
        let rest = rest.strip_prefix(self.event.get(self.text.end..)?)?;
        (!text.ends_with(b"\\")).then_some((text.len(), rest))
    }

    /// Keeps the shape of `event`, an event of text in a member that is one of `texts`, if it has exactly one of them.
    pub(crate) fn keep(&mut self, event: &[u8], texts: &[&[u8]]) {
        if event.len() > EVENT_BYTES_MAX || self.misses >= MISSES_MAX {
            return;
        }
        self.misses += 1;
        let mut found = json::members(event)
            .filter(|(key, value)| texts.contains(key) && value.starts_with(b"\""))
            .map(|(_, value)| value);
        if let (Some(value), None) = (found.next(), found.next()) {
            let start = event.len() - value.len() + 1;
            self.text = start..start + json::string_length(value.get(1..).unwrap_or_default());
            self.event = event.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXTS: [&[u8]; 1] = [b"text"];

    #[test]
    fn fits_another_text_and_nothing_else() {
        let mut mould = Mould::default();
        assert_eq!(mould.fit(br#"{"text":"a","n":1}"#), None);
        mould.keep(br#"{"text":"a","n":1}"#, &TEXTS);
        assert_eq!(mould.fit(br#"{"text":"","n":1}"#), Some(0));
        assert_eq!(mould.fit(br#"{"text":"\n\u00e4","n":1}"#), Some(8));
        for other in [
            r#"{"text":"a","n":2}"#,
            r#"{"text":"a","usage":{},"n":1}"#,
            r#"{"text":"a\","n":1}"#,
            "{\"text\":\"a\nb\",\"n\":1}",
            r#"{"text":null,"n":1}"#,
            r#"{"text":","n":1}"#,
        ] {
            assert_eq!(mould.fit(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn fits_the_first_event_of_a_stream() {
        let mut mould = Mould::default();
        assert_eq!(mould.fit_first(b"data: {\"text\":\"a\"}\n\n"), None);
        mould.keep(b"data: {\"text\":\"a\"}\n\n", &TEXTS);
        assert_eq!(mould.fit_first(b"data: {\"text\":\"bcd\"}\n\nmore"), Some((22, 3)));
        assert_eq!(mould.fit_first(b"data: {\"text\":\"\"}\n\n\"}\n\n"), Some((19, 0)));
        for other in
            ["data: {\"text\":\"bcd\"}\n", "data: {\"text\":\"b", "data: {\"text\":\"b\\\"\"}\n\n", ""]
        {
            assert_eq!(mould.fit_first(other.as_bytes()), None, "{other}");
        }
        mould.keep(b"data: {\"text\":\"a\"}\r\r", &TEXTS);
        assert_eq!(mould.fit_first(b"data: {\"text\":\"bcd\"}\r\r\n"), None);
    }

    #[test]
    fn two_texts_make_no_mould() {
        let mut mould = Mould::default();
        mould.keep(br#"[{"text":"a"},{"text":"b"}]"#, &TEXTS);
        assert_eq!(mould.fit(br#"[{"text":"a"},{"text":"b"}]"#), None);
    }

    #[test]
    fn gives_up_where_each_event_is_new() {
        let mut mould = Mould::default();
        for n in 0..100 {
            let event = format!(r#"{{"text":"a","n":{n}}}"#);
            assert_eq!(mould.fit(event.as_bytes()), None);
            mould.keep(event.as_bytes(), &TEXTS);
        }
        assert_eq!(&*mould.event, br#"{"text":"a","n":7}"#);
    }

    proptest! {
        #[test]
        fn what_fits_first_is_what_fits_cut_out(text in r#"[a-z"\\\n\r{}:, ]{0,12}"#, more in "[a\n]{0,3}") {
            let mut mould = Mould::default();
            mould.keep(b"data: {\"text\":\"a\"}\n\n", &TEXTS);
            let stream = format!("data: {{\"text\":\"{text}\"}}\n\n{more}");
            // The text may hold an empty line: the first event ends there.
            let (event, _) = stream.split_at(stream.find("\n\n").unwrap() + 2);
            let cut_out = mould.fit(event.as_bytes()).map(|text_bytes| (event.len(), text_bytes));
            prop_assert_eq!(mould.fit_first(stream.as_bytes()), cut_out);
        }

        #[test]
        fn what_fits_is_one_string(text in r#"[a-z"\\\n\r{}:, ]{0,12}"#) {
            let mut mould = Mould::default();
            mould.keep(br#"{"text":"a","n":1}"#, &TEXTS);
            let event = serde_json::json!({"text": text, "n": 1}).to_string();
            if let Some(length) = mould.fit(event.as_bytes()) {
                prop_assert_eq!(length, serde_json::json!(text).to_string().len() - 2);
            }
            let raw = format!(r#"{{"text":"{text}","n":1}}"#);
            if let Some(length) = mould.fit(raw.as_bytes()) {
                let found = json::members(raw.as_bytes()).next().map(|(_, value)| json::string_length(&value[1..]));
                prop_assert_eq!(Some(length), found);
            }
        }
    }
}
