//! `cargo xtask bless`: has the tests write what they see into their golden files.
//!
//! A golden test compares with its file, or rewrites it when `TOLLGATE_BLESS` is set. Must not know the tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Outcome;

/// What to bless.
#[derive(clap::Args)]
pub struct Options {
    /// Only this package, for instance tollgate-dialect
    #[arg(long, short)]
    package: Option<String>,
    /// Only tests whose name contains this
    test: Option<String>,
}

/// Runs the tests with `TOLLGATE_BLESS=1`, then lists the files that are different now.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    let mut tests = Command::new("cargo");
    tests.current_dir(root).env("TOLLGATE_BLESS", "1").args(["test", "--quiet", "--no-fail-fast"]);
    match &options.package {
        Some(package) => tests.args(["--package", package]),
        None => tests.arg("--workspace"),
    };
    tests.args(&options.test);
    let passed = tests.status().context("cannot run cargo")?.success();

    let mut changed = Command::new("git");
    changed.current_dir(root).args(["status", "--short", "--untracked-files=all", "--", "crates"]);
    changed.status().context("cannot run git")?;
    Ok(if passed { Outcome::Good } else { Outcome::Bad })
}
