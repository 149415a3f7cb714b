//! The event streams of AWS.

use bytes::{Bytes, BytesMut};
use tollgate_wire::event_stream::{self, Decoder, Malformed, Message};

use super::law;

/// Largest message that is taken as one.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// Messages, what broke the stream, and whether it ended between two.
type Read = (Vec<Message>, Option<Malformed>, bool);

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
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

/// Any split gives the same messages. What is written is read again, and is not when a bit of it is flipped.
pub(crate) fn decode(input: &[u8]) -> Result<(), String> {
    splits(input)?;
    let (front, payload) = input.split_at(input.len() / 3);
    let front = String::from_utf8_lossy(front);
    let (name, value) = front.split_once(':').unwrap_or(("name", &front));
    let mut written = BytesMut::new();
    if event_stream::encode(&mut written, &[(name, value)], payload).is_err() {
        return law(written.is_empty(), || "a part of a message was written".to_owned());
    }
    splits(&written)?;
    if written.len() > MESSAGE_BYTES_MAX {
        return law(read(std::iter::once(&written[..])).1 == Some(Malformed::TooLarge), || {
            "a message over the limit is read".to_owned()
        });
    }
    let (messages, broken, is_whole) = read(std::iter::once(&written[..]));
    law(broken.is_none() && is_whole, || format!("what was written is broken: {broken:?}"))?;
    let [message] = messages.as_slice() else { return Err("not one message".to_owned()) };
    law(message.header(name) == Some(value), || format!("{name:?} is not {value:?}"))?;
    law(message.payload == payload, || "another payload".to_owned())?;
    let bit = input.iter().fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    if let Some(byte) = written.get_mut(bit / 8 % (16 + input.len())) {
        *byte ^= 1 << (bit % 8);
    }
    law(read(std::iter::once(&written[..])).1.is_some(), || format!("bit {bit} may be flipped"))
}

fn splits(input: &[u8]) -> Result<(), String> {
    let whole = read(std::iter::once(input));
    for size in [1, 7] {
        let split = read(input.chunks(size));
        law(split == whole, || format!("in pieces of {size}: {split:?}, whole: {whole:?}"))?;
    }
    Ok(())
}
