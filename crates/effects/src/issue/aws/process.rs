//! Keys of a program that prints them.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Process credential provider".

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tollgate_config::bundle::SigningKeys;

use super::keys;
use crate::issue::{IssueError, Issued};

/// How long the program may take. It may ask somebody far away.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Keys are shorter.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

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

/// The keys that `command` prints. It is started without a shell, and ended when it takes too long.
///
/// # Errors
/// [`IssueError::Misconfigured`] when it cannot be started, fails, or prints no keys. What it prints is not told.
pub(super) async fn keys_of_process(command: &str) -> Result<Issued<SigningKeys>, IssueError> {
    let words = words(command).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| failed(command, "a quote is open, or there is no program"))?;
    let printed = tokio::time::timeout(TIMEOUT, printed(&words)).await;
    let printed = printed.map_err(|_| failed(command, "it takes too long"))?;
    let printed = printed.map_err(|reason| failed(command, &reason))?;
    let Ok(printed) = serde_json::from_slice::<Printed>(&printed) else {
        return Err(failed(command, "expected JSON with Version and keys"));
    };
    if printed.version != 1 {
        return Err(failed(command, "expected Version 1"));
    }
    let parts = [printed.access_key_id, printed.secret_access_key, printed.session_token, printed.expiration];
    keys::made(parts).map_err(|reason| failed(command, reason))
}

/// What the program writes to its standard output until it ends well.
async fn printed(words: &[String]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut printed = Vec::new();
    if let Some(out) = child.stdout.take() {
        let read = out.take(OUTPUT_BYTES_MAX).read_to_end(&mut printed).await;
        read.map_err(|error| error.to_string())?;
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(printed),
        Ok(status) => Err(format!("it ended with {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The program is named, not its arguments, which may be secret.
fn failed(command: &str, reason: &str) -> IssueError {
    let program = command.split_whitespace().next().unwrap_or_default();
    IssueError::Misconfigured(format!("credential_process {program}: {reason}"))
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
