//! `cargo xtask release`: the gateway as it is released, its code laid out by what runs under load.
//!
//! The compiler does not know which code a request runs. Here a build that counts is put under load, and BOLT places what was run side by side and
//! the rest behind it, so that a request touches half as much memory. docs/decisions/0014-laid-out-by-a-profile.md has why and how.

mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};

use crate::command::{self, said};
use crate::{Outcome, debian};

/// The released gateway, from the root.
pub(crate) const GATEWAY: &str = "target/dist/tollgate";

/// What cargo builds, which is the same but for its layout.
const BUILT: &str = "target/release/tollgate";

/// Tells the gateway's build script that code will be moved after the link.
const RELOCATIONS: (&str, &str) = ("TOLLGATE_RELOCATIONS", "kept");

/// Debian's package of BOLT, and its programs by the paths beside which they look for what they link.
const PACKAGE: &str = "bolt-19";
const BOLT: &str = "/usr/lib/llvm-19/bin/llvm-bolt";
const MERGE: &str = "/usr/lib/llvm-19/bin/merge-fdata";

/// Blocks of a function in the order in which they run, functions beside those that they call, and what never ran apart. Only what ran is written anew,
/// and all other code stays where it was. So does cryptography, whether it ran or not: it is written by hand, and has crashed on some machines when it was moved.
const LAYOUT: [&str; 8] = [
    "-reorder-blocks=ext-tsp",
    "-reorder-functions=cdsort",
    "-split-functions",
    "-split-all-cold",
    "-split-eh",
    "-icf=1",
    "-lite=1",
    "-skip-funcs=.*aws_lc.*,bn_.*,sha256_block_data_order",
];

/// Builds it, and says where it is.
pub fn run(root: &Path) -> Result<Outcome> {
    build(root)?;
    println!("{GATEWAY} is ready");
    Ok(Outcome::Good)
}

/// Builds the gateway and the stand-ins of tests and measures, and lays the gateway out, unless this very build is laid out already.
pub(crate) fn build(root: &Path) -> Result<()> {
    cargo(root, &["--package", "tollgate-cli", "--package", "tollgate-testkit"])?;
    let stamp = root.join("target/dist/laid-out.txt");
    let built = mark(&root.join(BUILT))?;
    if root.join(GATEWAY).is_file() && fs::read_to_string(&stamp).is_ok_and(|laid_out| laid_out == built) {
        println!("{GATEWAY} is up to date");
        return Ok(());
    }
    lay_out(root)?;
    fs::write(&stamp, built).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Builds packages as the gateway is built.
pub(crate) fn cargo(root: &Path, packages: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(["build", "--release"]).args(packages).env(RELOCATIONS.0, RELOCATIONS.1);
    let status = cargo.status().context("cannot start cargo")?;
    if status.success() { Ok(()) } else { bail!("cargo does not build {packages:?}") }
}

/// What tells one build from another: its size, and when it was linked.
fn mark(program: &Path) -> Result<String> {
    let about = fs::metadata(program).with_context(|| format!("cannot see {}", program.display()))?;
    Ok(format!("{} {}", about.len(), about.modified()?.duration_since(UNIX_EPOCH)?.as_nanos()))
}

fn lay_out(root: &Path) -> Result<()> {
    let has_bolt = || debian::has(BOLT) && debian::has(MERGE);
    let run = |program: &str, arguments: &[&str]| command::run(root, program, arguments);
    debian::install(PACKAGE, has_bolt, run).context("the layout of the gateway needs BOLT")?;
    let work = root.join("target/dist/work");
    // Profiles of another build would be taken for this one's.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let (built, counting, gateway) = (root.join(BUILT), work.join("counting"), root.join(GATEWAY));
    let (built, gateway) = (text(&built)?, text(&gateway)?);
    let counts = format!("--instrumentation-file={}", text(&work.join("counts"))?);
    // A file for each process, told from others by its id.
    let counted = ["-instrument", &counts, "--instrumentation-file-append-pid"];
    said(BOLT, &[&[built, "-o", text(&counting)?][..], &counted].concat())?;
    training::run(root, &counting, &work)?;
    let all = work.join("all.fdata");
    let counts = profiles(&work)?;
    let counts = counts.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
    said(MERGE, &[&["-o", text(&all)?][..], &counts].concat())?;
    let data = format!("-data={}", text(&all)?);
    let report = said(BOLT, &[&[built, "-o", gateway, &data, "-dyno-stats"][..], &LAYOUT].concat())?;
    // Those of all code, before it is laid out and after.
    report
        .lines()
        .filter(|line| line.contains(" : taken branches"))
        .for_each(|line| println!("{}", line.trim()));
    // It is not stripped: what BOLT has placed, other programs that write ELF files move.
    said(gateway, &["--version"])?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// What the processes of the training have counted.
fn profiles(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let profiles: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "fdata")).collect();
    if profiles.len() < training::PROCESSES {
        bail!("{} of {} processes have told what they ran", profiles.len(), training::PROCESSES);
    }
    Ok(profiles)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
