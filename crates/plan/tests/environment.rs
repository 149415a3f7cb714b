//! Goldens of the configuration from environment variables: `golden/environment/*.env` and what comes of each.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use tollgate_plan::environment;

/// The outcome as one text: notes and errors as comments.
fn outcome(variables: &str) -> String {
    let variables: BTreeMap<&str, &str> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    match environment(&|name| variables.get(name).map(|&value| value.to_owned())) {
        Err(error) => format!("# error: {error}\n"),
        Ok(found) => {
            let notes: String = found.notes.iter().map(|note| format!("# {note}\n")).collect();
            notes + &found.manifests
        }
    }
}

#[test]
fn makes_manifests_of_environment_variables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/environment");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("the folder of goldens") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "env") {
            continue;
        }
        seen += 1;
        let got = outcome(&fs::read_to_string(&path).expect("the input"));
        let golden = path.with_extension("out.yaml");
        if env::var_os("TOLLGATE_BLESS").is_some() {
            fs::write(&golden, &got).expect("the golden is written");
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, want, "{}: run `cargo xtask bless` to accept", path.display());
        assert!(!got.contains("sk-"), "a key is in the manifests of {}", path.display());
    }
    assert!(seen > 0);
}
