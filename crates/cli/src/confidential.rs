//! Which lines of a configuration nobody may see: those of a document that is a Secret, or could be one.
//!
//! It is told by the text alone, for it has to hold where the text is no YAML, or stands at another line than the object that
//! was made of it, as after a variable with several lines.

/// Whether the document at `line`, from 0, of `text` may hold a secret. When in doubt, it may.
pub(crate) fn may_hold_secret(text: &str, line: usize) -> bool {
    let document = document_at(text, line);
    let has = |word: &str| words(&document).any(|found| found.eq_ignore_ascii_case(word));
    if has("stringData") {
        return true;
    }
    let kinds: Vec<_> = document.iter().filter_map(|line| line.strip_prefix("kind:")).map(plain).collect();
    let is_harmless = |kind: &Option<&str>| {
        let is = |other: &str, kind: &str| {
            kind.get(..other.len()).is_some_and(|start| start.eq_ignore_ascii_case(other))
        };
        kind.is_some_and(|kind| !is("Secret", kind) && !is("List", kind))
    };
    if kinds.is_empty() {
        // JSON, or one map in braces: its kind is somewhere, if it is.
        return has("Secret")
            || has("Secrets")
            || !has("kind")
            || document.iter().any(|line| line.contains("${"));
    }
    let is_list = kinds.iter().flatten().any(|kind| kind.eq_ignore_ascii_case("List"));
    if is_list {
        return has("Secret") || has("Secrets");
    }
    !kinds.iter().all(is_harmless)
}

/// The lines between two that begin with `---`.
fn document_at(text: &str, line: usize) -> Vec<&str> {
    let mut document = Vec::new();
    for (number, written) in text.lines().enumerate() {
        if written.starts_with("---") {
            if number > line {
                break;
            }
            document.clear();
        }
        document.push(written);
    }
    document
}

fn words<'a>(document: &'a [&str]) -> impl Iterator<Item = &'a str> {
    document.iter().flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric()))
}

/// The word behind `kind:`, if it is one word and nothing else.
fn plain(value: &str) -> Option<&str> {
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim();
    let word = value.trim_matches(['"', '\'']);
    (!word.is_empty() && word.chars().all(char::is_alphanumeric)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_are_or_could_be_secrets_are_known_by_their_text() {
        for document in [
            "kind: Secret\ndata: {a: b}",
            "kind: \"Secret\" # of the provider",
            "kind: secret\ndata: {a: b}",
            "kind: Secrets\ndata: {a: b}",
            "kind: [Secret\ndata: {a: b}",
            "kind: ${KIND}\ndata: {a: b}",
            "kind:\n  Secret\ndata: {a: b}",
            "kind: Gateway\nkind: Secret\ndata: {a: b}",
            "metadata: {name: a}\ndata: {a: b}",
            "{kind: Secret, data: {a: b}",
            "{\"kind\": \"Secret\", \"data\": {\"a\": \"b\"}}",
            "{kind: \"${KIND}\", data: {a: b}}",
            "kind: List\nitems:\n- kind: Gateway\n- kind: Secret\n  data: {a: b}",
            "kind: Gateway\nstringData: {a: b}",
        ] {
            let text = format!("kind: Gateway\n---\n{document}\n---\nkind: Gateway\n");
            for (line, _) in document.lines().enumerate() {
                assert!(may_hold_secret(&text, line + 2), "{document}");
            }
            let last = text.lines().count();
            assert!(!may_hold_secret(&text, 0) && !may_hold_secret(&text, last - 1), "{document}");
        }
    }

    #[test]
    fn documents_of_other_kinds_may_be_shown() {
        for document in [
            "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}",
            "kind: BackendSecurityPolicy\nspec: {apiKey: {secretRef: {kind: Secret, name: a}}}",
            "kind: 'Gateway' # no Secret",
            "kind: Gateway\nspec: [",
            "{kind: Gateway, spec: [}",
            "{\"kind\": \"AIGatewayRoute\"}",
            "kind: List\nitems: [{kind: Gateway}]",
        ] {
            assert!(!may_hold_secret(document, 0), "{document}");
        }
    }
}
