//! Rules about files as such: their length, first line, name, and what they say of the machine they were made on.

use super::Finding;
use super::code::without_tests;
use super::repository::{File, Repository};

const LINES_MAX: usize = 600;

/// Words that tell nothing of what a module is.
const NOT_NOUNS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager", "stuff"];

/// Folders that are only on the machine where someone works.
const MACHINE_FOLDERS: &[&str] = &["/work/", "/root/", "/home/", "/Users/", "/tmp/bash_jobs"];

/// Registries are asked through their clients and never by name. In halves, since this file is checked as well.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.", "npmjs"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("deb.", "debian.org"),
];

/// Lock files of other package managers hold the addresses of registries; exact versions in the manifests do as well.
const LOCK_FILES: &[&str] =
    &["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock"];

fn is_rust(file: &&File) -> bool {
    file.path.ends_with(".rs")
}

/// Whether the whole file is test code.
pub(super) fn is_test(file: &File) -> bool {
    let in_tests = file.path.split('/').any(|folder| folder == "tests");
    in_tests || file.name() == "tests.rs" || file.name().ends_with("_tests.rs")
}

/// At most 600 lines without tests, but for flat tables and generated code, which say so on line 1.
pub(super) fn are_short(repository: &Repository) -> Vec<Finding> {
    let sources = repository.files.iter().filter(is_rust).filter(|file| !is_test(file));
    sources
        .filter(|file| !["//! Table:", "//! Generated:"].iter().any(|mark| file.text.starts_with(mark)))
        .filter_map(|file| {
            let lines = without_tests(&file.text).lines().count();
            let message = format!(
                "has {lines} lines without its tests, at most {LINES_MAX}: cut it where it has two subjects"
            );
            (lines > LINES_MAX).then(|| Finding::new(&file.path, message))
        })
        .collect()
}

/// Every source file begins with what it is for.
pub(super) fn say_what_they_are_for(repository: &Repository) -> Vec<Finding> {
    let sources = repository.files.iter().filter(is_rust);
    sources
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            Finding::new(&file.path, "must begin with `//!`: what it is for, and what it must not know")
        })
        .collect()
}

/// No module is named after nothing.
pub(super) fn have_nouns_for_names(repository: &Repository) -> Vec<Finding> {
    let sources = repository.files.iter().filter(is_rust);
    let mut findings = Vec::new();
    for file in sources {
        let path = file.path.trim_end_matches(".rs");
        for part in path.split('/').filter(|part| NOT_NOUNS.contains(part)) {
            findings.push(Finding::new(&file.path, format!("\"{part}\" says nothing: name what is in it")));
        }
        for line in file.text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let [.., "mod", name, "{"] = words.as_slice()
                && NOT_NOUNS.contains(name)
            {
                let message = format!("module \"{name}\" says nothing: name what is in it");
                findings.push(Finding::new(&file.path, message));
            }
        }
    }
    findings
}

/// Nothing tells where it was made: no absolute path of a machine, no host of a registry.
pub(super) fn name_no_machine(repository: &Repository) -> Vec<Finding> {
    // Cargo's lock file names the registry's index by its address, and has to be committed.
    let files = repository.files.iter().filter(|file| file.name() != "Cargo.lock" && !is_this(file));
    files.flat_map(|file| file.text.lines().filter_map(|line| machine_in(line, &file.path))).collect()
}

fn is_this(file: &File) -> bool {
    file.path == "xtask/src/tidy/files.rs"
}

fn machine_in(line: &str, path: &str) -> Option<Finding> {
    if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
        return Some(Finding::new(path, format!("names the registry host {host}")));
    }
    let folder = MACHINE_FOLDERS.iter().find(|folder| begins_a_path(line, folder))?;
    Some(Finding::new(path, format!("names {folder}, a folder of one machine: {}", line.trim())))
}

/// Whether the folder stands in the line as the beginning of a path, not in the middle of one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-}~".contains(letter))
    })
}

/// Only cargo's lock file is committed.
pub(super) fn lock_only_with_cargo(repository: &Repository) -> Vec<Finding> {
    let files = repository.files.iter().filter(|file| LOCK_FILES.contains(&file.name()));
    files.map(|file| Finding::new(&file.path, "is not committed: it holds addresses of registries")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> Repository {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Repository { files: files.iter().map(file).collect(), ..Repository::default() }
    }

    fn places(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn long_files_are_found_unless_tests_or_tables_make_them_so() {
        let long = "//! A.\n".to_owned() + &"x\n".repeat(600);
        let table = "//! Table: a.\n".to_owned() + &"x\n".repeat(600);
        let tests = "//! A.\n#[cfg(test)]\n".to_owned() + &"x\n".repeat(600);
        let files = [
            ("a.rs", &*long),
            ("b.rs", &*table),
            ("c.rs", &*tests),
            ("tests/d.rs", &*long),
            ("e.md", &*long),
        ];
        assert_eq!(places(are_short(&repository(&files))), ["a.rs"]);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        let files = [("a.rs", "//! A.\n"), ("b.rs", "// B.\n"), ("c.rs", ""), ("d.py", "")];
        assert_eq!(places(say_what_they_are_for(&repository(&files))), ["b.rs", "c.rs"]);
    }

    #[test]
    fn modules_named_after_nothing_are_found() {
        let files =
            [("a/utils.rs", ""), ("common/b.rs", ""), ("c.rs", "pub mod misc {"), ("utilised.rs", "mod d;")];
        assert_eq!(places(have_nouns_for_names(&repository(&files))), ["a/utils.rs", "common/b.rs", "c.rs"]);
    }

    #[test]
    fn machines_are_found_and_addresses_are_not() {
        let files = [
            ("a", "see /root/x"),
            ("b", concat!("from https://pypi", ".org/simple")),
            ("c", "https://example.com/home/page and frame/work/x"),
            ("Cargo.lock", concat!("index.crates", ".io")),
        ];
        assert_eq!(places(name_no_machine(&repository(&files))), ["a", "b"]);
    }

    #[test]
    fn foreign_lock_files_are_found() {
        let files = [("e2e/package-lock.json", "{}"), ("Cargo.lock", "")];
        assert_eq!(places(lock_only_with_cargo(&repository(&files))), ["e2e/package-lock.json"]);
    }
}
