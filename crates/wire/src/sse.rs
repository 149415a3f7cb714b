//! Server-sent events (WHATWG HTML, section 9.2), read from chunks that are cut anywhere.
//!
//! The pieces that come out, joined, are the bytes that went in, so a stream can be passed on exactly as it was.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// One event, with its blank line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The exact bytes.
    pub raw: Bytes,
}

/// What a decoder hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole event.
    Frame(Frame),
    /// Bytes of an event that is larger than the limit, as they came.
    Oversize(Bytes),
    /// What stands behind the last blank line when the stream ends.
    Tail(Bytes),
}

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct Decoder {
    frame_bytes_max: usize,
    /// The chunk that is being read.
    chunk: Bytes,
    /// The beginning of an event whose end has not come.
    held: BytesMut,
    /// Whether the line that is being read is still empty.
    line_is_empty: bool,
    /// Whether the last byte was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether a blank line has ended the event, except that an LF may still belong to it.
    ended: bool,
    /// Whether the event has outgrown the limit.
    oversize: bool,
    /// How much of `chunk` has been looked at.
    looked: usize,
}

impl Decoder {
    /// A decoder that holds at most `frame_bytes_max` bytes of one event.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            chunk: Bytes::new(),
            held: BytesMut::new(),
            line_is_empty: true,
            after_cr: false,
            ended: false,
            oversize: false,
            looked: 0,
        }
    }

    /// Takes in a chunk. Take every piece out with [`Decoder::next`] before the next one.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// What stands ahead in the chunk that is being read, if an event begins there; nothing otherwise.
    pub fn ahead(&self) -> &[u8] {
        let begins = self.held.is_empty() && self.looked == 0 && !self.oversize;
        if begins { &self.chunk } else { &[] }
    }

    /// Takes the first `count` bytes of what stands ahead, which are whole events: whoever calls has found their ends.
    pub fn skip(&mut self, count: usize) -> Bytes {
        self.take(count)
    }

    /// Whether nothing is held: what is pushed next begins a new event.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.chunk.is_empty() && !self.oversize
    }

    /// The next piece, if one is there.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end for good; this one goes on after a push"
    )]
    pub fn next(&mut self) -> Option<Piece> {
        if self.find_end() {
            let raw = self.take(self.looked);
            self.line_is_empty = true;
            self.ended = false;
            self.after_cr = false;
            // Also when it came whole: what a frame is must not depend on how the stream was cut.
            let is_oversize = std::mem::take(&mut self.oversize) || raw.len() > self.frame_bytes_max;
            return Some(if is_oversize { Piece::Oversize(raw) } else { Piece::Frame(Frame { raw }) });
        }
        let size = self.held.len() + self.chunk.len();
        if size == 0 {
            return None;
        }
        if self.oversize || size > self.frame_bytes_max {
            self.oversize = true;
            let raw = self.take(self.chunk.len());
            return Some(Piece::Oversize(raw));
        }
        self.held.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        self.looked = 0;
        None
    }

    /// Ends the stream. Returns what is left, if anything.
    pub fn finish(&mut self) -> Option<Piece> {
        self.held.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        self.looked = 0;
        if self.held.is_empty() {
            return None;
        }
        let raw = self.held.split().freeze();
        Some(if self.oversize {
            Piece::Oversize(raw)
        } else if self.ended {
            Piece::Frame(Frame { raw })
        } else {
            Piece::Tail(raw)
        })
    }

    /// Looks for the end of the event: a blank line, and after a CR the LF that may belong to it.
    fn find_end(&mut self) -> bool {
        loop {
            let rest = self.chunk.get(self.looked..).unwrap_or_default();
            let Some(&first) = rest.first() else { return false };
            if self.ended {
                // The blank line ended with a CR. An LF right behind belongs to it.
                if first == b'\n' {
                    self.looked += 1;
                }
                return true;
            }
            if self.after_cr {
                self.after_cr = false;
                if first == b'\n' {
                    self.looked += 1;
                    continue;
                }
            }
            match first {
                b'\n' if self.line_is_empty => {
                    self.looked += 1;
                    return true;
                }
                b'\r' if self.line_is_empty => {
                    self.looked += 1;
                    self.ended = true;
                }
                b'\n' => {
                    self.looked += 1;
                    self.line_is_empty = true;
                }
                b'\r' => {
                    self.looked += 1;
                    self.line_is_empty = true;
                    self.after_cr = true;
                }
                _ => {
                    self.line_is_empty = false;
                    self.looked += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
            }
        }
    }

    /// Takes what is held and the first `count` bytes of the chunk.
    fn take(&mut self, count: usize) -> Bytes {
        let front = self.chunk.split_to(count.min(self.chunk.len()));
        self.looked = 0;
        if self.held.is_empty() {
            return front;
        }
        self.held.extend_from_slice(&front);
        self.held.split().freeze()
    }
}

impl Frame {
    /// The value of its `event` field; the last one counts.
    pub fn event(&self) -> Option<&[u8]> {
        self.fields().filter(|(name, _)| *name == b"event").last().map(|(_, value)| value)
    }

    /// Its data: the values of its `data` fields, joined by line feeds.
    pub fn data(&self) -> Cow<'_, [u8]> {
        let mut values = self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value);
        let Some(first) = values.next() else { return Cow::Borrowed(&[]) };
        let Some(second) = values.next() else { return Cow::Borrowed(first) };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b'\n');
            joined.extend_from_slice(value);
        }
        Cow::Owned(joined)
    }

    /// The same, which shares the memory of the event where it stands in one piece.
    pub fn shared_data(&self) -> Bytes {
        match self.data() {
            Cow::Borrowed(data) => self.raw.slice_ref(data),
            Cow::Owned(data) => Bytes::from(data),
        }
    }

    /// Whether it says nothing: comments, blank lines, fields that mean nothing.
    pub fn is_comment_only(&self) -> bool {
        !self.fields().any(|(name, _)| matches!(name, b"data" | b"event"))
    }

    /// Names and values of its fields. The space behind the colon is optional.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let text = self.raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.raw);
        lines(text).filter(|line| !line.is_empty()).filter_map(|line| match memchr::memchr(b':', line) {
            Some(0) => None,
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                Some((name, value.strip_prefix(b" ").unwrap_or(value)))
            }
            None => Some((line, &b""[..])),
        })
    }
}

/// The lines of `text`, each without its end. A CR and the LF behind it have an empty line between them.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, behind) = rest.split_at(memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()));
        rest = behind.get(1..).unwrap_or_default();
        Some(line)
    })
}

/// Writes one event. Line breaks in `event` become spaces and `data` is split at its own, so that nothing in either
/// can begin another field or event.
pub fn encode(out: &mut BytesMut, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend(event.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        out.extend_from_slice(b"\n");
    }
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
        rest = match behind {
            [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
            [] => break,
        };
    }
    out.extend_from_slice(b"\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(chunks: &[&[u8]], frame_bytes_max: usize) -> Vec<Piece> {
        let mut decoder = Decoder::new(frame_bytes_max);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(piece) = decoder.next() {
                out.push(piece);
            }
        }
        out.extend(decoder.finish());
        out
    }

    fn raw(piece: &Piece) -> &[u8] {
        match piece {
            Piece::Frame(frame) => &frame.raw,
            Piece::Oversize(raw) | Piece::Tail(raw) => raw,
        }
    }

    fn meanings(pieces: &[Piece]) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
        pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Frame(frame) => Some((frame.event().map(<[u8]>::to_vec), frame.data().into_owned())),
                Piece::Oversize(_) | Piece::Tail(_) => None,
            })
            .collect()
    }

    #[test]
    fn reads_every_kind_of_line_end() {
        for end in ["\n", "\r", "\r\n"] {
            let text = "event: a\ndata:1\ndata: 2\n\n: ping\n\ndata\n\n".replace('\n', end);
            let read = meanings(&pieces(&[text.as_bytes()], 1000));
            let expected =
                vec![(Some(b"a".to_vec()), b"1\n2".to_vec()), (None, Vec::new()), (None, Vec::new())];
            assert_eq!(read, expected, "{end:?}");
        }
    }

    #[test]
    fn passes_an_event_over_the_limit_as_it_comes() {
        let read = pieces(&[b"data: 123456", b"7890\n", b"\ndata: 1\n\n"], 10);
        assert!(matches!(
            read.as_slice(),
            [Piece::Oversize(_), Piece::Oversize(_), Piece::Oversize(_), Piece::Frame(_)]
        ));
    }

    #[test]
    fn shares_the_memory_of_the_chunk() {
        let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        let mut decoder = Decoder::new(100);
        decoder.push(chunk.clone());
        let Some(Piece::Frame(frame)) = decoder.next() else { panic!("no frame") };
        assert_eq!(frame.raw.as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn cannot_be_made_to_write_a_second_event() {
        let mut out = BytesMut::new();
        encode(&mut out, Some("a\n\ndata: forged"), b"x\r\n\r\nevent: forged");
        let read = meanings(&pieces(&[&out], 1000));
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].1, b"x\n\nevent: forged");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_pieces(
            text in "(data|event|id|:|x| |\n|\r|\r\n|\n\n){0,40}",
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for cut in cuts {
                chunks.push(&text[start..cut]);
                start = cut;
            }
            chunks.push(&text[start..]);
            let (whole, split) = (pieces(&[text], 1000), pieces(&chunks, 1000));
            prop_assert_eq!(meanings(&whole), meanings(&split));
            let joined: Vec<u8> = split.iter().flat_map(|piece| raw(piece).to_vec()).collect();
            prop_assert_eq!(joined, text.to_vec());
        }
    }
}
