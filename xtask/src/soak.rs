//! `cargo xtask soak`: gateways are killed under load, many times, and what clients got is compared with what is recorded (ACC-07).
//!
//! The test is that of the `tollgate` binary, which kills a few on every run. Must not know how it judges.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Outcome;
use crate::test::bounded::Bounded;

/// The longest that a kill takes: a start, load for a quarter of a second, and whatever else the machine does.
const KILL_MAX: Duration = Duration::from_secs(5);

/// For the binary to be built.
const BUILD_MAX: Duration = Duration::from_secs(15 * 60);

/// How often.
#[derive(clap::Args)]
pub struct Options {
    /// How many gateways are killed
    #[arg(long, default_value_t = 500)]
    kills: u32,
}

/// Runs the test, which says in its last line what was found.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    let begun = Instant::now();
    let mut bounded = Bounded::new(root, begun + BUILD_MAX + KILL_MAX * options.kills);
    bounded.tell("TOLLGATE_KILLS", options.kills.to_string().into());
    let tests = ["test", "--package", "tollgate-cli", "--test", "ledger", "acc_07", "--", "--nocapture"];
    let outcome = bounded.run("cargo", &tests);
    let tally = bounded.tally().concluded(outcome.is_err());
    println!(
        "soak: {} kills in {:.0} s, {} failed",
        options.kills,
        begun.elapsed().as_secs_f64(),
        tally.failed
    );
    outcome?;
    Ok(if tally.passed == 1 && tally.failed == 0 { Outcome::Good } else { Outcome::Bad })
}
