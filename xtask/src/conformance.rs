//! `cargo xtask conformance DIR`: the binary against cases and recorded exchanges that others wrote down.
//!
//! The folder has `gateway.yaml`, the resources; `cases.json`, requests with what the provider must see and what the client must get; and
//! `recorded/*.yaml`, exchanges with a real provider. Its data stays out of this repository. Must not know any case: where ours differs
//! on purpose, `docs/differences.md` says so.

mod aws;
mod cases;
mod compare;
mod differences;
mod fold;
mod gateway;
mod http;
mod provider;
mod recorded;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{Outcome, release};
use differences::Differences;
use gateway::Gateway;
use provider::Provider;

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Folder with gateway.yaml, cases.json and recorded/
    folder: PathBuf,
    /// Only cases and exchanges whose name has this in it
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only this data plane: embedded or envoy
    #[arg(long, value_name = "PLANE")]
    data_plane: Option<DataPlane>,
}

/// What is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DataPlane {
    Embedded,
    Envoy,
}

/// What became of one case.
enum Verdict {
    Passed,
    /// It differs, in a way that `docs/differences.md` explains.
    Documented,
    /// It needs a provider that is not served yet.
    NotYet(String),
    /// What is wrong, a line each.
    Failed(Vec<String>),
}

/// Runs all and prints what failed, what is not served yet, and the totals.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    release::build(root)?;
    let differences = Differences::read(&root.join("docs/differences.md"))?;
    let mut outcome = Outcome::Good;
    for plane in [DataPlane::Embedded, DataPlane::Envoy] {
        if options.data_plane.is_none_or(|only| only == plane) {
            println!("\n=== {plane:?} data plane");
            let tally = run_on(root, options, plane, &differences)?;
            if tally.failed > 0 {
                outcome = Outcome::Bad;
            }
            println!("\n{tally}");
        }
    }
    Ok(outcome)
}

fn run_on(root: &Path, options: &Options, plane: DataPlane, differences: &Differences) -> Result<Tally> {
    let provider = Provider::start()?;
    let gateway = Gateway::start(root, &options.folder, &provider, plane)?;
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut tally = Tally::default();
    for case in cases::read(&options.folder.join("cases.json"))? {
        if wanted(&case.name) {
            let verdict = case.run(&gateway, &provider);
            tally.add(&case.name, differences.judge(&case.name, verdict));
        }
    }
    for exchange in recorded::read(&options.folder.join("recorded"))? {
        if wanted(&exchange.name) {
            let verdict = exchange.run(&gateway, &provider);
            tally.add(&exchange.name, differences.judge(&exchange.name, verdict));
        }
    }
    if tally.total() == 0 {
        bail!("nothing to run in {}", options.folder.display());
    }
    Ok(tally)
}

#[derive(Default)]
struct Tally {
    passed: usize,
    documented: usize,
    not_yet: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Documented => {
                self.documented += 1;
                println!("differs  {name}, as documented");
            }
            Verdict::NotYet(need) => {
                self.not_yet += 1;
                println!("not yet  {name}: needs {need}");
            }
            Verdict::Failed(lines) => {
                self.failed += 1;
                println!("FAILED   {name}");
                lines.iter().for_each(|line| println!("         {line}"));
            }
        }
    }

    fn total(&self) -> usize {
        self.passed + self.documented + self.not_yet + self.failed
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, documented, not_yet, failed } = self;
        write!(f, "{passed} passed, {failed} failed, {documented} differ as documented, {not_yet} not yet")
    }
}
