//! The Envoy data plane: what it does beside a bare Envoy, beside one whose processor changes nothing, and beside the embedded plane.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use super::envoy::Envoy;
use super::report::{Bound, Row, median};
use super::{Load, Measured, Options, measure};
use crate::machine::{self, Running, Server, testkit, worked};

/// Most processor time per request, beside a processor that changes nothing.
const PROCESSOR_MAX: f64 = 1.4;

/// Connections at which it is bounded.
const BOUNDED_AT: usize = 16;

const CONNECTIONS: [usize; 3] = [1, BOUNDED_AT, 64];

/// What is measured, in the order of the columns.
pub(super) const SUBJECTS: [&str; 4] = ["bare Envoy", "Envoy, Tollgate", "Envoy, CONTINUE", "embedded"];
const TOLLGATE: usize = 1;
const CONTINUE: usize = 2;

/// A server with its processes: the one that clients talk to, and its processor.
struct Subject {
    server: Server,
    processes: Vec<u32>,
    _processor: Option<Running>,
}

/// What one subject did under one load.
#[derive(Default)]
pub(super) struct Cell {
    requests_per_s: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    /// By process.
    cpu_us: Vec<Vec<f64>>,
}

/// All subjects under one load.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

/// Measures all loads, and says what the processor costs.
pub(super) fn run(
    root: &Path,
    envoy: &Envoy,
    mock_port: u16,
    options: &Options,
) -> Result<(Vec<Line>, Vec<Row>)> {
    let resources = machine::write_resources(root, mock_port, "")?;
    let subjects = subjects(root, envoy, mock_port, &resources)?;
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for is_stream in [false, true] {
        for connections in CONNECTIONS {
            let line = line(root, &subjects, is_stream, connections, options)?;
            println!("{line}");
            if connections == BOUNDED_AT {
                rows.push(processor_row(&line));
            }
            lines.push(line);
        }
    }
    Ok((lines, rows))
}

fn subjects(root: &Path, envoy: &Envoy, mock_port: u16, resources: &Path) -> Result<Vec<Subject>> {
    let bare = envoy.start(root, mock_port)?;
    let path = envoy.path().to_string_lossy();
    let tollgate = machine::gateway_on(root, resources, &["--data-plane", "envoy", "--envoy", &path])?;
    let socket = root.join("target/bench/continue.sock");
    let arguments = ["continue", "--socket", &socket.to_string_lossy()];
    let mut processor = machine::measured(testkit(root, &arguments)).start()?;
    processor.wait_for_line("listening")?;
    let continuing = envoy.start_with_processor(root, mock_port, &socket)?;
    let embedded = machine::gateway(root, resources)?;
    let alone = |server: Server| Subject { processes: vec![server.id()], server, _processor: None };
    Ok(vec![
        alone(bare),
        Subject {
            processes: vec![machine::child_of(tollgate.id())?, tollgate.id()],
            server: tollgate,
            _processor: None,
        },
        Subject {
            processes: vec![continuing.id(), processor.id()],
            server: continuing,
            _processor: Some(processor),
        },
        alone(embedded),
    ])
}

fn line(
    root: &Path,
    subjects: &[Subject],
    is_stream: bool,
    connections: usize,
    options: &Options,
) -> Result<Line> {
    let name = if is_stream { "stream of 30 events" } else { "chat of 1 KB" };
    let load = Load { name, connections, body_bytes: 1024, is_stream, bound: Bound::None };
    let mut cells: Vec<Cell> = subjects.iter().map(|_| Cell::default()).collect();
    // The first round warms connections and caches.
    for round in 0..=options.rounds {
        for (subject, cell) in subjects.iter().zip(&mut cells) {
            let before = times(subject)?;
            let measured =
                measure(root, &load, subject.server.port, options.millis / 2).with_context(|| name)?;
            if round > 0 {
                cell.add(&measured, &before, &times(subject)?);
            }
        }
    }
    Ok(Line { name: format!("{name}, {connections} connections"), cells })
}

fn times(subject: &Subject) -> Result<Vec<f64>> {
    subject.processes.iter().map(|id| Ok(worked(*id)?.as_secs_f64() * 1e6)).collect()
}

fn processor_row(line: &Line) -> Row {
    let of = |subject: usize| {
        line.cells.get(subject).and_then(|cell| cell.cpu_us.get(1)).cloned().unwrap_or_default()
    };
    let name = format!("processor time, {}, beside CONTINUE", line.name);
    Row::against(&name, Bound::CpuAtMost(PROCESSOR_MAX), &of(TOLLGATE), &of(CONTINUE))
}

impl Cell {
    fn add(&mut self, measured: &Measured, before: &[f64], after: &[f64]) {
        self.requests_per_s.push(measured.requests_per_s);
        self.p50_us.push(measured.p50_us);
        self.p99_us.push(measured.p99_us);
        self.cpu_us.resize(before.len(), Vec::new());
        for ((before, after), process) in before.iter().zip(after).zip(&mut self.cpu_us) {
            process.push((after - before) / measured.requests as f64);
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu: Vec<String> = self.cpu_us.iter().map(|us| format!("{:.0}", median(us))).collect();
        let (rate, p50, p99) = (median(&self.requests_per_s), median(&self.p50_us), median(&self.p99_us));
        write!(f, "{rate:.0}/s, p50 {p50:.0}, p99 {p99:.0}, CPU {}", cpu.join(" + "))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.cells
            .iter()
            .zip(SUBJECTS)
            .try_for_each(|(cell, subject)| write!(f, "\n    {subject:<16} {cell}"))
    }
}
