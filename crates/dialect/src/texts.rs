//! The texts of a streamed choice, one after the other: what they rest on may be told when they are over, at a place that counts
//! through all of them.

use std::ops::Range;

/// Most texts that are kept: those behind them count as the last one.
pub(crate) const TEXTS_MAX: usize = 4096;

/// Where the texts are, in characters.
#[derive(Debug, Default, Clone)]
pub(crate) struct Texts {
    // Invariant: ordered by `chars_before`.
    texts: Vec<Place>,
    chars: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    block: usize,
    chars_before: u64,
}

impl Texts {
    /// The block is a text, which begins where the one before ends.
    pub(crate) fn begin(&mut self, block: usize) {
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(Place { block, chars_before: self.chars });
        }
    }

    /// More of the text that began last.
    pub(crate) fn push(&mut self, text: &str) {
        self.reach(self.chars + text.chars().count() as u64);
    }

    /// The same, where all texts together are measured: they have come as far as so many characters.
    pub(crate) fn reach(&mut self, chars: u64) {
        self.chars = chars;
    }

    /// The block that began last.
    pub(crate) fn last(&self) -> Option<usize> {
        self.texts.last().map(|place| place.block)
    }

    /// The characters of a block, as far as they have come; nothing where it is no text.
    pub(crate) fn chars_of(&self, block: usize) -> Option<Range<u64>> {
        let at = self.texts.iter().rposition(|place| place.block == block)?;
        Some(self.texts.get(at)?.chars_before..self.end(at).unwrap_or(self.chars))
    }

    /// A span of all texts as one of the block in which it begins, or behind which, if that is the last one. It may end in a later one.
    pub(crate) fn place(&self, span: &Range<u64>) -> Option<(usize, Range<u64>)> {
        let at = self.texts.partition_point(|place| place.chars_before <= span.start).checked_sub(1)?;
        let Place { block, chars_before } = *self.texts.get(at)?;
        Some((block, span.start - chars_before..span.end.saturating_sub(chars_before)))
    }

    /// Where a text ends that another one follows.
    fn end(&self, at: usize) -> Option<u64> {
        self.texts.get(at + 1).map(|next| next.chars_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        let mut texts = Texts::default();
        for (block, text) in [(1, "“é”"), (4, "two"), (5, "")] {
            texts.begin(block);
            texts.push(text);
        }
        texts
    }

    #[test]
    fn a_span_is_of_the_text_in_which_it_begins() {
        for (span, place) in [(0..3, (1, 0..3)), (3..5, (4, 0..2)), (1..5, (1, 1..5)), (2..2, (1, 2..2))] {
            assert_eq!(texts().place(&span), Some(place));
        }
        assert_eq!(texts().place(&(7..9)), Some((5, 1..3)));
        assert_eq!(Texts::default().place(&(0..1)), None);
    }

    #[test]
    fn the_last_text_goes_on() {
        assert_eq!(texts().chars_of(1), Some(0..3));
        assert_eq!(texts().chars_of(5), Some(6..6));
        assert_eq!(texts().chars_of(2), None);
    }

    #[test]
    fn texts_are_bounded() {
        let mut texts = Texts::default();
        (0..2 * TEXTS_MAX).for_each(|block| texts.begin(block));
        assert_eq!((texts.texts.len(), texts.chars_of(TEXTS_MAX)), (TEXTS_MAX, None));
    }
}
