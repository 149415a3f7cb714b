//! Places in a text that passes by, in characters and in bytes: dialects count in either.

use tollgate_wire::json::Text;

/// Most runs that are kept: a text that changes its alphabet more often is measured up to there.
const RUNS_MAX: usize = 1 << 16;

/// Measures a text piece by piece, without keeping it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ruler {
    // Invariant: ordered by their ends.
    runs: Vec<Run>,
    chars: u64,
    bytes: u64,
}

/// Characters that have the same length and follow one another.
#[derive(Debug, Clone, Copy)]
struct Run {
    chars_end: u64,
    bytes_end: u64,
    /// Bytes of each character.
    width: u64,
}

impl Ruler {
    /// A ruler along all of a text.
    pub(crate) fn of(text: &Text) -> Self {
        let mut ruler = Self::default();
        ruler.push(&text.as_str());
        ruler
    }

    /// More of the text.
    pub(crate) fn push(&mut self, text: &str) {
        if text.is_ascii() {
            return self.run(text.len() as u64, 1);
        }
        for character in text.chars() {
            self.run(1, character.len_utf8() as u64);
        }
    }

    fn run(&mut self, count: u64, width: u64) {
        if count == 0 {
            return;
        }
        self.chars += count;
        self.bytes += count * width;
        let (chars_end, bytes_end) = (self.chars, self.bytes);
        let before = chars_end - count;
        let has_room = self.runs.len() < RUNS_MAX;
        match self.runs.last_mut() {
            Some(last) if last.width == width && last.chars_end == before => {
                (last.chars_end, last.bytes_end) = (chars_end, bytes_end);
            }
            _ if has_room => self.runs.push(Run { chars_end, bytes_end, width }),
            _ => {}
        }
    }

    /// Characters so far.
    pub(crate) fn chars(&self) -> u64 {
        self.chars
    }

    /// The place of a character in bytes; nothing where it has not come or is not known.
    pub(crate) fn byte_of(&self, character: u64) -> Option<u64> {
        let run = self.runs.get(self.runs.partition_point(|run| run.chars_end < character));
        match run {
            Some(run) => Some(run.bytes_end - (run.chars_end - character) * run.width),
            None => (character == self.chars).then_some(self.bytes),
        }
    }

    /// The place of a byte in characters, that of the next one where it is inside of one; nothing where it has not come or is not known.
    pub(crate) fn char_of(&self, byte: u64) -> Option<u64> {
        let run = self.runs.get(self.runs.partition_point(|run| run.bytes_end < byte));
        match run {
            Some(run) => Some(run.chars_end - (run.bytes_end - byte) / run.width),
            None => (byte == self.bytes).then_some(self.chars),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_the_place_of_each_character(pieces in prop::collection::vec("[aé語🎈]{0,5}", 0..6)) {
            let text = pieces.concat();
            let mut ruler = Ruler::default();
            pieces.iter().for_each(|piece| ruler.push(piece));
            for (index, (byte, _)) in text.char_indices().enumerate() {
                prop_assert_eq!(ruler.byte_of(index as u64), Some(byte as u64));
                prop_assert_eq!(ruler.char_of(byte as u64), Some(index as u64));
            }
            let (chars, bytes) = (text.chars().count() as u64, text.len() as u64);
            prop_assert_eq!(ruler.chars(), chars);
            prop_assert_eq!((ruler.byte_of(chars), ruler.char_of(bytes)), (Some(bytes), Some(chars)));
            prop_assert_eq!((ruler.byte_of(chars + 1), ruler.char_of(bytes + 1)), (None, None));
        }
    }

    #[test]
    fn a_text_that_changes_without_end_is_measured_up_to_a_bound() {
        let mut ruler = Ruler::default();
        (0..RUNS_MAX).for_each(|_| ruler.push("aé"));
        assert_eq!(ruler.runs.len(), RUNS_MAX);
        assert_eq!(ruler.byte_of(2), Some(3));
        assert_eq!(ruler.byte_of(ruler.chars() - 1), None);
    }
}
