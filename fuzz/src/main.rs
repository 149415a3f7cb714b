//! `tollgate-fuzz`: changes inputs at random and looks for one that breaks a parser or a law of it.
//!
//! It runs on stable Rust and needs no instrumentation: the inputs in `corpus/` lead into every branch worth reaching. What breaks
//! a target is saved under `found/`, with the seed that leads to it again.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]

mod mutate;
mod targets;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

use targets::{TARGETS, Target};

/// No input may keep a target longer than this, however hostile.
const EXECUTION_MAX: Duration = Duration::from_secs(2);

/// Looks for inputs that break a parser
#[derive(Parser)]
struct Arguments {
    /// Seconds for each target
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only this target; may be given several times
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Seed of the dice; from the clock when absent
    #[arg(long)]
    seed: Option<u64>,
    /// Run this file through the target and end
    #[arg(long, value_name = "PATH", requires = "target")]
    input: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    for name in &arguments.target {
        if !TARGETS.iter().any(|target| target.name == name) {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            bail!("unknown target {name:?}: expected one of {}", names.join(", "));
        }
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let wanted = |target: &&Target| {
        arguments.target.is_empty() || arguments.target.iter().any(|name| name == target.name)
    };
    // What a panic says is told once, with its input.
    std::panic::set_hook(Box::new(|_| {}));
    let mut found = 0;
    for target in TARGETS.iter().filter(wanted) {
        let broken = match &arguments.input {
            Some(path) => {
                let input = fs::read(path).with_context(|| path.display().to_string())?;
                execute(target, &input).map(drop)
            }
            None => fuzz(target, Duration::from_secs_f64(arguments.seconds), seed)?,
        };
        if let Err(message) = broken {
            eprintln!("{}: {message}", target.name);
            found += 1;
        }
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::disallowed_methods, reason = "it runs for a time")]
fn fuzz(target: &Target, time: Duration, seed: u64) -> Result<Result<(), String>> {
    let corpus = corpus(target.name)?;
    let mut dice = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let (mut executions, mut slowest): (u64, _) = (0, Duration::ZERO);
    while began.elapsed() < time {
        let whole = usize::try_from(executions).ok().and_then(|at| corpus.get(at));
        // First the corpus as it is, then what chance makes of it.
        let input = whole.cloned().unwrap_or_else(|| mutate::mutate(&corpus, &mut dice));
        executions += 1;
        match execute(target, &input) {
            Ok(took) => slowest = slowest.max(took),
            Err(message) => {
                let path = save(target.name, &input)?;
                let place = path.display();
                return Ok(Err(format!("{message}\n  seed {seed}, execution {executions}, input {place}")));
            }
        }
    }
    let per_second = executions as f64 / began.elapsed().as_secs_f64();
    println!(
        "{:<14} {executions:>9} executions {per_second:>9.0}/s, the slowest {:>4} ms {:>4} in the corpus",
        target.name,
        slowest.as_millis(),
        corpus.len()
    );
    Ok(Ok(()))
}

/// How long the target took.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn execute(target: &Target, input: &[u8]) -> Result<Duration, String> {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = began.elapsed();
    match outcome {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without a text")))
        }
        Ok(Ok(())) if took > EXECUTION_MAX => Err(format!("took {took:?}")),
        Ok(outcome) => outcome.map(|()| took),
    }
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// The inputs of a target; an empty one is always among them.
fn corpus(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder("corpus", target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("no corpus at {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut inputs = vec![Vec::new()];
    for path in paths {
        inputs.push(fs::read(&path)?);
    }
    Ok(inputs)
}

fn save(target: &str, input: &[u8]) -> Result<PathBuf> {
    let folder = folder("found", target);
    fs::create_dir_all(&folder)?;
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder.join(format!("{:016x}", hasher.finish()));
    fs::write(&path, input)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_breaks_nothing() {
        for target in TARGETS {
            let corpus = corpus(target.name).expect("a corpus");
            assert!(corpus.len() > 1, "{} has no corpus", target.name);
            for input in corpus {
                let text = String::from_utf8_lossy(&input).into_owned();
                assert_eq!(execute(target, &input).map(drop), Ok(()), "{}: {text}", target.name);
            }
        }
    }

    #[test]
    fn a_slow_target_is_found() {
        let slow = Target {
            name: "json_scan",
            run: |_| {
                std::thread::sleep(EXECUTION_MAX + Duration::from_millis(1));
                Ok(())
            },
        };
        let message = execute(&slow, b"").expect_err("too slow");
        assert!(message.starts_with("took "), "{message}");
    }

    #[test]
    fn a_broken_target_is_found() {
        let broken =
            Target { name: "json_scan", run: |input| if input.len() > 3 { panic!("long") } else { Ok(()) } };
        let message = fuzz(&broken, Duration::from_secs(5), 1).expect("a corpus").expect_err("a panic");
        assert!(message.contains("panic: long"), "{message}");
        fs::remove_dir_all(folder("found", "json_scan")).expect("what was saved");
    }
}
