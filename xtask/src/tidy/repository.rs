//! What the checks look at, read once: the files, our packages, and what each of them pulls in.
//!
//! The only part of tidy that runs commands. Must not judge.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::layers;

/// Everything that a check may look at.
#[derive(Default)]
pub(super) struct Repository {
    /// Files that are tracked, or new and not ignored.
    pub(super) files: Vec<File>,
    /// Our own packages.
    pub(super) members: Vec<Member>,
    /// Every package of every build of ours, for any platform, ours included.
    pub(super) locked: Vec<Locked>,
    /// For each pure crate, the names of all packages in its normal dependency tree.
    pub(super) reach: BTreeMap<String, Vec<String>>,
}

/// One text file.
#[derive(Default)]
pub(super) struct File {
    /// From the repository's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A package of this workspace.
#[derive(Deserialize, Default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// A line of a package's manifest.
#[derive(Deserialize, Default)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` is a normal dependency, else `dev` or `build`.
    pub(super) kind: Option<String>,
    /// Set for packages of this workspace.
    pub(super) path: Option<String>,
}

/// A package that a build uses.
#[derive(Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Locked {
    pub(super) name: String,
    pub(super) version: String,
    /// Empty for the registry, else a path or the address of a git repository.
    pub(super) source: String,
    /// The licence expression of its manifest; empty when it has none.
    pub(super) licence: String,
}

impl Repository {
    /// Reads the repository at `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let members = members(root)?;
        let mut reach = BTreeMap::new();
        for member in &members {
            if layers::is_pure(&member.name) {
                reach.insert(member.name.clone(), reached(root, &member.name)?);
            }
        }
        Ok(Repository { files: files(root)?, locked: locked(root)?, members, reach })
    }
}

fn files(root: &Path) -> Result<Vec<File>> {
    let listed = output(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file that is gone from the tree but not yet from the index is not there to be read; a binary is no text.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

fn members(root: &Path) -> Result<Vec<Member>> {
    let text = output(root, "cargo", &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read cargo's metadata")?;
    Ok(metadata.packages)
}

// `cargo tree` resolves features as a build does. `cargo metadata` lists packages that no build uses (it follows
// weak features such as `ring?/alloc`), so a check of it would find what is not there.
fn locked(root: &Path) -> Result<Vec<Locked>> {
    let edges = ["tree", "--workspace", "--target", "all", "--edges", "normal,build,dev"];
    let text = output(root, "cargo", &[&edges[..], &["--prefix", "none", "--format", "{p}|{l}"]].concat())?;
    let mut locked: Vec<_> = text.lines().filter_map(locked_line).collect();
    locked.sort();
    locked.dedup();
    Ok(locked)
}

fn reached(root: &Path, package: &str) -> Result<Vec<String>> {
    let edges = ["tree", "--package", package, "--target", "all", "--edges", "normal"];
    let text = output(root, "cargo", &[&edges[..], &["--prefix", "none", "--format", "{p}|{l}"]].concat())?;
    Ok(text.lines().filter_map(locked_line).map(|locked| locked.name).collect())
}

/// Reads `name v1.2.3 (proc-macro) (source)|licence`; a package seen before ends in ` (*)`.
fn locked_line(line: &str) -> Option<Locked> {
    let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split_whitespace();
    let name = words.next()?.to_owned();
    let version = words.next()?.trim_start_matches('v').to_owned();
    let source = words.find(|word| *word != "(proc-macro)" && *word != "(*)").unwrap_or_default();
    let source = source.trim_matches(['(', ')']).to_owned();
    Some(Locked { name, version, source, licence: licence.to_owned() })
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .current_dir(root)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("`{program} {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} did not print UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{Locked, locked_line};

    fn locked(name: &str, version: &str, source: &str, licence: &str) -> Option<Locked> {
        let [name, version, source, licence] = [name, version, source, licence].map(str::to_owned);
        Some(Locked { name, version, source, licence })
    }

    #[test]
    fn reads_the_lines_of_cargo_tree() {
        assert_eq!(locked_line("bytes v1.11.1|MIT"), locked("bytes", "1.11.1", "", "MIT"));
        assert_eq!(locked_line("bytes v1.11.1|MIT (*)"), locked("bytes", "1.11.1", "", "MIT"));
        assert_eq!(locked_line("paste v1.0.15 (proc-macro)|MIT"), locked("paste", "1.0.15", "", "MIT"));
        assert_eq!(locked_line("mine v0.1.0 (/there/mine)|"), locked("mine", "0.1.0", "/there/mine", ""));
        assert_eq!(locked_line(""), None);
    }
}
