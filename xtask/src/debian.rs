//! Programs that Debian's packages bring, for whoever measures or tests with them.
//!
//! Must not know what they are for.

use std::process::Command;

use anyhow::{Result, bail};

/// Installs `package` and says so, unless `is_there`; `run` runs a program with arguments. Only root may install.
pub(crate) fn install(
    package: &str,
    is_there: impl Fn() -> bool,
    mut run: impl FnMut(&str, &[&str]) -> Result<()>,
) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    if !is_root() {
        bail!("Debian's package {package} has to be installed");
    }
    println!("installing Debian's package {package}");
    run("apt-get", &["update", "--quiet"])?;
    run("apt-get", &["install", "--yes", "--quiet", "--no-install-recommends", package])?;
    if is_there() { Ok(()) } else { bail!("Debian's package {package} has not brought what it should") }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n")
}

/// Whether a program can be started.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|said| said.status.success())
}
