//! `cargo xtask crds`: writes the custom resource definitions, one file each.
//!
//! `tollgate crds` prints them all; this only cuts its output into files. Must not know their content.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Outcome;

/// Where they go.
#[derive(clap::Args)]
pub struct Options {
    /// The folder to write to
    #[arg(default_value = "target/crds")]
    folder: PathBuf,
}

/// Writes `GROUP_PLURAL.yaml` for each definition that the binary prints.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    let folder = root.join(&options.folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let printed = Command::new("cargo")
        .current_dir(root)
        .args(["run", "--quiet", "--package", "tollgate-cli", "--", "crds"])
        .output()
        .context("cannot run cargo")?;
    if !printed.status.success() {
        bail!("`tollgate crds` failed: {}", String::from_utf8_lossy(&printed.stderr));
    }
    let printed = String::from_utf8(printed.stdout).context("`tollgate crds` did not print UTF-8")?;
    for definition in definitions(&printed) {
        let path = folder.join(format!("{}.yaml", definition.file_stem));
        std::fs::write(&path, definition.text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(Outcome::Good)
}

struct Definition<'a> {
    file_stem: String,
    text: &'a str,
}

/// Cuts a YAML stream at its `---` lines and names each document after its `metadata.name`, `PLURAL.GROUP`.
fn definitions(stream: &str) -> Vec<Definition<'_>> {
    documents(stream)
        .into_iter()
        .filter_map(|text| {
            let name = text.lines().find_map(|line| line.strip_prefix("  name: "))?.trim();
            let (plural, group) = name.split_once('.')?;
            Some(Definition { file_stem: format!("{group}_{plural}"), text })
        })
        .collect()
}

fn documents(stream: &str) -> Vec<&str> {
    let stream = stream.strip_prefix("---\n").unwrap_or(stream);
    stream.split("\n---\n").collect()
}

#[cfg(test)]
mod tests {
    use super::definitions;

    #[test]
    fn names_each_document_after_its_group_and_plural() {
        let stream = "---\nkind: CustomResourceDefinition\nmetadata:\n  name: as.x.io\n---\nmetadata:\n  name: bs.y.io\n";
        let stems: Vec<_> = definitions(stream).into_iter().map(|definition| definition.file_stem).collect();
        assert_eq!(stems, ["x.io_as", "y.io_bs"]);
    }
}
