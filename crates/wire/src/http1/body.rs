//! The body of a message of HTTP/1.1, taken out of its framing as it comes.

use bytes::{Buf, Bytes, BytesMut};

use super::{Framing, Malformed};

/// Longest line that tells the size of a chunk, with its extensions, in bytes.
const SIZE_LINE_BYTES_MAX: usize = 4 << 10;

/// Most bytes of trailers.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// Takes a body out of its framing.
#[derive(Debug)]
pub struct BodyDecoder(State);

/// What the decoder waits for.
#[derive(Debug, Clone, Copy)]
enum State {
    /// This many bytes more.
    Sized(u64),
    /// The line with the size of the next chunk.
    Size,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, of which so many bytes have come.
    Trailers(usize),
    /// The end of the connection.
    UntilClose,
    /// Nothing.
    Over,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body, never none.
    Data(Bytes),
    /// Nothing until more has come.
    Nothing,
    /// The end.
    End,
}

impl BodyDecoder {
    /// A decoder for a body that is framed so.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Sized(0) => State::Over,
            Framing::Sized(bytes) => State::Sized(bytes),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// How many bytes are still to come, where that is known.
    pub fn bytes_left(&self) -> Option<u64> {
        match self.0 {
            State::Sized(bytes) => Some(bytes),
            State::Over => Some(0),
            State::Size | State::Chunk(_) | State::ChunkEnd | State::Trailers(_) | State::UntilClose => None,
        }
    }

    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Takes what can be taken off the front of `buffer`.
    ///
    /// # Errors
    /// When the framing is broken.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            match self.0 {
                State::Over => return Ok(Decoded::End),
                State::UntilClose if buffer.is_empty() => return Ok(Decoded::Nothing),
                State::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                State::Sized(_) | State::Chunk(_) if buffer.is_empty() => return Ok(Decoded::Nothing),
                State::Sized(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = if left == 0 { State::Over } else { State::Sized(left) };
                    return Ok(Decoded::Data(data));
                }
                State::Chunk(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkEnd => match buffer.get(..2) {
                    None => return Ok(Decoded::Nothing),
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.0 = State::Size;
                    }
                    Some(_) => return Err(Malformed("the end of a chunk")),
                },
                State::Size => {
                    let Some(line) = take_line(buffer, SIZE_LINE_BYTES_MAX)? else {
                        return Ok(Decoded::Nothing);
                    };
                    self.0 = match chunk_size(&line)? {
                        0 => State::Trailers(0),
                        size => State::Chunk(size),
                    };
                }
                State::Trailers(so_far) => {
                    let left = TRAILER_BYTES_MAX.saturating_sub(so_far);
                    let Some(line) = take_line(buffer, left)? else { return Ok(Decoded::Nothing) };
                    self.0 =
                        if line.is_empty() { State::Over } else { State::Trailers(so_far + line.len() + 2) };
                }
            }
        }
    }

    /// Takes in that the connection has ended. Whether the body ended with it as it should.
    pub fn close(&mut self) -> bool {
        let ends = matches!(self.0, State::UntilClose | State::Over);
        self.0 = State::Over;
        ends
    }
}

/// At most `left` bytes, and how many are left then.
fn take(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    (buffer.split_to(count).freeze(), left - count as u64)
}

/// A line without its end; `None` when its end has not come.
fn take_line(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > bytes_max { Err(Malformed("a line beyond the limit")) } else { Ok(None) };
    };
    if end > bytes_max {
        return Err(Malformed("a line beyond the limit"));
    }
    let line = buffer.split_to(end + 1).freeze();
    match line.strip_suffix(b"\r\n") {
        Some(content) if !content.contains(&b'\r') => Ok(Some(line.slice(..content.len()))),
        _ => Err(Malformed("the end of a line")),
    }
}

/// The size of a chunk (RFC 9112 section 7.1). Extensions mean nothing here.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    const WRONG: Malformed = Malformed("the size of a chunk");
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, behind) = line.split_at(end);
    if digits.is_empty() || digits.len() > 16 || !matches!(behind.trim_ascii_start(), [] | [b';', ..]) {
        return Err(WRONG);
    }
    let text = std::str::from_utf8(digits).map_err(|_| WRONG)?;
    u64::from_str_radix(text, 16).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out of `text`, arriving in pieces that end at `cuts`, and whether that was all of it.
    fn decode(framing: Framing, text: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        for piece in cuts.windows(2) {
            buffer.extend_from_slice(&text[piece[0]..piece[1]]);
            while let Decoded::Data(data) = decoder.decode(&mut buffer)? {
                assert!(!data.is_empty());
                out.extend_from_slice(&data);
            }
        }
        Ok((out, decoder.is_over(), buffer.len()))
    }

    #[test]
    fn takes_bodies_out_of_their_framing() {
        let chunked = b"5;ext=\"a\"\r\nhello\r\n6 \r\n world\r\n0\r\ntrailer: x\r\n\r\nmore";
        for (framing, text, expected, over, left) in [
            (Framing::Chunked, &chunked[..], &b"hello world"[..], true, 4),
            (Framing::Sized(3), b"abcd", b"abc", true, 1),
            (Framing::Sized(0), b"abcd", b"", true, 4),
            (Framing::Sized(9), b"abcd", b"abcd", false, 0),
            (Framing::UntilClose, b"abcd", b"abcd", false, 0),
        ] {
            let decoded = decode(framing, text, &[]).expect("no mistake");
            assert_eq!(decoded, (expected.to_vec(), over, left), "{framing:?}");
        }
    }

    #[test]
    fn refuses_chunks_that_two_readers_could_read_differently() {
        let long = format!("1;{}", "a".repeat(SIZE_LINE_BYTES_MAX));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX));
        for text in [
            "x\r\n",
            "\r\n",
            " 5\r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\r\n",
            "1 2\r\n",
            "10000000000000000\r\n",
            "5\r\nhello\n0\r\n\r\n",
            &long,
            &trailers,
        ] {
            assert!(decode(Framing::Chunked, text.as_bytes(), &[]).is_err(), "{text:.30}");
        }
    }

    #[test]
    fn a_body_that_is_cut_is_known_to_be() {
        for (framing, text, ends) in [
            (Framing::Chunked, &b"5\r\nhel"[..], false),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n", false),
            (Framing::Sized(4), b"abc", false),
            (Framing::UntilClose, b"abc", true),
        ] {
            let mut decoder = BodyDecoder::new(framing);
            let mut buffer = BytesMut::from(text);
            while let Ok(Decoded::Data(_)) = decoder.decode(&mut buffer) {}
            assert_eq!(decoder.close(), ends, "{framing:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..6),
            cuts in proptest::collection::vec(any::<usize>(), 0..6),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(Framing::Chunked, &text, &cuts).expect("no mistake");
            prop_assert_eq!(decoded, (chunks.concat(), true, 0));
        }

        #[test]
        fn any_split_of_anything_comes_to_the_same(
            text in "[0-9a-f;\r\n x]{0,30}",
            cuts in proptest::collection::vec(any::<usize>(), 0..4),
        ) {
            let (whole, split) = (decode(Framing::Chunked, text.as_bytes(), &[]), decode(Framing::Chunked, text.as_bytes(), &cuts));
            prop_assert_eq!(whole.is_ok(), split.is_ok());
            if let (Ok(whole), Ok(split)) = (whole, split) {
                prop_assert_eq!((whole.0, whole.1), (split.0, split.1));
            }
        }
    }
}
