//! Where a JSON object that comes in pieces ends, without keeping the pieces.

/// Follows the text of one object.
#[derive(Debug, Default)]
pub(super) struct JsonEnd {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    is_whole: bool,
}

impl JsonEnd {
    /// Takes in the next piece.
    pub(super) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole = self.depth == 0;
                }
                _ => {}
            }
        }
    }

    /// Whether the object has ended.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::JsonEnd;

    #[test]
    fn sees_the_end_for_any_split() {
        let text = r#"{"a": "}\"]", "b": [{"c": "\\"}]}"#;
        for at in 0..text.len() {
            let (one, two) = text.split_at(at);
            let mut end = JsonEnd::default();
            end.push(one);
            assert!(!end.is_whole(), "{one}");
            end.push(two);
            assert!(end.is_whole(), "{one} {two}");
        }
    }
}
