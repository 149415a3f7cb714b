//! What the hub costs the whole gateway beside a splice, for each pair of dialects that a host serves: the chats and answers of the core's own figures.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::report::{Bound, median};
use super::{Load, Options, worked_for};
use crate::command;
use crate::machine::{self, Running, Server, free_port, testkit};

const CONNECTIONS: usize = 16;

/// Clients, each with the path that it asks.
const CLIENTS: [(&str, &str); 4] = [
    ("openai_chat", "/v1/chat/completions"),
    ("openai_responses", "/v1/responses"),
    ("anthropic_messages", "/v1/messages"),
    ("gemini", "/v1beta/models/m:generateContent"),
];

/// Backends: the dialect that they speak, and a schema by which every client is answered in it.
const BACKENDS: [(&str, &str); 4] = [
    ("openai_chat", "SageMaker"),
    ("anthropic_messages", "Anthropic"),
    ("gemini", "Gemini"),
    ("bedrock_converse", "AWSBedrock"),
];

/// Backends for the splices of OpenAI's clients. The last one is asked by those who name none.
const OPENAI: [&str; 2] = ["openai_responses", "openai_chat"];

/// What a pair takes.
pub(super) struct PairCost {
    pub(super) pair: String,
    /// Processor time of the gateway for a chat, beside that of the splice of its client.
    pub(super) beside_splice: f64,
}

/// Measures each pair and the splice of its client, in turn on one gateway.
pub(super) fn run(root: &Path, options: &Options) -> Result<Vec<PairCost>> {
    let folder = root.join("target/bench/bodies");
    fs::create_dir_all(&folder)?;
    let writer = root.join("target/release/examples/translation");
    command::said(&writer.to_string_lossy(), &["bodies", &folder.to_string_lossy()])?;
    let mut backends = Vec::new();
    let mut mocks: Vec<Running> = Vec::new();
    let hub = BACKENDS.iter().map(|(dialect, schema)| (named("hub", dialect), *schema, *dialect));
    let splices = OPENAI.iter().map(|dialect| (named("splice", dialect), "OpenAI", *dialect));
    for (name, schema, dialect) in hub.chain(splices) {
        let (mock, port) = mock(root, &folder, dialect)?;
        mocks.push(mock);
        backends.push((name, schema, port));
    }
    let backends: Vec<_> =
        backends.iter().map(|(name, schema, port)| (name.as_str(), *schema, *port)).collect();
    let resources = machine::write_backends(root, &backends)?;
    let gateway = machine::gateway(root, &resources)?;
    let mut costs = Vec::new();
    for (client, path) in CLIENTS {
        let splice = if OPENAI.contains(&client) { "splice" } else { "hub" };
        let splice = named(splice, client);
        let others = BACKENDS.iter().map(|(dialect, _)| *dialect).filter(|dialect| *dialect != client);
        for backend in others {
            let hub = named("hub", backend);
            let mut ratios = Vec::new();
            // The first round warms connections and caches.
            for round in 0..=options.rounds {
                let us = |name: &str| {
                    let chat = folder.join(format!("chat-{client}.json"));
                    cost(root, &gateway, (path, &chat, name), options)
                        .with_context(|| format!("{client} to {name}"))
                };
                let (own, other) = (us(&hub)?, us(&splice)?);
                if round > 0 {
                    ratios.push(own / other);
                }
            }
            costs.push(PairCost { pair: format!("{client} to {backend}"), beside_splice: median(&ratios) });
        }
    }
    Ok(costs)
}

/// The name of a backend, in which Kubernetes takes no underscore.
fn named(kind: &str, dialect: &str) -> String {
    format!("{kind}-{}", dialect.replace('_', "-"))
}

/// A backend that gives the answer of `dialect`.
fn mock(root: &Path, folder: &Path, dialect: &str) -> Result<(Running, u16)> {
    let port = free_port()?;
    let answer = folder.join(format!("answer-{dialect}.json")).to_string_lossy().into_owned();
    let mut mock =
        testkit(root, &["bench-mock", "--port", &port.to_string(), "--answer", &answer]).start()?;
    mock.wait_for_line("listening on")?;
    Ok((mock, port))
}

/// Processor time of the gateway for one chat with the backend called `name`, in microseconds.
fn cost(
    root: &Path,
    gateway: &Server,
    (path, chat, name): (&str, &PathBuf, &str),
    options: &Options,
) -> Result<f64> {
    let load =
        Load { name: "chat", connections: CONNECTIONS, body_bytes: 0, is_stream: false, bound: Bound::None };
    let (path, body) = (format!("--path={path}"), format!("--body={}", chat.display()));
    let header = format!("--header=x-backend: {name}");
    let (_, us) = worked_for(root, &load, gateway, options.millis, &[&path, &body, &header])?;
    Ok(us)
}
