//! `cargo xtask test`: every check and every test, one step after the other, cheap ones first.
//!
//! A failed step does not stop the others. Must not know what a step tests; the table is in `steps.rs`.

pub(crate) mod bounded;
mod clients;
mod envoy;
mod postgres;
mod redis;
mod steps;
mod tally;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::Outcome;
use bounded::Bounded;
use steps::{STEPS, Step};
use tally::Tally;

/// Which steps to run.
#[derive(clap::Args)]
pub struct Options {
    /// Run only this step; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// List the steps and end
    #[arg(long)]
    list: bool,
}

struct Report {
    step: &'static Step,
    tally: Tally,
    took: Duration,
    /// What went wrong besides failed tests.
    trouble: Option<String>,
}

/// Runs the steps, prints a table of them, and ends with the line `N passed, N failed`.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    if options.list {
        STEPS.iter().for_each(|step| println!("{:<12} {}", step.name, step.about));
        return Ok(Outcome::Good);
    }
    for name in &options.only {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("unknown step {name:?}: `cargo xtask test --list` names them");
        }
    }
    let wanted = |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let reports: Vec<_> = STEPS.iter().filter(wanted).map(|step| run_step(root, step)).collect();
    Ok(conclude(&reports))
}

fn run_step(root: &Path, step: &'static Step) -> Report {
    println!("\n=== {}: {}", step.name, step.about);
    let begun = Instant::now();
    let mut bounded = Bounded::new(root, begun + step.limit);
    let trouble = (step.run)(&mut bounded).err().map(|error| format!("{error:#}"));
    let took = begun.elapsed();
    let tally = bounded.tally().concluded(trouble.is_some());
    let report = Report { step, tally, took, trouble };
    let verdict = if report.tally.failed == 0 { "passed" } else { "FAILED" };
    println!("=== {} {verdict} in {:.1} s", step.name, took.as_secs_f64());
    report
}

fn conclude(reports: &[Report]) -> Outcome {
    println!("\n{:<12} {:>7} {:>7} {:>9}", "step", "passed", "failed", "seconds");
    let mut total = Tally::default();
    for Report { step, tally, took, trouble } in reports {
        let trouble = trouble.as_deref().unwrap_or_default();
        println!(
            "{:<12} {:>7} {:>7} {:>9.1}  {trouble}",
            step.name,
            tally.passed,
            tally.failed,
            took.as_secs_f64()
        );
        total.add(*tally);
    }
    let seconds: f64 = reports.iter().map(|report| report.took.as_secs_f64()).sum();
    println!("{:<12} {:>7} {:>7} {seconds:>9.1}\n", "all", total.passed, total.failed);
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { Outcome::Good } else { Outcome::Bad }
}
