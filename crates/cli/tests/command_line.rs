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

fn manifest(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name)
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
    let commands = [
        "run",
        "check",
        "plan",
        "controlplane",
        "extproc",
        "ratelimit",
        "demo",
        "prices",
        "crds",
        "usage",
        "healthcheck",
    ];
    for command in commands.into_iter().chain(["version", "completions"]) {
        compare(&format!("help_{command}.txt"), &[command, "--help"]);
    }
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    compare("usage_unknown.txt", &["serve"]);
    compare("usage_no_path.txt", &["check"]);
    compare("usage_duration.txt", &["run", "--drain-timeout", "soon"]);
    compare("usage_ledger_retention.txt", &["run", "--ledger", "golden", "--ledger-retention", "0"]);
    assert_eq!(tollgate(&[]).status.code(), Some(2));
}

#[test]
fn usage_needs_a_ledger() {
    compare("usage_no_ledger.txt", &["usage"]);
    compare("usage_absent_ledger.txt", &["usage", "--ledger", "golden"]);
    compare("usage_dimension.txt", &["usage", "--ledger", "golden", "--by", "team,house"]);
    compare("usage_day.txt", &["usage", "--ledger", "golden", "--since", "yesterday"]);
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
fn check_tells_which_models_a_budget_of_money_does_not_count() {
    let prices = ["--prices", "manifests/prices.json"];
    compare("check_unpriced.txt", &[&["check"], &prices[..], &["manifests/unpriced.yaml"]].concat());
}

#[test]
fn what_an_envoy_cannot_serve_is_told_before_it_is_started() {
    compare("check_proxy.txt", &["check", "manifests/proxy.yaml"]);
    compare("check_proxy_envoy.txt", &["check", "--data-plane", "envoy", "manifests/proxy.yaml"]);
    compare("plan_proxy.txt", &["plan", "manifests/proxy.yaml"]);
}

#[test]
fn what_envoys_own_filters_cannot_say_of_callers_is_told() {
    let handed = ["--envoy-authentication", "keys,tokens", "manifests/handed.yaml"];
    compare("check_handed.txt", &[&["check", "--data-plane", "envoy"], &handed[..]].concat());
    compare("run_handed.txt", &[&["run"], &handed[..]].concat());
    compare("usage_handed.txt", &["check", "--envoy-authentication", "passwords", "manifests/handed.yaml"]);
    let planned = shown(&tollgate(&[&["plan"], &handed[..]].concat()));
    assert!(planned.contains("[alice of Secret default/plain]") && !planned.contains("confidential"));
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
fn prices_are_shown_and_taken() {
    compare("prices_show.txt", &["prices", "show", "--prices", "manifests/prices.json", "small"]);
    compare("prices_unknown.txt", &["prices", "show", "nobody-knows-this-model"]);
    compare("prices_bad.txt", &["prices", "show", "--prices", "manifests/prices_bad.json"]);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("prices.json");
    let place = place.to_str().expect("UTF-8");
    let update = |file: &str, more: &[&str]| {
        let file = format!("manifests/{file}");
        let update = [&["prices", "update", "--prices", place, &file], more].concat();
        shown(&tollgate(&update))
    };
    let added = update("prices.json", &["--dry-run"]);
    assert!(
        added.contains("+ local small: 0.5 in, 1.5 out, more for long prompts; 22:00 to 06:00 UTC 0.25"),
        "{added}"
    );
    assert!(added.contains("1 model added, 1 changed, 0 removed"), "{added}");
    assert!(!folder.path().join("prices.json").exists());
    assert_eq!(update("prices.json", &[]), added);
    assert!(update("prices_bad.json", &[]).contains("exit code 1"));
    assert!(update("prices.json", &[]).contains("0 models added, 0 changed, 0 removed"));
}

#[test]
fn plan_prints_what_would_be_pushed() {
    compare("plan_bundle.txt", &["plan", "--to", "bundle", "manifests/good.yaml"]);
    compare("plan_bundle.json.txt", &["plan", "--to", "bundle", "-o", "json", "manifests/good.yaml"]);
    // The resources themselves are goldens of another crate.
    let yaml = tollgate(&["plan", "manifests/good.yaml"]);
    assert!(yaml.status.success() && yaml.stdout.starts_with(b"listeners:\n- name: \"127.0.0.1:1975\"\n"));
    let tls = ["--envoy-ca", "/tls/ca.crt", "--envoy-cert", "/tls/tls.crt", "--envoy-key", "/tls/tls.key"];
    let remote = ["plan", "-o", "json", "--processor", "processor.example:9002", "manifests/good.yaml"];
    let json = tollgate(&[&remote[..], &tls].concat());
    let planned: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let kinds: Vec<_> = planned.as_object().expect("an object").keys().collect();
    assert_eq!(kinds, ["listeners", "route_configurations", "clusters", "secrets"]);
    let processor = &planned["clusters"][0]["body"];
    assert_eq!(processor["type"], "STRICT_DNS");
    let shown = &processor["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificates"][0];
    assert_eq!(shown["private_key"]["filename"], "/tls/tls.key");
}

#[test]
fn plan_names_secrets_and_shows_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let good = fs::read_to_string(manifest("good.yaml")).expect("a file");
    let listener = "{name: http, protocol: HTTPS, port: 1975, tls: {certificateRefs: [{name: tls}]}}";
    let (pem, private) = (key.cert.pem(), key.signing_key.serialize_pem());
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = good.replace("{name: http, protocol: HTTP, port: 1975}", listener)
        + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: tls}\nstringData:\n"
        + &format!("  tls.crt: |\n{}  tls.key: |\n{}", indented(&pem), indented(&private));
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, text).expect("a file");
    for to in ["envoy", "bundle"] {
        let output = tollgate(&["plan", "--to", to, &file.to_string_lossy()]);
        let shown = shown(&output);
        assert!(output.status.success() && shown.contains("tls.key"), "{shown}");
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains("BEGIN"), "{shown}");
    }
}

#[test]
fn plan_tells_mistakes_and_prints_what_can_be_served() {
    compare("plan_bad.txt", &["plan", "--to", "bundle", "manifests/bad.yaml"]);
    compare("plan_broken.txt", &["plan", "manifests/broken.yaml"]);
    compare("plan_no_tls.txt", &["plan", "--processor", "processor.example:9002", "manifests/good.yaml"]);
}

#[test]
fn the_bootstrap_says_where_the_control_plane_is() {
    let listen = ["controlplane", "--listen", "unix:/tmp/tollgate/xds.sock", "--print-bootstrap"];
    compare("bootstrap.json.txt", &listen);
    let elsewhere = tollgate(&["controlplane", "--print-bootstrap=127.0.0.1:18000"]);
    assert!(String::from_utf8_lossy(&elsewhere.stdout).contains("\"port_value\": 18000"));
}

#[test]
fn parts_are_not_on_the_network_without_tls() {
    let open = ["extproc", "--listen", "0.0.0.0:0", "manifests/good.yaml"];
    compare("extproc_no_tls.txt", &open);
    let nowhere = ["controlplane", "--listen", "unix:absent/xds.sock", "--admin-address", "127.0.0.1:0"];
    compare("controlplane_nowhere.txt", &[&nowhere[..], &["manifests/good.yaml"]].concat());
}

#[test]
fn strangers_on_other_machines_are_served_only_where_somebody_says_so() {
    compare("run_anonymous.txt", &["run", "--address", "0.0.0.0", "manifests/good.yaml"]);
    let control = ["controlplane", "--listen", "unix:absent/xds.sock", "--address", "0.0.0.0"];
    compare("controlplane_anonymous.txt", &[&control[..], &["manifests/good.yaml"]].concat());
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
