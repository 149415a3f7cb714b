//! `cargo xtask`: what one does to this repository, a subcommand each.
//!
//! Knows how the repository is laid out; must not know what the gateway does.

mod bench;
mod bless;
mod command;
mod conformance;
mod crds;
mod debian;
mod envoy;
mod features;
mod machine;
mod release;
mod soak;
mod test;
mod tidy;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The tasks of this repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check and every test, from formatting to real clients
    Test(test::Options),
    /// Check the rules of the tree that the compiler cannot: layers, purity, sizes, names, licences
    Tidy,
    /// Rewrite the golden files from what the code does now; review the diff
    Bless(bless::Options),
    /// Build the gateway as it is released, laid out by what runs under load: target/dist/tollgate
    Release,
    /// Measure the gateway beside a pass-through Envoy, and write docs/performance.md
    Bench(bench::Options),
    /// Run the cases and recorded exchanges of a folder through the binary
    Conformance(conformance::Options),
    /// Kill gateways under load for as often as is said, and compare what clients got with what is recorded
    Soak(soak::Options),
    /// Write the README's table of what is translated, from the goldens
    Features,
    /// Write the custom resource definitions, generated from the types, to a folder
    Crds(crds::Options),
}

/// Whether a task found what it wanted.
enum Outcome {
    Good,
    Bad,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<Outcome> {
    let root = root()?;
    match task {
        Task::Test(options) => test::run(&root, &options),
        Task::Tidy => tidy::run(&root),
        Task::Bless(options) => bless::run(&root, &options),
        Task::Release => release::run(&root),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Conformance(options) => conformance::run(&root, &options),
        Task::Soak(options) => soak::run(&root, &options),
        Task::Features => features::run(&root),
        Task::Crds(options) => crds::run(&root, &options),
    }
}

/// The top folder of the repository, found from where cargo says this package is.
fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("start the tasks with `cargo xtask`")?;
    let package = PathBuf::from(package);
    Ok(package.parent().context("the tasks' package has no parent folder")?.to_path_buf())
}
