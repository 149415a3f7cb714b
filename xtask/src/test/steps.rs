//! The steps of `cargo xtask test`, in the order in which they run: what fails fast comes first.

use std::time::Duration;

use anyhow::Result;

use super::bounded::Bounded;
use super::{clients, envoy, postgres, redis};
use crate::release;

/// One step. Its limit holds for all its commands together, and assumes two slow cores and nothing built yet.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) limit: Duration,
    pub(super) run: fn(&mut Bounded) -> Result<()>,
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// All steps.
pub(super) const STEPS: &[Step] = &[
    Step { name: "format", about: "the sources are formatted", limit: minutes(1), run: format },
    Step { name: "tidy", about: "the rules of the tree hold", limit: minutes(2), run: tidy },
    Step { name: "clippy", about: "no lint has anything to say", limit: minutes(10), run: clippy },
    Step { name: "unit", about: "unit, golden and property tests", limit: minutes(25), run: unit },
    Step {
        name: "postgres",
        about: "the ledger fills a real PostgreSQL",
        limit: minutes(5),
        run: postgres::test,
    },
    Step {
        name: "envoy",
        about: "a real Envoy takes what it would be programmed with",
        limit: minutes(5),
        run: envoy::validate,
    },
    Step {
        name: "suite-envoy",
        about: "clients and backends see the same through Envoy",
        limit: minutes(5),
        run: suite_on_envoy,
    },
    Step {
        name: "parts-envoy",
        about: "a real Envoy follows what it is told, and parts fail under load",
        limit: minutes(10),
        run: parts_with_envoy,
    },
    Step { name: "fuzz", about: "each parser, for two seconds", limit: minutes(5), run: fuzz },
    Step {
        name: "release",
        about: "the gateway is built as it is released",
        limit: minutes(25),
        run: release,
    },
    Step { name: "demo", about: "the demo ends well", limit: minutes(1), run: demo },
    Step {
        name: "clients",
        about: "the SDKs are installed under target/",
        limit: minutes(5),
        run: clients::install,
    },
    Step {
        name: "judge",
        about: "the providers' own packages read what is translated",
        limit: minutes(5),
        run: clients::judge,
    },
    Step { name: "python", about: "the Python SDKs, end to end", limit: minutes(5), run: clients::python },
    Step { name: "node", about: "the Node SDKs, end to end", limit: minutes(5), run: clients::node },
    Step {
        name: "python-envoy",
        about: "the Python SDKs through Envoy",
        limit: minutes(5),
        run: python_on_envoy,
    },
    Step { name: "node-envoy", about: "the Node SDKs through Envoy", limit: minutes(5), run: node_on_envoy },
];

fn format(bounded: &mut Bounded) -> Result<()> {
    bounded.run("cargo", &["fmt", "--all", "--check"])
}

fn tidy(bounded: &mut Bounded) -> Result<()> {
    bounded.run("cargo", &["xtask", "tidy"])
}

fn clippy(bounded: &mut Bounded) -> Result<()> {
    bounded.run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // Tests that run only when they are asked for are no part of all.
    let asked_for =
        ["--package", "tollgate-xds", "--test", "envoy", "--package", "tollgate-cli", "--test", "load"];
    bounded.run("cargo", &[&["clippy"], &asked_for[..], &["--", "-D", "warnings"]].concat())
}

fn unit(bounded: &mut Bounded) -> Result<()> {
    redis::install(bounded)?;
    bounded.run("cargo", &["test", "--workspace", "--no-fail-fast"])
}

fn suite_on_envoy(bounded: &mut Bounded) -> Result<()> {
    redis::install(bounded)?;
    envoy::be_the_data_plane(bounded)?;
    // Each test has an Envoy of its own.
    let tests = ["test", "--package", "tollgate-suite", "--test", "planes", "--", "--test-threads", "4"];
    bounded.run("cargo", &tests)
}

fn parts_with_envoy(bounded: &mut Bounded) -> Result<()> {
    envoy::install(bounded)?;
    let tests = ["test", "--package", "tollgate-xds", "--test", "envoy"];
    bounded.run("cargo", &tests)?;
    // Under three minutes on an Envoy.
    bounded.tell("TOLLGATE_FLIPS", "1000".into());
    // What takes time is under load, and two of them are what two cores carry.
    let tests = ["test", "--package", "tollgate-cli", "--test", "load"];
    bounded.run("cargo", &[&tests[..], &["--", "--nocapture", "--test-threads", "2"]].concat())?;
    envoy::be_the_data_plane(bounded)?;
    bounded.run("cargo", &["test", "--package", "tollgate-cli", "--test", "ledger"])
}

fn python_on_envoy(bounded: &mut Bounded) -> Result<()> {
    envoy::be_the_data_plane(bounded)?;
    clients::python(bounded)
}

fn node_on_envoy(bounded: &mut Bounded) -> Result<()> {
    envoy::be_the_data_plane(bounded)?;
    clients::node(bounded)
}

// Built without optimisation: the tests have built nearly all of it already, and its assertions are on.
fn fuzz(bounded: &mut Bounded) -> Result<()> {
    bounded.run("cargo", &["run", "--package", "tollgate-fuzz", "--", "--seconds", "2"])
}

fn release(bounded: &mut Bounded) -> Result<()> {
    bounded.run("cargo", &["xtask", "release"])
}

fn demo(bounded: &mut Bounded) -> Result<()> {
    bounded.run(release::GATEWAY, &["demo", "--once"])
}
