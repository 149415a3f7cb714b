//! The layers: a crate depends only on lower ones, and the pure ones reach nothing that acts.
//!
//! The table here is the one of ARCHITECTURE.md. Must not look into sources.

use super::Finding;
use super::repository::{Member, Repository};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purity {
    Pure,
    Edge,
}
use Purity::{Edge, Pure};

/// Folder in `crates/`, layer, purity. A crate depends only on crates of a strictly lower layer.
const LAYERS: &[(&str, u8, Purity)] = &[
    ("terms", 0, Pure),
    ("wire", 0, Pure),
    ("envoy", 0, Edge),
    ("mapped", 0, Edge),
    ("chat", 1, Pure),
    ("manifest", 1, Pure),
    ("dialect", 2, Pure),
    ("host", 3, Pure),
    ("config", 4, Pure),
    ("policy", 5, Pure),
    ("exchange", 6, Pure),
    ("plan", 6, Pure),
    ("effects", 7, Edge),
    ("ledger", 7, Edge),
    ("telemetry", 7, Edge),
    ("picker", 7, Edge),
    ("xds", 7, Edge),
    ("proxy", 8, Edge),
    ("extproc", 8, Edge),
    ("ratelimit", 8, Edge),
    ("controller", 8, Edge),
    ("fleet", 9, Edge),
    ("cli", 10, Edge),
];

/// Stands beside the layers: depends on none of our crates but Envoy's definitions; any crate may test with it, and the demo serves with
/// it.
const TESTKIT: &str = "tollgate-testkit";
const DEMO: &str = "tollgate-cli";

/// Packages that build or test the others and are no part of the gateway.
const TOOLS: &[&str] = &["xtask", "tollgate-fuzz", "tollgate-suite"];

/// What runs, draws lots, waits or opens; none of it may be in a pure crate's normal dependency tree.
const IMPURE: &[&str] =
    &["tokio", "hyper", "hyper-util", "reqwest", "rand", "mio", "socket2", "notify", "async-std", "smol"];

fn row(package: &str) -> Option<&'static (&'static str, u8, Purity)> {
    let folder = package.strip_prefix("tollgate-")?;
    LAYERS.iter().find(|row| row.0 == folder)
}

/// Layer and purity of a folder in `crates/` as the code map shows them: `0 P`, `9`, `-`.
pub(super) fn of_folder(folder: &str) -> Option<String> {
    if folder == "testkit" {
        return Some("-".to_owned());
    }
    let row = LAYERS.iter().find(|row| row.0 == folder)?;
    Some(if row.2 == Pure { format!("{} P", row.1) } else { row.1.to_string() })
}

/// Whether this package must reach nothing that acts.
pub(super) fn is_pure(package: &str) -> bool {
    row(package).is_some_and(|row| row.2 == Pure)
}

/// Each crate is in the table and depends only on strictly lower ones.
pub(super) fn depend_downwards(repository: &Repository) -> Vec<Finding> {
    repository.members.iter().flat_map(member_findings).collect()
}

fn member_findings(member: &Member) -> Vec<Finding> {
    if TOOLS.contains(&member.name.as_str()) {
        return Vec::new();
    }
    let own = row(&member.name).map(|row| row.1);
    if own.is_none() && member.name != TESTKIT {
        return vec![Finding::new(
            &member.name,
            "has no layer: add it to the table in xtask/src/tidy/layers.rs",
        )];
    }
    let ours = member.dependencies.iter().filter(|dependency| dependency.path.is_some());
    ours.filter_map(|dependency| {
        let for_tests = dependency.kind.as_deref() == Some("dev");
        let why = edge(&member.name, own, &dependency.name, for_tests).err()?;
        Some(Finding::new(&member.name, format!("must not depend on {}: {why}", dependency.name)))
    })
    .collect()
}

/// `own` is the layer of `from`, `None` for testkit.
fn edge(from: &str, own: Option<u8>, to: &str, for_tests: bool) -> Result<(), String> {
    if to == TESTKIT {
        return if for_tests || from == DEMO {
            Ok(())
        } else {
            Err("it serves tests and the demo only".into())
        };
    }
    // Envoy's definitions are not ours.
    if own.is_none() && to == "tollgate-envoy" {
        return Ok(());
    }
    let Some(own) = own else {
        return Err("testkit stands alone, so that it cannot repeat our mistakes".into());
    };
    let Some(other) = row(to).map(|row| row.1) else {
        return Err("it has no layer".into());
    };
    if other < own { Ok(()) } else { Err(format!("layer {own} must not see layer {other}")) }
}

/// No pure crate has a runtime, a socket, a clock or dice in its normal dependency tree.
pub(super) fn pure_crates_reach_nothing(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (package, reached) in &repository.reach {
        for name in IMPURE.iter().filter(|name| reached.iter().any(|reached| reached == *name)) {
            let message =
                format!("is pure but reaches {name}; see `cargo tree -p {package} -e normal -i {name}`");
            findings.push(Finding::new(package, message));
        }
    }
    findings
}

/// Each crate opts in to the lints of the workspace: cargo does not do it by itself.
pub(super) fn crates_inherit_lints(repository: &Repository) -> Vec<Finding> {
    let manifests = repository
        .files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.name() == "Cargo.toml");
    manifests
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| Finding::new(&file.path, "lacks `[lints] workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::repository::{Dependency, File};

    fn member(name: &str, on: &str, kind: Option<&str>) -> Repository {
        let kind = kind.map(str::to_owned);
        let dependency = Dependency { name: on.into(), kind, path: Some("there".into()) };
        let member = Member { name: name.into(), dependencies: vec![dependency] };
        Repository { members: vec![member], ..Repository::default() }
    }

    #[test]
    fn a_lower_layer_may_be_used() {
        assert_eq!(depend_downwards(&member("tollgate-proxy", "tollgate-telemetry", None)), []);
        assert_eq!(depend_downwards(&member("tollgate-proxy", "tollgate-testkit", Some("dev"))), []);
        assert_eq!(depend_downwards(&member("tollgate-cli", "tollgate-testkit", None)), []);
        assert_eq!(depend_downwards(&member("tollgate-fuzz", "tollgate-wire", None)), []);
    }

    #[test]
    fn the_same_or_a_higher_layer_may_not() {
        for kind in [None, Some("dev"), Some("build")] {
            assert_eq!(depend_downwards(&member("tollgate-wire", "tollgate-terms", kind)).len(), 1);
        }
        assert_eq!(depend_downwards(&member("tollgate-policy", "tollgate-plan", None)).len(), 1);
        assert_eq!(depend_downwards(&member("tollgate-proxy", "tollgate-testkit", None)).len(), 1);
        assert_eq!(depend_downwards(&member("tollgate-testkit", "tollgate-wire", None)).len(), 1);
        assert_eq!(depend_downwards(&member("tollgate-gadget", "tollgate-wire", None)).len(), 1);
    }

    #[test]
    fn a_runtime_below_a_pure_crate_is_found() {
        let reach = [("tollgate-wire".to_owned(), vec!["bytes".to_owned(), "mio".to_owned()])].into();
        let findings = pure_crates_reach_nothing(&Repository { reach, ..Repository::default() });
        assert!(findings[0].message.contains("reaches mio"), "{findings:?}");
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = vec![
            file("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            file("crates/b/Cargo.toml", "[package]\n"),
            file("Cargo.toml", "[workspace]\n"),
        ];
        let findings = crates_inherit_lints(&Repository { files, ..Repository::default() });
        assert_eq!(findings, [Finding::new("crates/b/Cargo.toml", "lacks `[lints] workspace = true`")]);
    }
}
