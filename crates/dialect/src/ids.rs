//! Ids for calls of tools that came without one. The core has no dice: the same answer gets the same ids.

/// Counts the calls of one answer.
#[derive(Debug)]
pub(crate) struct CallIds {
    answer: u64,
    count: usize,
}

impl CallIds {
    /// For the answer that has, or is given, this id.
    pub(crate) fn new(answer_id: &str) -> Self {
        Self { answer: fingerprint(answer_id), count: 0 }
    }

    /// The id of the next call: the one it has, or one made from the answer's id and the call's number.
    pub(crate) fn next(&mut self, id: String) -> String {
        let number = self.count;
        self.count += 1;
        // OpenAI takes no more than 40 characters, Anthropic none but letters, digits, `_` and `-`.
        if id.is_empty() { format!("call_{:016x}_{number}", self.answer) } else { id }
    }
}

/// A short name of a text that may be long: FNV-1a.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_for_the_same_answer_and_differ_within_it() {
        let mut ids = CallIds::new("chatcmpl-1");
        let (one, told, three) =
            (ids.next(String::new()), ids.next("own".to_owned()), ids.next(String::new()));
        assert_eq!(told, "own");
        assert_ne!(one, three);
        assert_eq!(CallIds::new("chatcmpl-1").next(String::new()), one);
        assert_ne!(CallIds::new("chatcmpl-2").next(String::new()), one);
        assert!(one.len() <= 40, "{one}");
    }
}
