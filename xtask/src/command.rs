//! Programs that are run to their end, for whoever has no way of their own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a program in `root`, where a path is meant from; what it says is shown.
pub(crate) fn run(root: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let path = if program.contains('/') { root.join(program) } else { program.into() };
    let status = Command::new(path).args(arguments).current_dir(root).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    if status.success() { Ok(()) } else { bail!("{program} {arguments:?} has failed: {status}") }
}

/// Runs a program for what it says.
pub(crate) fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { bail!("{program} {arguments:?} has failed: {text}") }
}
