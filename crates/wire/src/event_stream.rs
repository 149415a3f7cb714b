//! The event stream encoding of AWS (`application/vnd.amazon.eventstream`), read from chunks that are cut anywhere.
//!
//! A message is a prelude (length of all, length of the headers, CRC-32 of these two), headers, a payload, and a CRC-32 of
//! all before it. No length is believed before the prelude's sum is right, and no byte of a message comes out before the message's is.
//!
//! Source: Smithy 2.0, "Amazon Event Stream".

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Two lengths and their sum.
const PRELUDE_BYTES: usize = 12;

/// What a message without headers and payload has: the prelude and the sum at its end.
const MESSAGE_BYTES_MIN: usize = PRELUDE_BYTES + 4;

/// Most headers of one message; AWS writes three.
const HEADERS_MAX: usize = 32;

/// Why a stream cannot be read on, or a message not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The lengths are not those that were sent.
    #[error("the checksum of a prelude is wrong")]
    PreludeChecksum,
    /// The message is not the one that was sent.
    #[error("the checksum of a message is wrong")]
    MessageChecksum,
    /// The lengths do not fit each other.
    #[error("the lengths of a message do not fit each other")]
    Length,
    /// The message is larger than the limit.
    #[error("a message is larger than the limit")]
    TooLarge,
    /// A header has no end, an unknown type, no name, a name that another has, or text that is not UTF-8.
    #[error("a message has broken headers")]
    Header,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    // Invariant: `Headers` reads them to their end without an error.
    headers: Bytes,
    /// What it carries.
    pub payload: Bytes,
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    /// The chunk that is being read.
    chunk: Bytes,
    /// The beginning of a message whose end has not come.
    held: BytesMut,
    /// The length of the message that is being read, once its prelude has been checked.
    message_bytes: Option<MessageBytes>,
    /// What broke the stream. There is no way to find the next message.
    broken: Option<Malformed>,
}

/// The lengths of a message.
#[derive(Debug, Clone, Copy)]
struct MessageBytes {
    // Invariant: at least `MESSAGE_BYTES_MIN + headers`.
    all: usize,
    headers: usize,
}

impl Decoder {
    /// A decoder of messages of at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            chunk: Bytes::new(),
            held: BytesMut::new(),
            message_bytes: None,
            broken: None,
        }
    }

    /// Takes in a chunk. Take every message out with [`Decoder::next`] before the next one.
    pub fn push(&mut self, chunk: Bytes) {
        if self.broken.is_some() {
            return;
        }
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// Whether the stream may end here: nothing is held of a message whose end has not come.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.chunk.is_empty() && self.broken.is_none()
    }

    /// The next message, if it has come whole.
    ///
    /// # Errors
    /// When it is not what was sent. So is everything behind it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end for good; this one goes on after a push"
    )]
    pub fn next(&mut self) -> Result<Option<Message>, Malformed> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.read().inspect_err(|broken| {
            self.broken = Some(*broken);
            self.chunk = Bytes::new();
            self.held = BytesMut::new();
        })
    }

    fn read(&mut self) -> Result<Option<Message>, Malformed> {
        let lengths = match self.message_bytes {
            Some(lengths) => lengths,
            None => {
                let message_bytes_max = self.message_bytes_max;
                let Some(prelude) = self.peek(PRELUDE_BYTES) else { return Ok(None) };
                let lengths = prelude_lengths(prelude, message_bytes_max)?;
                self.message_bytes = Some(lengths);
                lengths
            }
        };
        if self.peek(lengths.all).is_none() {
            return Ok(None);
        }
        let mut message = self.take(lengths.all);
        self.message_bytes = None;
        let mut sum = message.split_off(lengths.all - 4);
        if crc32fast::hash(&message) != sum.get_u32() {
            return Err(Malformed::MessageChecksum);
        }
        message.advance(PRELUDE_BYTES);
        let headers = message.split_to(lengths.headers);
        check(&headers)?;
        Ok(Some(Message { headers, payload: message }))
    }

    /// The first `count` bytes of what has come, if it is so much.
    fn peek(&mut self, count: usize) -> Option<&[u8]> {
        if self.held.is_empty() && self.chunk.len() >= count {
            return self.chunk.get(..count);
        }
        let missing = count.saturating_sub(self.held.len()).min(self.chunk.len());
        self.held.extend_from_slice(&self.chunk.split_to(missing));
        self.held.get(..count)
    }

    /// Takes the first `count` bytes, which [`Decoder::peek`] has seen.
    fn take(&mut self, count: usize) -> Bytes {
        if self.held.is_empty() { self.chunk.split_to(count) } else { self.held.split_to(count).freeze() }
    }
}

fn prelude_lengths(mut prelude: &[u8], message_bytes_max: usize) -> Result<MessageBytes, Malformed> {
    let sum = crc32fast::hash(prelude.get(..PRELUDE_BYTES - 4).unwrap_or_default());
    let (all, headers) = (prelude.get_u32(), prelude.get_u32());
    if sum != prelude.get_u32() {
        return Err(Malformed::PreludeChecksum);
    }
    let (all, headers) = (
        usize::try_from(all).map_err(|_| Malformed::TooLarge)?,
        usize::try_from(headers).map_err(|_| Malformed::TooLarge)?,
    );
    if all.checked_sub(headers).is_none_or(|rest| rest < MESSAGE_BYTES_MIN) {
        return Err(Malformed::Length);
    }
    if all > message_bytes_max {
        return Err(Malformed::TooLarge);
    }
    Ok(MessageBytes { all, headers })
}

/// Whether headers can be read to their end, and each has a name of its own.
fn check(headers: &[u8]) -> Result<(), Malformed> {
    let mut names = Vec::new();
    for header in (Headers { rest: headers }) {
        let (name, _) = header?;
        if names.len() == HEADERS_MAX || names.contains(&name) {
            return Err(Malformed::Header);
        }
        names.push(name);
    }
    Ok(())
}

impl Message {
    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = (Headers { rest: &self.headers }).filter_map(Result::ok);
        headers.find(|(own, _)| *own == name).and_then(|(_, value)| value)
    }

    /// What kind of message it is: `event`, `exception` or `error`.
    pub fn message_type(&self) -> Option<&str> {
        self.header(":message-type")
    }

    /// The type of an event.
    pub fn event_type(&self) -> Option<&str> {
        self.header(":event-type")
    }

    /// The type of an exception, whose members the payload holds.
    pub fn exception_type(&self) -> Option<&str> {
        self.header(":exception-type")
    }

    /// The code of an error, which has no payload.
    pub fn error_code(&self) -> Option<&str> {
        self.header(":error-code")
    }

    /// What an error says.
    pub fn error_message(&self) -> Option<&str> {
        self.header(":error-message")
    }

    /// The content type of the payload.
    pub fn content_type(&self) -> Option<&str> {
        self.header(":content-type")
    }
}

/// Names of headers, with the value where it is text. Ends behind an error.
struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a str, Option<&'a str>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = self.header().ok_or(Malformed::Header);
        if header.is_err() {
            self.rest = &[];
        }
        Some(header)
    }
}

impl<'a> Headers<'a> {
    fn header(&mut self) -> Option<(&'a str, Option<&'a str>)> {
        let name_bytes = usize::from(self.rest.try_get_u8().ok()?);
        let name = self.take(name_bytes).filter(|name| !name.is_empty())?;
        let name = simdutf8::basic::from_utf8(name).ok()?;
        let value = match self.rest.try_get_u8().ok()? {
            // True and false.
            0 | 1 => None,
            // A byte, a short, an integer, a long, a time.
            2 => self.take(1).map(|_| None)?,
            3 => self.take(2).map(|_| None)?,
            4 => self.take(4).map(|_| None)?,
            5 | 8 => self.take(8).map(|_| None)?,
            // Bytes.
            6 => self.take_sized().map(|_| None)?,
            // Text.
            7 => Some(simdutf8::basic::from_utf8(self.take_sized()?).ok()?),
            // A UUID.
            9 => self.take(16).map(|_| None)?,
            _ => return None,
        };
        Some((name, value))
    }

    fn take_sized(&mut self) -> Option<&'a [u8]> {
        let count = usize::from(self.rest.try_get_u16().ok()?);
        self.take(count)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(front)
    }
}

/// Writes one message whose headers are text.
///
/// # Errors
/// When a length does not fit its field, or the headers could not be read again.
pub fn encode(out: &mut BytesMut, headers: &[(&str, &str)], payload: &[u8]) -> Result<(), Malformed> {
    let mut written = BytesMut::new();
    for (name, value) in headers {
        written.put_u8(u8::try_from(name.len()).map_err(|_| Malformed::Header)?);
        written.extend_from_slice(name.as_bytes());
        written.put_u8(7);
        written.put_u16(u16::try_from(value.len()).map_err(|_| Malformed::Header)?);
        written.extend_from_slice(value.as_bytes());
    }
    check(&written)?;
    let headers_bytes = u32::try_from(written.len()).map_err(|_| Malformed::Length)?;
    let all = MESSAGE_BYTES_MIN + written.len() + payload.len();
    let all = u32::try_from(all).map_err(|_| Malformed::Length)?;
    let mut message = BytesMut::new();
    message.put_u32(all);
    message.put_u32(headers_bytes);
    message.put_u32(crc32fast::hash(&message));
    message.extend_from_slice(&written);
    message.extend_from_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    out.extend_from_slice(&message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Made with `struct` and `zlib` of Python, and read by botocore's `EventStreamBuffer`.
    const EMPTY: &str = "000000100000000005c248eb7d98c8ff";
    /// A header of each type, of which only `:event-type` is text, and the payload `{"a":1}`.
    const TYPES: &str = "0000008f00000078084a01240474727565000566616c736501046279746502fe0573686f727403800003\
        696e740400000001046c6f6e670501010101010101010562797465730600036162630b3a6576656e742d747970650700056368756e\
        6b0474696d65080000000000000000047575696409070707070707070707070707070707077b2261223a317d49796a04";
    const EXCEPTION: &str = "0000008300000061a9d144e50d3a6d6573736167652d74797065070009657863657074696f6e0f3a65\
        7863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d7479706507001061\
        70706c69636174696f6e2f6a736f6e7b226d657373616765223a22736c6f77227dd4f2b6a9";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hex");
        digits.chunks(2).map(byte).collect()
    }

    /// The messages of a stream, what broke it, and whether it ended between two.
    type Read = (Vec<Message>, Option<Malformed>, bool);

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, message_bytes_max: usize) -> Read {
        let mut decoder = Decoder::new(message_bytes_max);
        let mut messages = Vec::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            loop {
                match decoder.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(broken) => return (messages, Some(broken), decoder.is_empty()),
                }
            }
        }
        (messages, None, decoder.is_empty())
    }

    #[test]
    fn reads_headers_of_every_type() {
        let stream = [bytes(EMPTY), bytes(TYPES), bytes(EXCEPTION)].concat();
        let (messages, broken, is_whole) = read([stream.as_slice()], 1000);
        assert_eq!((messages.len(), broken, is_whole), (3, None, true));
        assert_eq!((messages[0].payload.len(), messages[0].event_type()), (0, None));
        assert_eq!((messages[1].event_type(), messages[1].header("bytes")), (Some("chunk"), None));
        assert_eq!(messages[1].payload, r#"{"a":1}"#);
        assert_eq!(messages[2].message_type(), Some("exception"));
        assert_eq!(messages[2].exception_type(), Some("throttlingException"));
        assert_eq!(messages[2].content_type(), Some("application/json"));
        assert_eq!(messages[2].payload, r#"{"message":"slow"}"#);
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = BytesMut::new();
        let headers = [
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
            (":content-type", "application/json"),
        ];
        encode(&mut out, &headers, br#"{"message":"slow"}"#).expect("a message");
        assert_eq!(out, bytes(EXCEPTION));
        for headers in [[("", "x"), ("b", "")], [("a", "x"), ("a", "y")]] {
            assert_eq!(encode(&mut out, &headers, b""), Err(Malformed::Header));
        }
        assert_eq!(encode(&mut out, &[("a", &"x".repeat(1 << 16))], b""), Err(Malformed::Header));
        assert_eq!(out.len(), bytes(EXCEPTION).len());
    }

    #[test]
    fn every_flipped_bit_breaks_the_stream_for_good() {
        for message in [bytes(EMPTY), bytes(TYPES), bytes(EXCEPTION)] {
            for bit in 0..message.len() * 8 {
                let mut flipped = message.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let mut decoder = Decoder::new(1000);
                decoder.push(flipped.into());
                assert!(decoder.next().is_err(), "bit {bit}");
                decoder.push(message.clone().into());
                assert!(decoder.next().is_err() && !decoder.is_empty(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_rest_is_no_end() {
        let message = bytes(TYPES);
        for end in 1..message.len() {
            assert_eq!(read([&message[..end]], 1000), (Vec::new(), None, false));
        }
    }

    #[test]
    fn does_not_wait_for_a_message_that_is_too_large() {
        let message = bytes(TYPES);
        assert_eq!(read([&message[..PRELUDE_BYTES]], message.len() - 1).1, Some(Malformed::TooLarge));
        assert_eq!(read([message.as_slice()], message.len()).0.len(), 1);
    }

    /// A message with these headers and sums that are right.
    fn summed(headers: &[u8], headers_bytes: u32) -> Vec<u8> {
        let mut message = BytesMut::new();
        message.put_u32(u32::try_from(MESSAGE_BYTES_MIN + headers.len()).expect("short"));
        message.put_u32(headers_bytes);
        message.put_u32(crc32fast::hash(&message));
        message.extend_from_slice(headers);
        message.put_u32(crc32fast::hash(&message));
        message.to_vec()
    }

    #[test]
    fn broken_headers_break_the_stream() {
        let broken: [&[u8]; 8] = [
            b"\0\0",
            b"\x01a",
            b"\x02a",
            b"\x01a\x0a",
            b"\x01a\x07\0\x02b",
            b"\x01a\x07\0\x01\xff",
            b"\x01\xff\0",
            b"\x01a\0\x01a\0",
        ];
        for headers in broken {
            let message = summed(headers, u32::try_from(headers.len()).expect("short"));
            assert_eq!(read([message.as_slice()], 1000).1, Some(Malformed::Header), "{headers:?}");
        }
        assert_eq!(read([summed(b"\x01a\0", 4).as_slice()], 1000).1, Some(Malformed::Length));
        assert_eq!(read([summed(b"", u32::MAX).as_slice()], 1000).1, Some(Malformed::Length));
        let many: Vec<u8> = (b'A'..b'A' + 40).flat_map(|name| [1, name, 0]).collect();
        let message = summed(&many, u32::try_from(many.len()).expect("short"));
        assert_eq!(read([message.as_slice()], 1000).1, Some(Malformed::Header));
    }

    #[test]
    fn shares_the_memory_of_the_chunk() {
        let chunk = Bytes::from(bytes(TYPES));
        let mut decoder = Decoder::new(1000);
        decoder.push(chunk.clone());
        let message = decoder.next().expect("whole").expect("a message");
        assert_eq!(message.payload.as_ptr(), chunk[chunk.len() - 11..].as_ptr());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            order in proptest::collection::vec(0_usize..3, 0..5),
            flip in proptest::option::of(0_usize..4000),
            mut cuts in proptest::collection::vec(0_usize..600, 0..8),
        ) {
            let kinds = [bytes(EMPTY), bytes(TYPES), bytes(EXCEPTION)];
            let mut stream: Vec<u8> = order.iter().flat_map(|kind| kinds[*kind].clone()).collect();
            if let Some(byte) = flip.and_then(|bit| stream.get_mut(bit / 8)) {
                *byte ^= 1 << (flip.unwrap_or_default() % 8);
            }
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(stream.len()));
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let whole = read([stream.as_slice()], 1000);
            prop_assert_eq!(read(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]), 1000), whole.clone());
            prop_assert_eq!(read(stream.chunks(1), 1000), whole);
        }

        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read([junk.as_slice()], 1000);
            let _ = read([summed(&junk, u32::try_from(junk.len()).expect("short")).as_slice()], 1000);
        }
    }
}
