//! The binary as a person meets it: what it prints, and how it exits. The expected texts are in `golden/`;
//! `cargo xtask bless` rewrites them.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary in the folder of the tests, so that paths in its output are the same everywhere.
fn tollgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    command.env_clear().args(arguments);
    command.output().expect("the binary")
}

/// Exit code, standard output and standard error in one text.
fn shown(output: &Output) -> String {
    let code = output.status.code().expect("an exit code");
    let text = |bytes: &[u8]| -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        text.split_inclusive('\n').map(timeless).collect()
    };
    format!("{}--- stderr\n{}--- exit code {code}\n", text(&output.stdout), text(&output.stderr))
}

/// A line without the time that lines of the log begin with.
fn timeless(line: &str) -> &str {
    match line.split_once("Z ") {
        Some((time, rest)) if time.starts_with("20") && !time.contains(' ') => rest,
        _ => line,
    }
}

fn compare(name: &str, arguments: &[&str]) {
    let actual = shown(&tollgate(arguments));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(&path, &actual).expect("a golden written");
    }
    assert_eq!(actual, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn help_is_what_a_newcomer_reads_first() {
    compare("help.txt", &["--help"]);
    for command in ["run", "check", "demo", "crds", "healthcheck", "version", "completions"] {
        compare(&format!("help_{command}.txt"), &[command, "--help"]);
    }
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    compare("usage_unknown.txt", &["serve"]);
    compare("usage_no_path.txt", &["check"]);
    compare("usage_duration.txt", &["run", "--drain-timeout", "soon"]);
    assert_eq!(tollgate(&[]).status.code(), Some(2));
}

#[test]
fn the_version_is_told() {
    let expected = concat!("tollgate ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in [["version"], ["--version"], ["-V"]] {
        assert_eq!(tollgate(&arguments).stdout, expected.as_bytes());
    }
}

#[test]
fn check_finds_nothing_wrong_with_a_good_file() {
    compare("check_good.txt", &["check", "manifests/good.yaml"]);
}

#[test]
fn check_tells_every_mistake_with_its_place() {
    compare("check_bad.txt", &["check", "manifests/bad.yaml"]);
    compare("check_broken.txt", &["check", "manifests/broken.yaml"]);
    compare("check_absent.txt", &["check", "manifests/absent.yaml", "golden"]);
}

#[test]
fn check_shows_no_line_of_a_secret() {
    let files = ["quote", "twice", "anchor", "variable", "indent"];
    let paths = files.map(|name| format!("manifests/secret_{name}.yaml"));
    let arguments: Vec<_> = ["check"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    compare("check_secrets.txt", &arguments);
    assert!(!shown(&tollgate(&arguments)).contains("confidential"));
}

#[test]
fn check_tells_programs_in_json() {
    compare("check_bad.json.txt", &["check", "-o", "json", "manifests/bad.yaml"]);
}

#[test]
fn check_is_coloured_only_when_wanted() {
    let escapes = |arguments: &[&str]| tollgate(arguments).stdout.contains(&0x1b);
    assert!(!escapes(&["check", "manifests/bad.yaml"]));
    assert!(escapes(&["--color", "always", "check", "manifests/bad.yaml"]));
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = tollgate(&["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("healthcheck"), "{shell}");
    }
}

#[test]
fn the_crds_are_those_of_every_resource() {
    let output = tollgate(&["crds"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for kind in ["AIGatewayRoute", "AIServiceBackend", "BackendSecurityPolicy", "GatewayConfig"] {
        assert!(text.contains(&format!("kind: {kind}")), "{kind}");
    }
}

#[test]
fn run_says_what_is_missing_when_there_is_nothing_to_serve() {
    compare("run_nothing.txt", &["run"]);
    compare("run_absent.txt", &["run", "manifests/absent.yaml"]);
}
