//! `tollgate demo`: mock model servers, the gateway in front of them, and what becomes of a few requests.

mod client;
mod mocks;
mod scenario;
pub(crate) mod table;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tollgate_config::Snapshot;
use tollgate_telemetry::AccessLog;

use crate::arguments::DemoArguments;
use crate::counters::Counters;
use crate::load;
use crate::origin::free_port;
use crate::paint::{Paint, Tint};
use crate::prices;
use crate::server::{Configuration, Part, Server, ServerOptions};
use crate::signals::Signals;
use scenario::{Scenario, scenarios};
use table::{Align, Cell, table};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The port of the gateway, where nobody else has it.
const PORT: u16 = 1975;

/// Batches of access log lines that may wait.
const LINES_MAX: usize = 64;

/// Longest wait for the access log line of a request that is over.
const LINE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long requests may take to finish at the end.
const GRACE: Duration = Duration::from_secs(2);

/// What the table shows of a line of the access log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(rename = "gen_ai.original.model")]
    requested_model: Option<String>,
    #[serde(rename = "gen_ai.response.model")]
    served_model: Option<String>,
    #[serde(rename = "tollgate.backend")]
    backend: Option<String>,
    #[serde(rename = "gen_ai.usage.input_tokens")]
    input_tokens: Option<u64>,
    #[serde(rename = "gen_ai.usage.output_tokens")]
    output_tokens: Option<u64>,
    #[serde(rename = "tollgate.cost_usd")]
    cost_usd: Option<f64>,
    time_to_first_token_ms: Option<f64>,
    #[serde(rename = "tollgate.outcome")]
    outcome: String,
    #[serde(rename = "tollgate.attempts")]
    attempts: u64,
    #[serde(rename = "tollgate.tried")]
    tried: Vec<Tried>,
    #[serde(rename = "tollgate.losses_total")]
    losses: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tried {
    backend: String,
    fault: Option<String>,
    status: Option<u16>,
}

/// One row: what was sent, and what became of it.
struct Row {
    name: &'static str,
    line: Line,
    took: Duration,
    mistake: Option<String>,
}

/// Runs the demo.
///
/// # Errors
/// When something cannot be started.
pub(crate) fn run(arguments: &DemoArguments, paint: Paint) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(show(arguments, paint))
}

async fn show(arguments: &DemoArguments, paint: Paint) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let mocks = mocks::start().await?;
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    let options = ServerOptions {
        admin_address: SocketAddr::new(LOCAL, 0),
        access_log: AccessLog::Channel(sender),
        counters: Counters::default(),
        ledger: None,
        workers: 1,
        part: Part::Embedded,
    };
    let port = port(arguments)?;
    let server = Server::start(options, configuration(&mocks.manifests(port))?)?;
    let address = SocketAddr::new(LOCAL, port);
    let mut rows = Vec::new();
    for scenario in scenarios() {
        rows.push(play(address, scenario, &lines).await?);
    }
    out.write_all(rows_table(&rows, paint).as_bytes())?;
    let failed = rows.iter().filter(|row| row.mistake.is_some()).count();
    if arguments.once {
        server.drain(GRACE).await;
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    out.write_all(invitation(address, server.admin_address(), paint).as_bytes())?;
    out.flush()?;
    std::thread::spawn(move || follow(&lines));
    Signals::take()?.next().await;
    server.drain(GRACE).await;
    Ok(ExitCode::SUCCESS)
}

/// Shows what becomes of further requests, until the program ends.
fn follow(lines: &Receiver<Vec<u8>>) {
    while let Ok(line) = lines.recv() {
        // Where nobody sees it, there is nobody to tell either.
        let _ = std::io::stdout().write_all(&line);
    }
}

fn port(arguments: &DemoArguments) -> Result<u16> {
    match arguments.port {
        Some(port) if port != 0 => Ok(port),
        None if !arguments.once && std::net::TcpListener::bind((LOCAL, PORT)).is_ok() => Ok(PORT),
        _ => free_port(LOCAL),
    }
}

fn configuration(manifests: &str) -> Result<Configuration> {
    let mut loaded = load::text("demo", manifests, LOCAL);
    prices::take_in(&[], &mut loaded);
    let (snapshot, diagnostics) = Snapshot::compile(std::mem::take(&mut loaded.bundle));
    loaded.add(diagnostics);
    if let Some(finding) = loaded.findings.first() {
        bail!("the demo's own configuration: {finding}");
    }
    let snapshot = Arc::new(snapshot.with_prices(loaded.prices));
    Ok(Configuration { snapshot, secrets: loaded.secrets, findings: Vec::new() })
}

#[expect(clippy::disallowed_methods, reason = "the demo is the client here, and measures as clients do")]
async fn play(address: SocketAddr, scenario: Scenario, lines: &Receiver<Vec<u8>>) -> Result<Row> {
    let began = Instant::now();
    let answer = client::post(address, scenario.path, &scenario.body).await?;
    let took = began.elapsed();
    let line = lines.recv_timeout(LINE_TIMEOUT).context("no access log line for a request")?;
    let line: Line = serde_json::from_slice(&line).context("the access log is not JSON")?;
    let mistake = scenario.mistake(&answer, line.attempts);
    Ok(Row { name: scenario.name, line, took, mistake })
}

fn rows_table(rows: &[Row], paint: Paint) -> String {
    let heading = [
        ("request", Align::Left),
        ("requested model", Align::Left),
        ("backend", Align::Left),
        ("served model", Align::Left),
        ("tokens in", Align::Right),
        ("out", Align::Right),
        ("cost", Align::Right),
        ("first token", Align::Right),
        ("total", Align::Right),
        ("outcome", Align::Left),
    ];
    table(&heading, &rows.iter().map(Row::cells).collect::<Vec<_>>(), paint)
}

impl Row {
    fn cells(&self) -> Vec<Cell> {
        let line = &self.line;
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("—").to_owned());
        let number = |number: Option<u64>| {
            Cell::from(number.map_or_else(|| "—".to_owned(), |number| number.to_string()))
        };
        let time =
            |ms: Option<f64>| Cell::from(ms.map_or_else(|| "—".to_owned(), |ms| format!("{ms:.1} ms")));
        let cost = Cell::from(line.cost_usd.map_or_else(|| "—".to_owned(), |cost| format!("${cost:.6}")));
        let backend = line.backend.as_deref().map(short).map(str::to_owned);
        vec![
            Cell { text: self.name.to_owned(), tint: Some(Tint::Strong) },
            text(&line.requested_model),
            text(&backend),
            text(&line.served_model),
            number(line.input_tokens),
            number(line.output_tokens),
            cost,
            time(line.time_to_first_token_ms),
            time(Some(self.took.as_secs_f64() * 1000.0)),
            self.outcome(),
        ]
    }

    fn outcome(&self) -> Cell {
        if let Some(mistake) = &self.mistake {
            return Cell { text: format!("FAILED: {mistake}"), tint: Some(Tint::Bad) };
        }
        let mut text = self.line.outcome.clone();
        if let [failed, _, ..] = self.line.tried.as_slice() {
            let status = failed.status.map(|status| status.to_string());
            let reason = status.or_else(|| failed.fault.clone()).unwrap_or_default();
            text.push_str(&format!(", after {} failed with {reason}", short(&failed.backend)));
        }
        if self.line.losses > 0 {
            text.push_str(&format!(", {} not translated", self.line.losses));
        }
        Cell { text, tint: Some(Tint::Good) }
    }
}

/// A backend without its namespace: the demo has only one.
fn short(backend: &str) -> &str {
    backend.rsplit('/').next().unwrap_or(backend)
}

fn invitation(address: SocketAddr, admin: SocketAddr, paint: Paint) -> String {
    let heading = |text| paint.tint(Tint::Strong, text);
    format!(
        "
{ready}

  curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{\"model\": \"gpt-4o-mini\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

  curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{\"model\": \"claude-sonnet-5\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

  curl http://{address}/v1/models
  curl http://{admin}/metrics

{openai}

  export OPENAI_BASE_URL=http://{address}/v1
  export OPENAI_API_KEY=any

{anthropic}

  export ANTHROPIC_BASE_URL=http://{address}
  export ANTHROPIC_API_KEY=any

Each request then shows up here as a line of the access log. Ctrl-C ends the demo.
",
        ready = heading("Try it yourself:"),
        openai = heading("With an OpenAI SDK:"),
        anthropic = heading("With an Anthropic SDK:"),
    )
}
