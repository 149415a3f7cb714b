//! Programs that print a credential: bounded in time, and in what they may print.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tollgate_terms::Secret;

use super::{Environment, IssueError};

/// No credential is longer.
const BYTES_MAX: u64 = 1 << 20;

/// How long a program may take, whatever is said elsewhere: a fetch has to end.
pub(super) const TIME_MAX: Duration = Duration::from_secs(30);

/// Runs the program that the first of `words` names, with the others as arguments and `variables` beside those of `environment`. Tells
/// what it has printed; what it writes to standard error goes nowhere. It is killed after `limit`, or after [`TIME_MAX`].
///
/// # Errors
/// [`IssueError::Misconfigured`] when it cannot be run, [`IssueError::TooSlow`], and [`IssueError::Unreadable`] when it fails or prints too much.
pub(super) async fn printed(
    words: &[String],
    environment: &Environment,
    variables: Vec<(&'static str, String)>,
    limit: Duration,
) -> Result<Secret, IssueError> {
    let program = words.first().map_or("", String::as_str);
    let service = name_of(program);
    let mut command = Command::new(program);
    command.args(words.iter().skip(1)).env_clear().envs(environment.variables()).envs(variables);
    match tokio::time::timeout(limit.min(TIME_MAX), run(command, &service)).await {
        Ok(printed) => printed,
        Err(_) => Err(IssueError::TooSlow { service }),
    }
}

/// What a program is called in errors. Its arguments are not told: they may be secret.
pub(super) fn name_of(program: &str) -> String {
    format!("the program {program}")
}

async fn run(mut command: Command, service: &str) -> Result<Secret, IssueError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| IssueError::Misconfigured(format!("{service} cannot be run: {error}")))?;
    let unreadable = |reason: String| IssueError::Unreadable { service: service.to_owned(), reason };
    let mut printed = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let read = pipe.take(BYTES_MAX + 1).read_to_end(&mut printed).await;
        read.map_err(|error| unreadable(error.to_string()))?;
    }
    if printed.len() as u64 > BYTES_MAX {
        return Err(unreadable("it has printed too much".to_owned()));
    }
    let status = child.wait().await.map_err(|error| unreadable(error.to_string()))?;
    if !status.success() {
        return Err(unreadable(format!("it ended with {status}")));
    }
    String::from_utf8(printed).map(Secret::new).map_err(|_| unreadable("expected text".to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn script(text: &str, limit: Duration) -> Result<String, String> {
        let words = ["/bin/sh", "-c", text].map(str::to_owned);
        let environment = [("OWN".into(), "own".into())].into_iter().collect();
        let printed = printed(&words, &environment, vec![("ADDED", "added".to_owned())], limit).await;
        printed.map(|text| text.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_is_bounded_in_time_and_in_what_it_prints() {
        let long = Duration::from_secs(10);
        assert_eq!(script("echo $OWN $ADDED", long).await.as_deref(), Ok("own added\n"));
        for (text, limit, expected) in [
            ("echo hidden; echo hidden >&2; exit 3", long, "it ended with exit status: 3"),
            ("while :; do echo hidden; done", long, "it has printed too much"),
            ("exec /bin/sleep 9", Duration::from_millis(100), "did not answer in time"),
            ("exec >&-; exec /bin/sleep 9", Duration::from_millis(100), "did not answer in time"),
        ] {
            let began = Instant::now();
            let error = script(text, limit).await.unwrap_err();
            assert!(error.contains(expected) && !error.contains("hidden"), "{text}: {error}");
            assert!(began.elapsed() < Duration::from_secs(5), "{text}");
        }
        let nowhere = printed(&["/nowhere/x".to_owned()], &Environment::default(), Vec::new(), long).await;
        assert!(matches!(nowhere, Err(IssueError::Misconfigured(_))));
    }
}
