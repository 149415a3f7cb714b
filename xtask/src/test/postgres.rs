//! The step with a real PostgreSQL server, which the system's packages install where it is missing.
//!
//! Must not know what is tested with it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::bounded::Bounded;
use crate::debian;

/// Debian's package of it, and where that puts the programs.
const PACKAGE: &str = "postgresql";
const DEBIAN: &str = "/usr/lib/postgresql";

/// Runs the tests that start a server of their own.
pub(super) fn test(bounded: &mut Bounded) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| bounded.run(program, arguments);
    debian::install(PACKAGE, is_there, run)
        .context("the tests with PostgreSQL need its server: `initdb` and `postgres`")?;
    let tests =
        ["test", "--package", "tollgate-ledger", "--features", "postgres-tests", "--test", "postgres"];
    bounded.run("cargo", &tests)
}

/// Whether it is where the tests look for it.
fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let folders = std::env::split_paths(&path).chain(versions.map(|version| version.path().join("bin")));
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.retain(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    !folders.is_empty()
}
