//! Documents that must keep up with the tree: the code map, and the reasons for dependencies.

use std::collections::BTreeSet;

use super::Finding;
use super::repository::Repository;

const CODE_MAP: &str = "ARCHITECTURE.md";
const REASONS: &str = "docs/dependencies.md";

/// The section "Code map" of ARCHITECTURE.md names `crates/NAME` for each folder in `crates/`, and no other.
pub(super) fn code_map_is_complete(repository: &Repository) -> Vec<Finding> {
    let Some(text) = text_of(repository, CODE_MAP) else {
        return vec![Finding::new(CODE_MAP, "is missing")];
    };
    let Some(section) = section(text, "code map") else {
        return vec![Finding::new(CODE_MAP, "has no heading with the words \"code map\"")];
    };
    let there: BTreeSet<_> = repository.files.iter().filter_map(|file| crate_folder(&file.path)).collect();
    let named = named_folders(section);
    let missing = there.difference(&named).map(|name| format!("its code map does not name crates/{name}"));
    let unknown =
        named.difference(&there).map(|name| format!("its code map names crates/{name}, which is not there"));
    missing.chain(unknown).map(|message| Finding::new(CODE_MAP, message)).collect()
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

fn named_folders(section: &str) -> BTreeSet<&str> {
    let names = section.split("crates/").skip(1);
    let end = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    names.filter_map(|rest| rest.split(end).next()).filter(|name| !name.is_empty()).collect()
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
        let map =
            "crates/gone\n## The code map\n| `crates/a` | x |\n| `crates/old` | x |\n## Next\ncrates/z\n";
        let files = [("ARCHITECTURE.md", map), ("crates/a/Cargo.toml", ""), ("crates/b/src/lib.rs", "")];
        assert_eq!(
            messages(code_map_is_complete(&repository(&files))),
            ["its code map does not name crates/b", "its code map names crates/old, which is not there"]
        );
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
