//! Keys of a program that prints them.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Process credential provider".

use serde::Deserialize;
use tollgate_config::bundle::SigningKeys;

use super::keys;
use crate::issue::{Environment, IssueError, Issued, program};

/// What the program prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u64,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// The keys that `command` prints. It is started without a shell.
///
/// # Errors
/// [`IssueError::Misconfigured`] when it is no command, those of a program, and [`IssueError::Unreadable`] when it prints no keys.
pub(super) async fn keys_of_process(
    environment: &Environment,
    command: &str,
) -> Result<Issued<SigningKeys>, IssueError> {
    let words = words(command).filter(|words| !words.is_empty()).ok_or_else(|| {
        IssueError::Misconfigured("credential_process: a quote is open, or there is no program".to_owned())
    })?;
    let printed = program::printed(&words, environment, Vec::new(), program::TIME_MAX).await?;
    let unreadable = |reason: &str| IssueError::Unreadable {
        service: program::name_of(words.first().map_or("", String::as_str)),
        reason: reason.to_owned(),
    };
    let Ok(printed) = serde_json::from_str::<Printed>(printed.expose()) else {
        return Err(unreadable("expected JSON with Version and keys"));
    };
    if printed.version != 1 {
        return Err(unreadable("expected Version 1"));
    }
    let parts = [printed.access_key_id, printed.secret_access_key, printed.session_token, printed.expiration];
    keys::made(parts).map_err(unreadable)
}

/// The words of a command line, with quotes and backslashes as a POSIX shell reads them; nothing else means anything. `None` when a
/// quote is open at the end.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, white) if white.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => {
                let next = characters.next()?;
                // Between double quotes it stands for itself before most characters.
                let word = word.get_or_insert_default();
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (_, character) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_into_words() {
        for (command, expected) in [
            ("a b  c", Some(vec!["a", "b", "c"])),
            (r#""/a b/c" --d='e "f"' ''"#, Some(vec!["/a b/c", "--d=e \"f\"", ""])),
            (r#"a\ b "\"\x""#, Some(vec!["a b", "\"\\x"])),
            ("  ", Some(vec![])),
            ("a 'b", None),
            ("a \\", None),
        ] {
            let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(words(command), expected, "{command}");
        }
    }
}
