//! What was spent of a budget survives the end of a gateway that has a ledger and no Redis, whichever end that is.

use std::fs;
use std::thread;
use std::time::Duration;

use super::{Backend, Gateway, whole};

/// A chat uses 12 tokens: the third one is the last that is let in.
const BUDGET: &str = r#"
---
apiVersion: tollgate.dev/v1alpha1
kind: Budget
metadata: {name: all}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: ai}]
  limits: [{unit: Tokens, amount: "30", window: {calendar: Year}}]
"#;

/// Asks for a chat; returns the status.
fn status(gateway: &Gateway) -> String {
    whole(gateway.ask("a", "")).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_budget_that_is_spent_stays_spent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, file) = (folder.path().join("ledger"), folder.path().join("gateway.yaml"));
    Backend::start().write(&file);
    let manifest = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("{manifest}{BUDGET}")).expect("a file");

    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([status(&gateway), status(&gateway)], ["200", "200"]);
    gateway.end("-TERM");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([status(&gateway), status(&gateway)], ["200", "429"]);
    gateway.end("-TERM");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(status(&gateway), "429");
    gateway.end("-TERM");

    // One that is killed has forgotten its last second at most.
    let ledger = folder.path().join("other");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!([status(&gateway), status(&gateway), status(&gateway)], ["200", "200", "200"]);
    thread::sleep(Duration::from_millis(2500));
    gateway.end("-KILL");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(status(&gateway), "429");
    gateway.end("-KILL");

    // Whatever becomes of the file, the gateway serves.
    fs::write(ledger.join("counters"), "nonsense").expect("a file");
    let gateway = Gateway::start(&ledger, &file);
    assert_eq!(status(&gateway), "200");
}
