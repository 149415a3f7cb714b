//! A walk over the members of a JSON text that is trusted to be well formed: for looking, never for deciding what to send.

/// Every member of every object in `text`, at any depth, in the order of the text: its key as written, without quotes,
/// and the text from its value on. What is no JSON gives nonsense or nothing, and takes linear time.
pub fn members(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let string = rest.get(quote(rest)? + 1..)?;
            let (content, behind) = string.split_at(string_length(string));
            rest = behind.get(1..)?;
            if let Some(value) = rest.trim_ascii_start().strip_prefix(b":") {
                rest = value.trim_ascii_start();
                return Some((content, rest));
            }
        }
    })
}

/// Strings that tell something are short and stand close together: up to here a look at each byte is cheaper than a call.
const NEAR: usize = 24;

/// Where the next string begins.
fn quote(text: &[u8]) -> Option<usize> {
    let (near, far) = text.split_at(NEAR.min(text.len()));
    let found = near.iter().position(|&byte| byte == b'"');
    found.or_else(|| memchr::memchr(b'"', far).map(|at| NEAR + at))
}

/// Length of the string that begins at `text`, behind its opening quote, as written. That of `text` where it does not end.
pub fn string_length(text: &[u8]) -> usize {
    let (near, _) = text.split_at(NEAR.min(text.len()));
    let mut at = near.iter().position(|&byte| byte == b'"' || byte == b'\\').unwrap_or(near.len());
    loop {
        match text.get(at) {
            Some(b'"') => return at,
            Some(b'\\') => at += 2,
            Some(_) => {}
            None => return text.len(),
        }
        at += memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()).unwrap_or(text.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_members_at_any_depth_and_none_in_strings() {
        let text = br#" {"a" : 1,"b":{"c":[{"d":"\",\"e\":\"\\"}, "f"]},"g":null}"#;
        let found: Vec<_> = members(text).map(|(key, value)| (key, value.first().copied())).collect();
        let expected: [(&[u8], _); 5] = [
            (b"a", Some(b'1')),
            (b"b", Some(b'{')),
            (b"c", Some(b'[')),
            (b"d", Some(b'"')),
            (b"g", Some(b'n')),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn measures_a_string_as_written() {
        assert_eq!(string_length(br#"a\"b\\","#), 6);
        assert_eq!(string_length(b"open"), 4);
        assert_eq!(string_length(b"open\\"), 5);
    }

    proptest! {
        #[test]
        fn any_text_is_walked_to_its_end(text in r#"[{}\[\]":,\\a1 ]{0,60}"#) {
            prop_assert!(members(text.as_bytes()).count() <= text.len());
        }
    }
}
