//! Rules about other people's code: where it comes from, its licence, and what we do not take. Needs no network.
//!
//! `deny.toml` says the same to `cargo deny`, which adds the advisories of the day.

use super::Finding;
use super::licence::is_satisfied;
use super::repository::{Locked, Repository};
use super::version::numbers;

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Package, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "rustls is our one TLS"),
    ("openssl-sys", "rustls is our one TLS"),
    ("native-tls", "rustls is our one TLS"),
    ("boring", "rustls is our one TLS"),
    ("ring", "aws-lc-rs is our one provider of cryptography; two of them make rustls choose at random"),
    ("serde_yml", "unsound and unmaintained: saphyr reads YAML"),
    ("serde_yaml", "unmaintained: saphyr reads YAML"),
    ("yaml-rust", "unmaintained: saphyr reads YAML"),
    ("rustls-pemfile", "unmaintained: rustls-pki-types reads PEM"),
    ("atty", "unsound: the standard library has IsTerminal"),
];

/// Oldest versions without a known hole, from the RustSec advisories of 2026-08.
const MINIMUM: &[(&str, &str)] = &[
    ("anyhow", "1.0.103"),
    ("aws-lc-sys", "0.39.0"),
    ("bytes", "1.11.1"),
    ("crossbeam-channel", "0.5.15"),
    ("h2", "0.4.16"),
    ("hickory-proto", "0.26.1"),
    ("lru", "0.18.2"),
    ("lz4_flex", "0.12.1"),
    ("protobuf", "3.7.2"),
    ("quinn-proto", "0.11.15"),
    ("rustls", "0.23.18"),
    ("rustls-webpki", "0.103.13"),
    ("slab", "0.4.11"),
    ("time", "0.3.47"),
    ("tokio", "1.44.2"),
    ("tonic", "0.12.3"),
    ("tracing-subscriber", "0.3.20"),
];

/// Versions that must not be used though later than the last good one.
const WITHDRAWN: &[(&str, &str)] =
    &[("arrayref", "0.3.10"), ("append-only-vec", "0.1.9"), ("internment", "0.8.7")];

fn place(package: &Locked) -> String {
    format!("{} {}", package.name, package.version)
}

fn is_ours(package: &Locked) -> bool {
    package.name == "xtask" || package.name.starts_with("tollgate-")
}

/// Code comes from the registry alone, where a version stays what it was.
pub(super) fn come_from_the_registry(repository: &Repository) -> Vec<Finding> {
    let foreign = repository.locked.iter().filter(|package| !is_ours(package));
    foreign
        .filter(|package| !package.source.is_empty())
        .map(|package| {
            Finding::new(place(package), format!("comes from {}, not from the registry", package.source))
        })
        .collect()
}

/// Every package can be used under a licence that goes with ours.
pub(super) fn are_licensed_to_us(repository: &Repository) -> Vec<Finding> {
    let unlicensed = repository.locked.iter().filter(|package| !is_satisfied(&package.licence, LICENCES));
    unlicensed
        .map(|package| {
            Finding::new(
                place(package),
                format!("has the licence \"{}\", which we do not take", package.licence),
            )
        })
        .collect()
}

/// Nothing that we decided against, not even below something else.
pub(super) fn are_not_banned(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &repository.locked {
        for (_, instead) in BANNED.iter().filter(|(name, _)| *name == package.name) {
            let message = format!("is banned ({instead}); see `cargo tree --workspace -i {}`", package.name);
            findings.push(Finding::new(place(package), message));
        }
    }
    findings
}

/// Nothing older than the repair of a known hole.
pub(super) fn are_new_enough(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &repository.locked {
        for (_, least) in MINIMUM.iter().filter(|(name, _)| *name == package.name) {
            if numbers(&package.version) < numbers(least) {
                findings.push(Finding::new(place(package), format!("has a known hole: at least {least}")));
            }
        }
        if WITHDRAWN.contains(&(&package.name, &package.version)) {
            findings.push(Finding::new(place(package), "must not be used"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, version: &str, source: &str, licence: &str) -> Repository {
        let [name, version, source, licence] = [name, version, source, licence].map(str::to_owned);
        Repository { locked: vec![Locked { name, version, source, licence }], ..Repository::default() }
    }

    #[test]
    fn foreign_sources_are_found_and_our_own_folders_are_not() {
        assert_eq!(come_from_the_registry(&with("tollgate-wire", "0.1.0", "/there", "Apache-2.0")), []);
        assert_eq!(come_from_the_registry(&with("bytes", "1.11.1", "", "MIT")), []);
        assert_eq!(come_from_the_registry(&with("bytes", "1.11.1", "https://example.com/b", "MIT")).len(), 1);
    }

    #[test]
    fn licences_bans_and_holes_are_found() {
        assert_eq!(are_licensed_to_us(&with("a", "1.0.0", "", "GPL-3.0-only")).len(), 1);
        assert_eq!(are_licensed_to_us(&with("a", "1.0.0", "", "")).len(), 1);
        assert_eq!(are_not_banned(&with("ring", "0.17.0", "", "ISC")).len(), 1);
        assert_eq!(are_new_enough(&with("h2", "0.4.15", "", "MIT")).len(), 1);
        assert_eq!(are_new_enough(&with("h2", "0.4.16", "", "MIT")), []);
        assert_eq!(are_new_enough(&with("arrayref", "0.3.10", "", "MIT")).len(), 1);
    }
}
