//! The load by which the gateway is laid out: what most gateways do most of the time, on both data planes.
//!
//! Whole answers and streams, from a backend of the client's dialect and from one that is translated, with and without keys, limits and a ledger.

use std::path::Path;

use anyhow::{Context, Result};

use crate::bench::accounts;
use crate::envoy;
use crate::machine::{self, free_port, json_line, testkit};

/// Gateways that are put under load, one after the other.
pub(super) const PROCESSES: usize = 4;

/// Milliseconds of each load.
const MILLIS: u64 = 600;

/// What is asked, beside its model: a short chat, and one that has gone on for a while.
const CHATS: [&[&str]; 2] = [&["--body-bytes=1024"], &["--body-bytes=16384", "--messages=24"]];

/// A model of a backend that speaks the client's dialect, and one that is translated.
const MODELS: [&str; 2] = ["--model=mistral", "--model=claude"];

/// Puts `program`, which counts, under load. The ledger goes to the folder `work`.
pub(super) fn run(root: &Path, program: &Path, work: &Path) -> Result<()> {
    let envoy = envoy::install_alone(root)?;
    let envoy = envoy.to_str().context("the path of Envoy is not UTF-8")?;
    let port = free_port()?;
    let mut mock = testkit(root, &["bench-mock", "--port", &port.to_string()]).start()?;
    mock.wait_for_line("listening on")?;
    let bare = machine::write_two_dialects(root, port, "")?;
    let full = machine::write_two_dialects(root, port, accounts::POLICIES)?;
    let ledger = work.join("ledger");
    let ledger = ledger.to_str().context("the root is not UTF-8")?;
    let planes: [&[&str]; 2] = [&["--data-plane", "embedded"], &["--data-plane", "envoy", "--envoy", envoy]];
    let accounts: [(_, &[&str]); 2] = [(&bare, &[]), (&full, &["--ledger", ledger])];
    for plane in planes {
        for (resources, accounts) in accounts {
            let arguments = [plane, accounts].concat();
            println!("counting what runs under load: {}", arguments.join(" "));
            let gateway = machine::start_gateway(program, resources, &arguments)?;
            load(root, gateway.port)?;
            gateway.end()?;
        }
    }
    Ok(())
}

fn load(root: &Path, port: u16) -> Result<()> {
    let (address, millis) = (format!("--address=127.0.0.1:{port}"), format!("--millis={MILLIS}"));
    for stream in [&[][..], &["--stream"]] {
        for (chat, model) in CHATS.iter().flat_map(|chat| MODELS.map(|model| (chat, model))) {
            let arguments = [&["load", &address, &millis, "--connections=16", model], *chat, stream].concat();
            let measured: serde_json::Value = json_line(testkit(root, &arguments))?;
            anyhow::ensure!(measured["errors"] == 0, "{arguments:?}: {measured}");
        }
    }
    Ok(())
}
