//! Commands that end by a deadline, whose output is shown as it comes and counted.
//!
//! Away from a terminal each runs in a process group of its own, so that what it started ends with it.
//! Must not know the steps.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::tally::Tally;

const POLL: Duration = Duration::from_millis(20);

/// Runs the commands of one step.
pub(crate) struct Bounded {
    root: PathBuf,
    deadline: Instant,
    variables: Vec<(&'static str, PathBuf)>,
    tally: Tally,
}

impl Bounded {
    /// Commands run in `root` and end by `deadline`.
    pub(crate) fn new(root: &Path, deadline: Instant) -> Self {
        Bounded { root: root.to_path_buf(), deadline, variables: Vec::new(), tally: Tally::default() }
    }

    /// The repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The tests that the commands so far said to have run.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Tells the commands to come where something is.
    pub(crate) fn tell(&mut self, variable: &'static str, path: PathBuf) {
        self.variables.push((variable, path));
    }

    /// Counts a test that is not one of a test runner's, and says what is wrong when it failed.
    pub(super) fn judge(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.tally.passed += 1,
            Err(error) => {
                println!("{name}: {error:#}");
                self.tally.failed += 1;
            }
        }
    }

    /// Runs a command to its end; fails when it cannot start, exits other than with 0, or takes too long.
    pub(crate) fn run(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        println!("$ {program} {}", arguments.join(" "));
        let mut command = Command::new(self.program(program));
        command.current_dir(&self.root).args(arguments);
        command.envs(self.variables.iter().map(|(name, path)| (name, path)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if std::io::stdout().is_terminal() {
            // It stays in our own process group, so that an interrupt from the keyboard reaches it too.
            command.env("CARGO_TERM_COLOR", colour());
        } else {
            command.process_group(0);
        }
        if std::env::var_os("CI").is_some() {
            // Nobody builds a second time there.
            command.env("CARGO_INCREMENTAL", "0");
        }
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let (said, lines) = mpsc::channel();
        let readers = [read_lines(child.stdout.take(), said.clone()), read_lines(child.stderr.take(), said)];
        let status = self.wait(&mut child, &lines);
        end_group(&child);
        readers.into_iter().flatten().for_each(|reader| drop(reader.join()));
        lines.try_iter().for_each(|line| self.show(&line));
        match status? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{program}: {status}"),
            None => bail!("{program}: not done in time, and stopped"),
        }
    }

    // A path is meant from the root; a bare name is looked up as a shell does.
    fn program(&self, program: &str) -> PathBuf {
        if program.contains('/') { self.root.join(program) } else { program.into() }
    }

    /// `None` when the deadline came first.
    fn wait(&mut self, child: &mut Child, lines: &mpsc::Receiver<Vec<u8>>) -> Result<Option<ExitStatus>> {
        loop {
            if let Ok(line) = lines.recv_timeout(POLL) {
                self.show(&line);
                continue;
            }
            if let Some(status) = child.try_wait().context("cannot wait for a command")? {
                return Ok(Some(status));
            }
            if Instant::now() >= self.deadline {
                end_group(child);
                child.kill().context("cannot stop a command")?;
                child.wait().context("cannot wait for a command")?;
                return Ok(None);
            }
            // With both pipes closed, receiving returns at once.
            thread::sleep(POLL);
        }
    }

    fn show(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        print!("{line}");
        self.tally.count(&line);
    }
}

fn colour() -> &'static str {
    if std::env::var_os("NO_COLOR").is_none() { "always" } else { "never" }
}

fn read_lines(
    pipe: Option<impl Read + Send + 'static>,
    said: mpsc::Sender<Vec<u8>>,
) -> Option<JoinHandle<()>> {
    let mut pipe = BufReader::new(pipe?);
    Some(thread::spawn(move || {
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if said.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    }))
}

/// Ends whatever the command left running. `kill` is asked, since the standard library signals no groups.
fn end_group(child: &Child) {
    let group = format!("-{}", child.id());
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &group]).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = kill.status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(limit: Duration) -> Bounded {
        Bounded::new(Path::new("/"), Instant::now() + limit)
    }

    #[test]
    fn counts_what_a_command_says_it_tested() {
        let mut bounded = bounded(Duration::from_secs(10));
        let script = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; echo 2 passed in 1s >&2";
        assert!(bounded.run("sh", &["-c", script]).is_ok());
        assert_eq!(bounded.tally(), Tally { passed: 5, failed: 0 });
    }

    #[test]
    fn ends_a_command_that_takes_too_long_and_what_it_started() {
        let begun = Instant::now();
        let error = bounded(Duration::from_millis(200)).run("sh", &["-c", "sleep 60 & sleep 60"]);
        assert!(error.is_err_and(|error| error.to_string().contains("not done in time")));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_failed_or_missing_command_is_an_error() {
        assert!(bounded(Duration::from_secs(10)).run("false", &[]).is_err());
        assert!(bounded(Duration::from_secs(10)).run("no-such-command", &[]).is_err());
    }
}
