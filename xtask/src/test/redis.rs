//! A Redis for the tests of shared counters: Debian's, which is installed if there is none.
//!
//! Must not know what it is for.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::bounded::Bounded;
use crate::debian;

/// The program, and the package that has it.
const PROGRAM: &str = "redis-server";

/// The oldest version that can be broken as the tests of counters do. The gateway itself makes do with 6.
const MAJOR_MIN: u32 = 7;

/// Sees to it that `redis-server` can be started.
pub(super) fn install(bounded: &mut Bounded) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| bounded.run(program, arguments);
    debian::install(PROGRAM, || debian::has(PROGRAM), run).context("the tests need a Redis")?;
    let major = major().context("redis-server does not tell its version")?;
    if major < MAJOR_MIN {
        bail!("the tests need redis-server {MAJOR_MIN} or newer, and here is {major}");
    }
    Ok(())
}

/// The first number of its version.
fn major() -> Option<u32> {
    let said = Command::new(PROGRAM).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_once("v=")?.1.split('.').next()?.parse().ok()
}
