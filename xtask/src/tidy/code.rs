//! Rust source without its comments, its tests, or the inside of its strings.
//!
//! A small lexer: it knows where comments, strings and characters begin and end, and nothing else of Rust.

/// What a blanked copy keeps of strings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// Their content stays.
    Kept,
    /// Their content becomes blanks.
    Blanked,
}

/// The lines before the tests that end a file: those before an unindented `#[cfg(test)]`.
pub(super) fn without_tests(text: &str) -> &str {
    match text.find("\n#[cfg(test)]\n") {
        Some(at) => text.get(..=at).unwrap_or(text),
        None => text,
    }
}

/// The source with comments blanked out, and strings too if wanted. Lines stay where they are.
pub(super) fn blanked(text: &str, strings: Strings) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = piece(rest).unwrap_or(first.len_utf8());
        let (taken, left) = rest.split_at(length);
        let keep = match taken.as_bytes() {
            [b'/', b'/' | b'*', ..] => false,
            _ => strings == Strings::Kept || length == first.len_utf8() || !taken.contains('"'),
        };
        match keep {
            true => out.push_str(taken),
            false => out.extend(taken.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' })),
        }
        rest = left;
    }
    out
}

/// The length of the comment, string, character or word that `rest` begins with; `None` for any other letter.
fn piece(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let after_prefix = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - after_prefix.len();
    let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
    let quote = after_prefix.get(hashes..)?;
    if quote.starts_with('"') && prefix <= 2 {
        let raw = rest.get(..prefix).is_some_and(|prefix| prefix.ends_with('r'));
        let inside = quote.get(1..)?;
        let length = if raw { raw_string(inside, hashes) } else { escaped(inside, '"') };
        return Some(prefix + hashes + 1 + length);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    // A word is taken whole, so that an `r` or `b` at its end is not taken for the prefix of a string.
    let word = rest.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
    (word.len() < rest.len()).then(|| rest.len() - word.len())
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        let step = match left {
            left if left.starts_with("/*") => {
                depth += 1;
                2
            }
            left if left.starts_with("*/") => {
                depth -= 1;
                2
            }
            left => left.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length up to and with the `end` that no backslash precedes.
fn escaped(inside: &str, end: char) -> usize {
    let mut letters = inside.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == end {
            return at + end.len_utf8();
        }
    }
    inside.len()
}

fn raw_string(inside: &str, hashes: usize) -> usize {
    let end = format!("\"{}", "#".repeat(hashes));
    inside.find(&end).map_or(inside.len(), |at| at + end.len())
}

/// A character literal; `None` for the mark of a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.get(1..)?;
    let letter = inside.chars().next()?;
    if letter == '\\' {
        return Some(1 + escaped(inside, '\''));
    }
    let after = inside.get(letter.len_utf8()..)?;
    after.starts_with('\'').then(|| 2 + letter.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::{Strings, blanked, without_tests};

    fn words(text: &str, strings: Strings) -> Vec<String> {
        blanked(text, strings).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_go_and_strings_stay() {
        let text = "a // x \"y\n/* b /* c */ d */ e \"// f\" 'g'";
        assert_eq!(words(text, Strings::Kept), ["a", "e", "\"//", "f\"", "'g'"]);
        assert_eq!(words(text, Strings::Blanked), ["a", "e", "'g'"]);
    }

    #[test]
    fn strings_end_where_they_end() {
        assert_eq!(words(r##"a r#"b " c"# d"##, Strings::Blanked), ["a", "d"]);
        assert_eq!(words(r#"a "b \" c" d"#, Strings::Blanked), ["a", "d"]);
        assert_eq!(words(r#"a b"c" br"d" '"' e"#, Strings::Blanked), ["a", "e"]);
        assert_eq!(words(r#"bar "c" d"#, Strings::Blanked), ["bar", "d"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(words("fn f<'a>(x: &'a str) { '\\'' } // y", Strings::Kept).len(), 7);
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "/* a\nb */\nc \"d\ne\" // f\n";
        assert_eq!(blanked(text, Strings::Blanked).matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn tests_at_the_end_are_cut_off() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {}\n"), "a\n");
        assert_eq!(without_tests("a\n"), "a\n");
    }
}
