//! Files that hold tokens and keys: small, and read again each time, since others replace them.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use tollgate_terms::Secret;

use super::IssueError;

/// No token and no key is longer.
const BYTES_MAX: u64 = 1 << 20;

/// The text of the file at `path`.
///
/// # Errors
/// [`IssueError::Misconfigured`] when it cannot be read, is too long or is no text.
pub(super) async fn read(path: &str) -> Result<Secret, IssueError> {
    read_within(path, BYTES_MAX).await
}

/// The same, where a file has a bound of its own.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_within(path: &str, bytes_max: u64) -> Result<Secret, IssueError> {
    let owned = path.to_owned();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::open(owned)?.take(bytes_max + 1).read_to_string(&mut text)?;
        match u64::try_from(text.len()) {
            Ok(length) if length <= bytes_max => Ok(Secret::new(text)),
            _ => Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge)),
        }
    });
    let reason = match text.await {
        Ok(Ok(text)) => return Ok(text),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(IssueError::Misconfigured(format!("the file {path} cannot be read: {reason}")))
}

/// The same without the white space around it, as for a token.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_trimmed(path: &str) -> Result<Secret, IssueError> {
    read(path).await.map(|text| Secret::new(text.expose().trim().to_owned()))
}

/// Puts `text` into the file at `path`, which only its owner can read. Whoever reads there finds it whole, or what was there before.
///
/// # Errors
/// [`IssueError::Misconfigured`] when it cannot be written.
pub(super) async fn replace(path: &str, text: Secret) -> Result<(), IssueError> {
    let owned = path.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        let unfinished = format!("{owned}.{}", std::process::id());
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.expose().as_bytes())?;
        std::fs::rename(&unfinished, owned)
    });
    let reason = match done.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(IssueError::Misconfigured(format!("the file {path} cannot be written: {reason}")))
}

/// Whether there is a file at `path`.
pub(super) async fn exists(path: &str) -> bool {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || std::path::Path::new(&path).is_file()).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_has_a_longest_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let path = path.to_str().unwrap();
        for (length, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            std::fs::write(path, "x".repeat(length)).unwrap();
            assert_eq!(read(path).await.is_ok(), fits, "{length}");
        }
        assert!(exists(path).await && !exists("/nowhere").await);
    }
}
