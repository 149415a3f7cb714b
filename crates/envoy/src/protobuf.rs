//! Protobuf as it lies on the wire, field by field, for messages that pass by so often that a value for each part of them costs too much.
//!
//! Numbers of fields are those of the definitions. All that are written here are below 16, whose key is a single byte.

use bytes::BufMut;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a message in protobuf")]
pub struct Malformed;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    /// A text, bytes or another message.
    Bytes(&'a [u8]),
    /// Of a width that it always has. Nobody here asks for one.
    Fixed,
}

impl<'a> Value<'a> {
    /// Its bytes.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(Malformed),
        }
    }

    /// Whether it is true.
    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        match self {
            Self::Number(number) => Ok(number != 0),
            Self::Bytes(_) | Self::Fixed => Err(Malformed),
        }
    }
}

/// The fields of a message in the order in which they were written: their numbers, and what they hold. Nothing follows an error.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// What the last field with this number holds: it is the one that counts.
    pub(crate) fn last(self, number: u64) -> Result<Option<Value<'a>>, Malformed> {
        let mut found = None;
        for field in self {
            let (other, value) = field?;
            if other == number {
                found = Some(value);
            }
        }
        Ok(found)
    }

    #[inline]
    fn read(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups have no place in proto3.
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.0 {
            // Keys, and most lengths.
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Length of a field that holds so many bytes.
pub(crate) fn field_bytes(bytes: usize) -> usize {
    1 + prost::length_delimiter_len(bytes) + bytes
}

/// Length of a field with a number below 128.
pub(crate) const SHORT_BYTES: usize = 2;

/// Begins a field that holds the `bytes` that are written next.
pub(crate) fn begin(out: &mut Vec<u8>, number: u8, bytes: usize) {
    out.push(number << 3 | 2);
    let mut rest = bytes;
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a field of bytes, text or another message.
pub(crate) fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    begin(out, number, bytes.len());
    out.put_slice(bytes);
}

/// Writes a field with a number below 128.
pub(crate) fn put_short(out: &mut Vec<u8>, number: u8, value: u8) {
    out.extend_from_slice(&[number << 3, value & 0x7f]);
}

/// Writes a field with a double.
pub(crate) fn put_double(out: &mut Vec<u8>, number: u8, value: f64) {
    out.push(number << 3 | 1);
    out.put_f64_le(value);
}

/// Length of a field with a double.
pub(crate) const DOUBLE_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_written() {
        let mut out = Vec::new();
        put(&mut out, 1, &[7; 300]);
        put_short(&mut out, 2, 1);
        put_double(&mut out, 3, 0.5);
        put(&mut out, 15, b"");
        assert_eq!(out.len(), field_bytes(300) + SHORT_BYTES + DOUBLE_BYTES + field_bytes(0));
        let fields: Result<Vec<_>, _> = Fields(&out).collect();
        let expected =
            [(1, Value::Bytes(&[7; 300])), (2, Value::Number(1)), (3, Value::Fixed), (15, Value::Bytes(b""))];
        assert_eq!(fields, Ok(expected.to_vec()));
        assert_eq!(Fields(&out).last(2), Ok(Some(Value::Number(1))));
    }

    #[test]
    fn what_is_no_message_is_an_error_and_nothing_follows_it() {
        // Too short for its length, for its number, for its width; a number that never ends; a group; a length without end.
        let broken: [&[u8]; 6] =
            [&[0x0a, 2, 0], &[0x08], &[0x09, 0], &[0xff; 11], &[0x0b], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]];
        for bytes in broken {
            let mut fields = Fields(bytes);
            assert_eq!(fields.next(), Some(Err(Malformed)), "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
    }
}
