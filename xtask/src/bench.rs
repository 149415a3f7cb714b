//! `cargo xtask bench`: the gateway beside a pass-through Envoy, in turn on the same core, load and backend on another.
//!
//! Machines are shared and noisy, so what counts are ratios within one run and medians over its rounds. The outcome goes to
//! `docs/performance.md`, and a missed bound is a failure.

pub(crate) mod accounts;
mod envoy;
mod hub;
mod instructions;
mod plane;
mod report;
mod routes;
mod translation;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::machine::{self, Server, free_port, json_line, resident_bytes, testkit, worked};
use crate::{Outcome, release};
use envoy::Envoy;
use report::{Bound, Report, Row};

/// Streams that are held open at once, where the system allows as many sockets: each takes two of the gateway's.
const STREAMS: u64 = 10_000;

/// Files that the gateway has open beside them.
const OTHER_FILES: u64 = 200;

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds of load for each figure of a round
    #[arg(long, default_value_t = 3000)]
    millis: u64,
    /// Do not write docs/performance.md
    #[arg(long)]
    dry: bool,
    /// Measure only what identities, limits and the ledger cost, and write nothing
    #[arg(long)]
    accounts: bool,
    /// Measure only the Envoy data plane and its external processor, and write nothing
    #[arg(long)]
    processor: bool,
    /// Measure only translation, and write nothing
    #[arg(long)]
    translation: bool,
}

/// A load: what is asked, by how many at once.
struct Load {
    name: &'static str,
    connections: usize,
    body_bytes: usize,
    is_stream: bool,
    bound: Bound,
}

const LOADS: [Load; 4] = [
    Load {
        name: "chat of 1 KB, 16 connections",
        connections: 16,
        body_bytes: 1024,
        is_stream: false,
        bound: Bound::RateAtLeast(2.0),
    },
    Load {
        name: "stream of 30 events at once, 16 connections",
        connections: 16,
        body_bytes: 1024,
        is_stream: true,
        bound: Bound::RateAtLeast(1.3),
    },
    Load {
        name: "chat of 1 KB, 1 connection",
        connections: 1,
        body_bytes: 1024,
        is_stream: false,
        bound: Bound::LatencyAtMost(1.0),
    },
    Load {
        name: "chat of 1 MB, 4 connections",
        connections: 4,
        body_bytes: 1 << 20,
        is_stream: false,
        bound: Bound::RateAtLeast(1.0),
    },
];

/// What the load generator says.
#[derive(Debug, Clone, Deserialize)]
struct Measured {
    requests: u64,
    requests_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
    first_error: Option<String>,
}

/// Runs all loads, then the figures of the gateway alone.
pub fn run(root: &Path, options: &Options) -> Result<Outcome> {
    release::build(root)?;
    release::cargo(root, &["--package", "tollgate-exchange", "--examples"])?;
    let envoy = Envoy::install(root)?;
    let mock_port = free_port()?;
    let mut mock = testkit(root, &["bench-mock", "--port", &mock_port.to_string()]).start()?;
    mock.wait_for_line("listening on")?;
    let resources = machine::write_resources(root, mock_port, "")?;
    if options.accounts {
        return Ok(alone(&accounts::run(root, mock_port, options)?));
    }
    if options.processor {
        return Ok(alone(&plane::run(root, &envoy, mock_port, options)?.1));
    }
    if options.translation {
        let (pairs, rows) = translation::run(root, mock_port, options)?;
        println!("{}", translation::table(&pairs));
        return Ok(alone(&rows));
    }
    let mut report = Report::new(options.rounds, options.millis);
    {
        let gateway = machine::gateway(root, &resources)?;
        let other = envoy.start(root, mock_port)?;
        for load in &LOADS {
            let row = compare(root, load, (gateway.port, other.port), options)?;
            println!("{row}");
            report.rows.push(row);
        }
    }
    report.rows.push(idle_memory(root, &resources, options.rounds)?);
    report.rows.push(start(root, &resources, options.rounds)?);
    report.rows.push(idle_streams(root, &resources)?);
    let (lines, rows) = plane::run(root, &envoy, mock_port, options)?;
    report.rows.extend(rows);
    report.rows.extend(routes::run(root, &envoy, mock_port)?);
    report.lines = lines;
    report.rows.extend(accounts::run(root, mock_port, options)?);
    let (pairs, rows) = translation::run(root, mock_port, options)?;
    report.pairs = pairs;
    report.rows.extend(rows);
    report.rows.iter().skip(LOADS.len()).for_each(|row| println!("{row}"));
    if !options.dry {
        report.write(&root.join("docs/performance.md"))?;
    }
    Ok(if report.rows.iter().all(Row::holds) { Outcome::Good } else { Outcome::Bad })
}

/// Tells a part of the report by itself.
fn alone(rows: &[Row]) -> Outcome {
    rows.iter().for_each(|row| println!("{row}"));
    if rows.iter().all(Row::holds) { Outcome::Good } else { Outcome::Bad }
}

/// One load on both, in turn.
fn compare(root: &Path, load: &Load, ports: (u16, u16), options: &Options) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round warms connections and caches.
    for round in 0..=options.rounds {
        for (port, measured) in [(ports.0, &mut ours), (ports.1, &mut theirs)] {
            let one = measure(root, load, port, options.millis).with_context(|| load.name)?;
            if round > 0 {
                measured.push(one);
            }
        }
    }
    Ok(Row::compared(load.name, load.bound, &ours, &theirs))
}

fn measure(root: &Path, load: &Load, port: u16, millis: u64) -> Result<Measured> {
    measure_with(root, load, port, millis, &[])
}

/// With `more` for the load generator.
fn measure_with(root: &Path, load: &Load, port: u16, millis: u64, more: &[&str]) -> Result<Measured> {
    let mut arguments = vec![
        "load".to_owned(),
        format!("--address=127.0.0.1:{port}"),
        format!("--connections={}", load.connections),
        format!("--body-bytes={}", load.body_bytes),
        format!("--millis={millis}"),
    ];
    if load.is_stream {
        arguments.push("--stream".to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let measured: Measured = json_line(testkit(root, &arguments))?;
    if measured.errors > 0 {
        bail!("{} errors, the first: {}", measured.errors, measured.first_error.unwrap_or_default());
    }
    Ok(measured)
}

/// A load on a gateway, and the processor time that it works for each request, in microseconds.
fn worked_for(
    root: &Path,
    load: &Load,
    gateway: &Server,
    millis: u64,
    more: &[&str],
) -> Result<(Measured, f64)> {
    let before = worked(gateway.id())?;
    let measured = measure_with(root, load, gateway.port, millis, more)?;
    let us = (worked(gateway.id())? - before).as_secs_f64() * 1e6 / measured.requests as f64;
    Ok((measured, us))
}

fn idle_memory(root: &Path, resources: &Path, rounds: usize) -> Result<Row> {
    let mut megabytes = Vec::new();
    for _ in 0..rounds {
        let gateway = machine::gateway(root, resources)?;
        std::thread::sleep(Duration::from_millis(300));
        megabytes.push(resident_bytes(gateway.id())? / 1e6);
    }
    Ok(Row::alone("memory when idle", Bound::AtMost(20.0), "MB", &megabytes))
}

fn start(root: &Path, resources: &Path, rounds: usize) -> Result<Row> {
    let mut millis = Vec::new();
    for _ in 0..rounds {
        millis.push(machine::gateway(root, resources)?.first_answer.as_secs_f64() * 1e3);
    }
    Ok(Row::alone("start to the first 200", Bound::AtMost(100.0), "ms", &millis))
}

/// Memory that each of many streams takes while it says nothing.
fn idle_streams(root: &Path, resources: &Path) -> Result<Row> {
    let gateway = machine::gateway(root, resources)?;
    let before = resident_bytes(gateway.id())?;
    let address = format!("--address=127.0.0.1:{}", gateway.port);
    let streams = STREAMS.min(machine::open_files_max()?.saturating_sub(OTHER_FILES) / 2);
    let mut held = testkit(root, &["idle", &address, &format!("--streams={streams}")]).start()?;
    held.wait_for_line("holding")?;
    let kilobytes = (resident_bytes(gateway.id())? - before) / 1024.0 / streams as f64;
    let name = format!("memory of each of {streams} idle streams");
    Ok(Row::alone(&name, Bound::AtMost(16.0), "KiB", &[kilobytes]))
}
