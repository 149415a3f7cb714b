//! A Redis for the tests of shared counters: Debian's, which is installed if there is none.
//!
//! Must not know what it is for.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::bounded::Bounded;

/// The oldest version that can be broken as the tests of counters do. The gateway itself makes do with 6.
const MAJOR_MIN: u32 = 7;

/// Sees to it that `redis-server` can be started.
pub(super) fn install(bounded: &mut Bounded) -> Result<()> {
    if major().is_none() {
        let administrator = Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n");
        if !administrator {
            bail!("the tests need the program redis-server: install Debian's package of that name");
        }
        bounded.run("apt-get", &["install", "--yes", "--no-install-recommends", "redis-server"])?;
    }
    let major = major().context("redis-server does not tell its version")?;
    if major < MAJOR_MIN {
        bail!("the tests need redis-server {MAJOR_MIN} or newer, and here is {major}");
    }
    Ok(())
}

/// The first number of its version.
fn major() -> Option<u32> {
    let said = Command::new("redis-server").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_once("v=")?.1.split('.').next()?.parse().ok()
}
