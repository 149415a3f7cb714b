//! `tollgate bound`: becomes another program that ends with the one that started it, however that ends.
//!
//! For Envoy as a child: one that is left behind goes on to take connections, and has no processor any more.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

/// `tollgate bound`.
#[derive(Debug, clap::Args)]
pub(crate) struct BoundArguments {
    /// The program
    program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Becomes the program.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(arguments: &BoundArguments) -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be bound to its parent")?;
    // Returns only when it fails.
    let error = Command::new(&arguments.program).args(&arguments.arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", arguments.program.display()))
}
