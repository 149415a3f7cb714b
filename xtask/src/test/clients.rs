//! The steps with real clients: what they need is installed under `target/e2e`, then they run against the binary.
//!
//! Versions are pinned in `e2e/`. Must not know what the clients test.

use std::path::Path;

use anyhow::{Context, Result};

use super::bounded::Bounded;

const PINS_PYTHON: &str = "e2e/python/requirements.txt";
const PINS_NODE: &str = "e2e/node/package.json";
const VENV: &str = "target/e2e/venv";
const NPM: &str = "target/e2e/npm";

/// Installs the clients, unless these very versions are there already.
pub(super) fn install(bounded: &mut Bounded) -> Result<()> {
    install_python(bounded).context("the Python clients")?;
    install_node(bounded).context("the Node clients")
}

fn install_python(bounded: &mut Bounded) -> Result<()> {
    let stamp = format!("{VENV}/installed.txt");
    if same(bounded.root(), PINS_PYTHON, &stamp) {
        println!("{VENV} is up to date");
        return Ok(());
    }
    bounded.run("python3", &["-m", "venv", "--clear", VENV])?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", PINS_PYTHON];
    bounded.run(&format!("{VENV}/bin/python"), &pip)?;
    copy(bounded.root(), PINS_PYTHON, &stamp)
}

fn install_node(bounded: &mut Bounded) -> Result<()> {
    let stamp = format!("{NPM}/installed.json");
    if same(bounded.root(), PINS_NODE, &stamp) {
        println!("{NPM} is up to date");
        return Ok(());
    }
    copy(bounded.root(), PINS_NODE, &format!("{NPM}/package.json"))?;
    let quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    bounded.run("npm", &[&["install", "--prefix", NPM][..], &quiet].concat())?;
    copy(bounded.root(), PINS_NODE, &stamp)
}

/// Judges the goldens of translation by the providers' own packages.
pub(super) fn judge(bounded: &mut Bounded) -> Result<()> {
    let pytest = ["-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "e2e/judge"];
    bounded.run(&format!("{VENV}/bin/python"), &pytest)
}

/// Runs the Python tests.
pub(super) fn python(bounded: &mut Bounded) -> Result<()> {
    let pytest = ["-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "e2e/python"];
    bounded.run(&format!("{VENV}/bin/python"), &pytest)
}

/// Runs the Node tests, from a copy beside `node_modules`: Node looks for packages above the file that imports them.
pub(super) fn node(bounded: &mut Bounded) -> Result<()> {
    let tests = format!("{NPM}/tests");
    let to = bounded.root().join(&tests);
    if to.exists() {
        std::fs::remove_dir_all(&to).with_context(|| format!("cannot empty {tests}"))?;
    }
    for file in std::fs::read_dir(bounded.root().join("e2e/node")).context("cannot list e2e/node")? {
        let name = file.context("cannot list e2e/node")?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".mjs") {
            copy(bounded.root(), &format!("e2e/node/{name}"), &format!("{tests}/{name}"))?;
        }
    }
    // One file after the other: each starts its own gateway, and there are two cores.
    bounded.run("node", &["--test", "--test-reporter=spec", "--test-concurrency=1", &format!("{tests}/")])
}

fn same(root: &Path, one: &str, other: &str) -> bool {
    let read = |path| std::fs::read(root.join(path)).ok();
    read(one).is_some() && read(one) == read(other)
}

fn copy(root: &Path, from: &str, to: &str) -> Result<()> {
    let target = root.join(to);
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::copy(root.join(from), &target).with_context(|| format!("cannot copy {from} to {to}"))?;
    Ok(())
}
