//! `tollgate-testkit`: the stand-ins as a program, for tests in other languages and for benchmarks.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tollgate_testkit::load::{self, Plan};
use tollgate_testkit::{bench_mock, continuing, mock};

/// Stand-ins for the world around the gateway
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A server that speaks every dialect, and fails when the model's name says so
    Mock {
        /// Port on 127.0.0.1; 0 is a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// A fast server with fixed answers
    BenchMock {
        /// Port on 127.0.0.1; 0 is a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Frames of text in a stream
        #[arg(long, default_value_t = 30)]
        events: usize,
        /// A file with what is answered to each request that wants no stream
        #[arg(long)]
        answer: Option<PathBuf>,
    },
    /// An external processor for Envoy that changes nothing
    Continue {
        /// Unix socket to listen on
        #[arg(long)]
        socket: PathBuf,
    },
    /// A closed loop of clients; prints the outcome as JSON
    Load {
        #[command(flatten)]
        target: Target,
        /// Clients at once
        #[arg(long, default_value_t = 16)]
        connections: usize,
        /// How long, in milliseconds
        #[arg(long, default_value_t = 3000)]
        millis: u64,
        /// Ask for streams
        #[arg(long)]
        stream: bool,
    },
    /// Streams that stay open until standard input ends
    Idle {
        #[command(flatten)]
        target: Target,
        /// How many
        #[arg(long, default_value_t = 1000)]
        streams: usize,
    },
}

#[derive(Args)]
struct Target {
    /// Address to load
    #[arg(long)]
    address: SocketAddr,
    /// Path to post to
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    /// Length of a request body, in bytes
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Messages in a request body
    #[arg(long, default_value_t = 1)]
    messages: usize,
    /// Model to ask for
    #[arg(long, default_value = "gpt-4o-mini")]
    model: String,
    /// A file with the request body, instead of one that is made
    #[arg(long)]
    body: Option<PathBuf>,
    /// One more header line
    #[arg(long = "header")]
    headers: Vec<String>,
}

impl Target {
    fn plan(self, connections: usize, duration: Duration, is_stream: bool) -> Result<Plan> {
        let Self { address, path, body_bytes, messages, model, body, headers } = self;
        let body = body.map(std::fs::read_to_string).transpose()?;
        Ok(Plan {
            address,
            path,
            connections,
            duration,
            body_bytes,
            messages,
            is_stream,
            model,
            body,
            headers,
        })
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, run(Arguments::parse().command))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Mock { port } => {
            let mock = mock::Mock::start_on(local(port)).await?;
            say(&format!("listening on {}", mock.address()));
            mock.wait().await;
        }
        Command::BenchMock { port, events, answer } => {
            let answer = answer.map(std::fs::read_to_string).transpose()?;
            let ready = |address| say(&format!("listening on {address}"));
            bench_mock::serve(local(port), events, answer.as_deref(), ready)
                .await
                .context("cannot listen")?;
        }
        Command::Continue { socket } => {
            let _server = continuing::serve(&socket)?;
            say("listening");
            std::future::pending::<()>().await;
        }
        Command::Load { target, connections, millis, stream } => {
            let outcome = load::run(target.plan(connections, Duration::from_millis(millis), stream)?).await;
            say(&serde_json::to_string(&outcome)?);
        }
        Command::Idle { target, streams } => {
            let held = load::hold(&target.plan(1, Duration::ZERO, true)?, streams).await?;
            say(&format!("holding {}", held.len()));
            let ended =
                tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            ended.await??;
            drop(held);
        }
    }
    Ok(())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Prints a line at once: somebody waits for it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
