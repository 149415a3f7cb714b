//! Documents that must keep up with the tree: the code map, and the reasons for dependencies.

use std::collections::BTreeSet;

use super::Finding;
use super::layers;
use super::repository::Repository;
use crate::features;

const CODE_MAP: &str = "ARCHITECTURE.md";
const REASONS: &str = "docs/dependencies.md";

/// The table in the section "Code map" of ARCHITECTURE.md has a row `| layer | `name` | P | ...` for each folder in
/// `crates/`, and no other; layer and purity are those that the check of layers uses.
pub(super) fn code_map_is_complete(repository: &Repository) -> Vec<Finding> {
    let Some(text) = text_of(repository, CODE_MAP) else {
        return vec![Finding::new(CODE_MAP, "is missing")];
    };
    let Some(section) = section(text, "code map") else {
        return vec![Finding::new(CODE_MAP, "has no heading with the words \"code map\"")];
    };
    let there: BTreeSet<_> = repository.files.iter().filter_map(|file| crate_folder(&file.path)).collect();
    let rows: Vec<_> = section.lines().filter_map(row).collect();
    let named: BTreeSet<_> = rows.iter().map(|row| row.folder).collect();
    let missing = there.difference(&named).map(|name| format!("its code map does not name `{name}`"));
    let unknown =
        named.difference(&there).map(|name| format!("its code map names `{name}`, which is not in crates/"));
    let wrong = rows.iter().filter_map(|row| {
        let expected = layers::of_folder(row.folder)?;
        let message =
            format!("its code map should give `{}` the layer and purity \"{expected}\"", row.folder);
        (expected != format!("{} {}", row.layer, row.purity).trim_end()).then_some(message)
    });
    missing.chain(unknown).chain(wrong).map(|message| Finding::new(CODE_MAP, message)).collect()
}

/// The README's table of what is translated is the one that the goldens make.
pub(super) fn features_are_those_of_the_goldens(repository: &Repository) -> Vec<Finding> {
    let goldens = repository.files.iter().filter_map(|file| {
        Some(features::Golden { path: file.path.strip_prefix(features::GOLDENS)?, text: &file.text })
    });
    let table = features::table(&goldens.collect::<Vec<_>>());
    let text = text_of(repository, features::TABLE).unwrap_or_default();
    match features::placed(text, &table) {
        Some(expected) if expected == text => Vec::new(),
        Some(_) => {
            vec![Finding::new(features::TABLE, "its table of features is old: `cargo xtask features`")]
        }
        None => vec![Finding::new(features::TABLE, "has no table of features")],
    }
}

/// Each direct dependency on others' code has an item "- `name`: what it replaces", and no item is left over.
pub(super) fn dependencies_are_explained(repository: &Repository) -> Vec<Finding> {
    let Some(text) = text_of(repository, REASONS) else {
        return vec![Finding::new(REASONS, "is missing")];
    };
    let all = repository.members.iter().flat_map(|member| &member.dependencies);
    let used: BTreeSet<_> = all
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    let explained: BTreeSet<_> = text.lines().filter_map(explained_by).collect();
    let missing = used.difference(&explained).map(|name| format!("does not say why we use `{name}`"));
    let left_over =
        explained.difference(&used).map(|name| format!("explains `{name}`, which no package of ours uses"));
    missing.chain(left_over).map(|message| Finding::new(REASONS, message)).collect()
}

fn text_of<'a>(repository: &'a Repository, path: &str) -> Option<&'a str> {
    repository.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
}

fn crate_folder(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split_once('/').map(|(folder, _)| folder)
}

/// The lines below the heading that has these words, up to the next heading of the same or a higher level.
fn section<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let mut begin = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let level = line.len() - line.trim_start_matches('#').len();
        match begin {
            None if level > 0 && line.to_lowercase().contains(words) => {
                begin = Some((level, at + line.len()))
            }
            Some((opened, from)) if (1..=opened).contains(&level) => return text.get(from..at),
            _ => {}
        }
        at += line.len();
    }
    begin.and_then(|(_, from)| text.get(from..))
}

/// A row of the code map.
struct Row<'a> {
    layer: &'a str,
    folder: &'a str,
    purity: &'a str,
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let (layer, folder, purity) = (cells.next()?, cells.next()?, cells.next()?);
    let folder = folder.strip_prefix('`')?.strip_suffix('`')?;
    Some(Row { layer, folder, purity })
}

fn explained_by(line: &str) -> Option<&str> {
    line.strip_prefix("- `")?.split_once("`: ").map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::repository::{Dependency, File, Member};

    fn repository(files: &[(&str, &str)]) -> Repository {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        let on = |name: &str, path: Option<&str>| Dependency {
            name: name.into(),
            path: path.map(str::to_owned),
            ..Dependency::default()
        };
        let dependencies = vec![on("bytes", None), on("tollgate-wire", Some("there"))];
        let members = vec![Member { name: "tollgate-chat".into(), dependencies }];
        Repository { files: files.iter().map(file).collect(), members, ..Repository::default() }
    }

    fn messages(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn the_code_map_must_be_exact() {
        let map = "| 9 | `z` |\n## The code map\n| 1 | `wire` | P | x |\n| - | `old` | | x |\n## Next\n| 9 | `z` | | |\n";
        let files =
            [("ARCHITECTURE.md", map), ("crates/wire/Cargo.toml", ""), ("crates/cli/src/main.rs", "")];
        let expected = [
            "its code map does not name `cli`",
            "its code map names `old`, which is not in crates/",
            "its code map should give `wire` the layer and purity \"0 P\"",
        ];
        assert_eq!(messages(code_map_is_complete(&repository(&files))), expected);
        assert_eq!(messages(code_map_is_complete(&repository(&[]))), ["is missing"]);
    }

    #[test]
    fn dependencies_must_be_explained() {
        let exact = [("docs/dependencies.md", "# A\n- `bytes`: shared slices.\n")];
        assert!(dependencies_are_explained(&repository(&exact)).is_empty());
        let wrong = [("docs/dependencies.md", "- `byte`: a\n")];
        assert_eq!(dependencies_are_explained(&repository(&wrong)).len(), 2);
    }
}
