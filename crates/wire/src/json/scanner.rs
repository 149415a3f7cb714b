//! The walk over a JSON text: no recursion, no allocation but for the members asked for.

use std::collections::HashSet;
use std::ops::Range;
use std::slice::Iter;

use super::text::Escapes;
use super::{Malformed, Member, key_of};

/// Deepest nesting that the walk can remember.
pub(super) const DEPTH_MAX: usize = 128;

/// Up to this many members, comparing each with each is cheaper than hashing.
const COMPARED_MAX: usize = 24;

pub(super) struct Scanner<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) depth_max: usize,
    pub(super) containers: usize,
    /// Where strings end, for those who will read the same text again.
    pub(super) endings: Option<Vec<Ending>>,
}

/// Where a string ends that is longer than a word: the offset behind its closing quote, and how it is escaped in the two lowest bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending(usize);

/// A string: what is between its quotes, and how it is escaped.
pub(super) struct Quoted {
    pub(super) range: Range<usize>,
    pub(super) escapes: Escapes,
}

impl Ending {
    fn new(behind: usize, escapes: Escapes) -> Self {
        Self(behind << 2 | escapes as usize)
    }

    fn behind(self) -> usize {
        self.0 >> 2
    }

    fn escapes(self) -> Escapes {
        match self.0 & 3 {
            0 => Escapes::None,
            1 => Escapes::Usual,
            _ => Escapes::Other,
        }
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8], depth_max: usize) -> Self {
        Self { text, at: 0, depth_max, containers: 0, endings: None }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The bytes of a string, where none is escaped.
    pub(super) fn plain(&self, quoted: &Quoted) -> Option<&'a [u8]> {
        if quoted.escapes == Escapes::None { self.text.get(quoted.range.clone()) } else { None }
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads an object, at its opening brace, and its members. With `inner`, also those of objects directly inside.
    pub(super) fn object(
        &mut self,
        depth: usize,
        inner: &mut Option<&mut Vec<Member>>,
    ) -> Result<Vec<Member>, Malformed> {
        let mut members = Vec::with_capacity(8);
        self.containers += 1;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            let key = self.key()?;
            let start = self.at;
            let mut found = None;
            match (self.peek(), inner.as_deref_mut()) {
                (Some(b'{'), Some(all)) => {
                    let own = self.object(depth + 1, &mut None)?;
                    found = Some(all.len()..all.len() + own.len());
                    all.extend(own);
                }
                _ => self.value(depth)?,
            }
            members.push(Member { key, value: start..self.at, inner: found });
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(b'}') => {
                    self.at += 1;
                    self.refuse_duplicates(&members)?;
                    return Ok(members);
                }
                _ => return self.expected("',' or '}'"),
            }
        }
    }

    /// Walks over one value at nesting `depth`.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        // One bit per open container, the innermost lowest: 1 is an object.
        let mut kinds: u128 = 0;
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some(byte @ (b'{' | b'[')) => {
                    if depth + open >= self.depth_max {
                        return Err(Malformed::TooDeep { at: self.at });
                    }
                    self.containers += 1;
                    self.at += 1;
                    self.skip_space();
                    let close = byte + 2;
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        kinds = kinds << 1 | u128::from(byte == b'{');
                        open += 1;
                        if byte == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => return self.expected("a JSON value"),
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                self.skip_space();
                let in_object = kinds & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    _ => return self.expected(if in_object { "',' or '}'" } else { "',' or ']'" }),
                }
                self.at += 1;
                kinds >>= 1;
                open -= 1;
            }
        }
    }

    /// Reads a key and its colon, up to the value.
    fn key(&mut self) -> Result<Range<usize>, Malformed> {
        if self.peek() != Some(b'"') {
            return self.expected("a key");
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key.range)
    }

    /// Walks over the colon behind a key, up to the value.
    pub(super) fn colon(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.expected("':'");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Walks over a string, at its quote.
    pub(super) fn string(&mut self) -> Result<Quoted, Malformed> {
        if let Some(short) = self.short_string() {
            return Ok(short);
        }
        let start = self.at + 1;
        let escapes = self.long_string()?;
        let behind = self.at;
        if let Some(endings) = &mut self.endings {
            endings.push(Ending::new(behind, escapes));
        }
        Ok(Quoted { range: start..behind - 1, escapes })
    }

    /// The same, of a text that has been walked before, which noted where the next string ends.
    pub(super) fn known_string(&mut self, endings: &mut Iter<'_, Ending>) -> Result<Quoted, Malformed> {
        if let Some(short) = self.short_string() {
            return Ok(short);
        }
        let start = self.at + 1;
        match endings.next().map(|ending| (ending.behind().saturating_sub(1), ending.escapes())) {
            Some((end, escapes)) if end >= start && self.text.get(end) == Some(&b'"') => {
                self.at = end + 1;
                Ok(Quoted { range: start..end, escapes })
            }
            _ => self.expected("the text that was scanned"),
        }
    }

    /// Walks over a string that ends in its first word, as most do.
    fn short_string(&mut self) -> Option<Quoted> {
        let start = self.at + 1;
        let word = self.text.get(start..)?.first_chunk()?;
        let end = start + plain_bytes(u64::from_le_bytes(*word));
        if self.text.get(end) != Some(&b'"') || end == start + word.len() {
            return None;
        }
        self.at = end + 1;
        Some(Quoted { range: start..end, escapes: Escapes::None })
    }

    fn long_string(&mut self) -> Result<Escapes, Malformed> {
        self.at += 1;
        let mut escapes = Escapes::None;
        loop {
            self.at += plain_run(self.text.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escapes);
                }
                Some(b'\\') => escapes = escapes.max(self.escape()?),
                Some(_) => return self.expected("no control character in a string"),
                None => return self.expected("the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<Escapes, Malformed> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(Escapes::Usual);
            }
            Some(b'/') => self.at += 2,
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return self.expected("four hexadecimal digits");
                }
                self.at += 6;
            }
            _ => return self.expected("an escape"),
        }
        Ok(Escapes::Other)
    }

    pub(super) fn literal(&mut self, word: &'static [u8]) -> Result<(), Malformed> {
        if !self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            return self.expected("a JSON value");
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    fn refuse_duplicates(&self, members: &[Member]) -> Result<(), Malformed> {
        let key = |member: &Member| key_of(self.text.get(member.key.clone()).unwrap_or_default());
        let duplicate = if members.len() <= COMPARED_MAX {
            members
                .iter()
                .enumerate()
                .find(|(index, member)| members.iter().take(*index).any(|before| key(before) == key(member)))
        } else {
            let mut seen = HashSet::with_capacity(members.len());
            members.iter().enumerate().find(|(_, member)| !seen.insert(key(member)))
        };
        match duplicate {
            None => Ok(()),
            Some((_, member)) => Err(Malformed::DuplicateKey {
                key: String::from_utf8_lossy(&key(member)).into_owned(),
                at: member.key.start,
            }),
        }
    }

    pub(super) fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed::Syntax { expected, at: self.at })
    }
}

/// Length of the run that needs no look: no quote, no backslash, no control character.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Most runs end in the first word. One that does not is likely to be long.
    if let Some((first, behind)) = bytes.split_first_chunk() {
        match plain_bytes(u64::from_le_bytes(*first)) {
            plain @ ..8 => return plain,
            _ => rest = behind,
        }
        while let Some((block, behind)) = rest.split_first_chunk()
            && is_plain(block)
        {
            rest = behind;
        }
    }
    while let Some((eight, behind)) = rest.split_first_chunk() {
        match plain_bytes(u64::from_le_bytes(*eight)) {
            plain @ ..8 => return bytes.len() - rest.len() + plain,
            _ => rest = behind,
        }
    }
    rest.iter().position(ends_run).map_or(bytes.len(), |plain| bytes.len() - rest.len() + plain)
}

/// Whether a byte has to be looked at.
fn ends_run(&byte: &u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < CONTROL_END
}

/// Whether no byte of a block has to be looked at. All are compared at once, in the vectors that every processor has.
fn is_plain(block: &[u8; BLOCK_BYTES]) -> bool {
    !block.iter().fold(false, |ends, byte| ends | (*byte == b'"') | (*byte == b'\\') | (*byte < CONTROL_END))
}

const BLOCK_BYTES: usize = 32;

/// How many of the first bytes of eight need no look. A byte less than another borrows from the bit above it, which only bytes behind
/// the first such one can see (Hacker's Delight, section 6-1).
fn plain_bytes(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let each = |byte: u8| ONES * u64::from(byte);
    let less = |word: u64, than: u8| word.wrapping_sub(each(than)) & !word;
    // With this bit turned over, the quote stands right behind the control characters.
    let controls_and_quotes = less(word ^ each(b'"' ^ CONTROL_END), CONTROL_END + 1);
    let backslashes = less(word ^ each(b'\\'), 1);
    (((controls_and_quotes | backslashes) & each(0x80)).trailing_zeros() / 8) as usize
}

/// Bytes below this are control characters, which stand in no string (RFC 8259 section 7).
const CONTROL_END: u8 = 0x20;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_ends_at_the_first_byte_that_needs_a_look(
            bytes in vec(prop_oneof![9 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..100),
            plain in 0..200_usize,
        ) {
            let text: Vec<u8> = std::iter::repeat_n(b'a', plain).chain(bytes).collect();
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..CONTROL_END);
            prop_assert_eq!(plain_run(&text), text.iter().position(ends).unwrap_or(text.len()));
        }
    }
}
