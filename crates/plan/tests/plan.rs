//! Goldens of plans: `golden/plan/*.in.yaml`, and what is found in each and served of it.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use tollgate_config::Snapshot;
use tollgate_manifest::{Source, parse};
use tollgate_plan::{World, plan};

/// Findings as lines of comments, then listeners, rules and backends, each on a line.
fn outcome(file: &str, text: String) -> String {
    let parsed = parse(&[Source { file: file.to_owned(), text }]);
    let mut lines: Vec<String> = parsed.findings.iter().map(|finding| format!("# {finding}")).collect();
    let planned = plan(&World::new(parsed.objects));
    let (snapshot, found_later) = Snapshot::compile(planned.bundle);
    lines.extend(planned.diagnostics.iter().chain(&found_later).map(|finding| format!("# {finding}")));
    let bundle = serde_json::to_value(snapshot.bundle()).expect("a bundle is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    lines.extend(list(&bundle["listeners"]).into_iter().map(|listener| format!("listener: {listener}")));
    for route in list(&bundle["routes"]) {
        for (at, rule) in list(&route["rules"]).iter().enumerate() {
            let backends: Vec<_> =
                list(&rule["targets"]).iter().map(|target| target["backend"].clone()).collect();
            let shown = match &rule["broken"] {
                Value::Null => json!({ "to": backends, "retries": rule["retry"]["retries_max"] }),
                broken => json!({ "broken": broken }),
            };
            let shown = match &rule["access"] {
                Value::Null => shown,
                access => json!({ "under": access, "serves": shown }),
            };
            let (name, through) = (&route["name"], &route["listeners"]);
            lines.push(format!("rule: {{route: {name}, at: {at}, through: {through}, serves: {shown}}}"));
            lines.extend(list(&rule["limits"]).into_iter().map(|limit| format!("  limit: {limit}")));
        }
    }
    for route in list(&bundle["plain_routes"]) {
        for (at, rule) in list(&route["rules"]).iter().enumerate() {
            let (name, through) = (&route["name"], &route["listeners"]);
            lines.push(format!("plain: {{route: {name}, at: {at}, through: {through}, rule: {rule}}}"));
        }
    }
    let backends = bundle["backends"].as_object().cloned().unwrap_or_default();
    for (name, mut backend) in backends {
        let shown = ["tls", "credential", "limits", "ejection"].map(|part| (part, backend[part].take()));
        lines.push(format!("backend: {{{name:?}: {}}}", json!(shown.into_iter().collect::<Value>())));
        lines.extend(list(&backend["quotas"]).into_iter().map(|limit| format!("  quota: {limit}")));
    }
    let remote = bundle["remote_secrets"].as_object().cloned().unwrap_or_default();
    lines.extend(remote.iter().map(|(name, secret)| format!("remote secret: {{{name:?}: {secret}}}")));
    let proxies = bundle["forward_proxies"].as_object().cloned().unwrap_or_default();
    lines.extend(proxies.iter().map(|(listener, proxy)| format!("forward proxy: {{{listener:?}: {proxy}}}")));
    let access = bundle["access"].as_object().cloned().unwrap_or_default();
    for (name, parts) in access {
        let parts = parts.as_object().cloned().unwrap_or_default();
        let parts = parts.iter().filter(|(_, part)| !part.is_null());
        lines.extend(parts.map(|(part, said)| format!("access: {{{name:?}: {{{part}: {said}}}}}")));
    }
    lines.join("\n") + "\n"
}

#[test]
fn plans_what_can_be_served_and_tells_what_cannot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/plan");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("the folder of goldens") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(name) = file.strip_suffix(".in.yaml") else { continue };
        seen += 1;
        let got = outcome(&file, fs::read_to_string(&path).expect("the input"));
        let golden = folder.join(format!("{name}.out.txt"));
        if env::var_os("TOLLGATE_BLESS").is_some() {
            fs::write(&golden, &got).expect("the golden is written");
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, want, "{file}: run `cargo xtask bless` to accept");
        assert!(!got.contains("sk-"), "a key is in the plan of {file}");
    }
    assert!(seen > 0);
}
