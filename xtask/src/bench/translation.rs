//! Translation: what a chat takes in the core, for each pair of dialects, and what the hub costs the whole gateway beside a splice.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::hub::{self, PairCost};
use super::report::{Bound, Row};
use super::{Load, Measured, Options, instructions, worked_for};
use crate::machine::{self, Program};

/// Most instructions for each byte of the largest body, beside those for the smallest.
const INSTRUCTIONS_GROWTH_MAX: f64 = 1.1;

/// Fewest answers per second through the hub, beside the splice, and most processor time of the gateway.
const HUB_RATE_MIN: f64 = 0.5;
const HUB_CPU_MAX: f64 = 2.0;

/// Most time and most instructions of the core for a chat through the hub and its answer, beside those for a splice.
const HUB_CORE_MAX: f64 = 2.0;

/// Most time per byte of the largest body, beside that of the smallest.
const GROWTH_MAX: f64 = 1.5;

/// The core's own program.
const TRANSLATION: &str = "target/release/examples/translation";

/// How many times the rounds of the loads the core alone has, which take less long.
pub(super) const CORE_ROUNDS: usize = 3;

const CONNECTIONS: usize = 16;
const CHAT_BYTES: usize = 4 << 10;

/// Messages of the chat.
const MESSAGES: &str = "--messages=7";

/// The model that is spliced to its backend, and the one that goes through the hub.
const MODELS: [&str; 2] = ["--model=mistral", "--model=claude"];

/// What the core's own program says of a pair.
#[derive(Debug, Deserialize)]
pub(super) struct PairLine {
    pair: String,
    is_splice: bool,
    /// Whether a whole exchange was measured, or the translation alone.
    is_exchange: bool,
    request_us: f64,
    answer_us: f64,
    event_us: f64,
    mb_per_s: f64,
    /// Told by a program of its own, since what counts takes time.
    #[serde(skip)]
    allocations: u64,
    growth: f64,
    beside_splice: f64,
    /// Instructions for a chat and its answer, told by a program of its own too.
    #[serde(skip)]
    instructions: f64,
    #[serde(skip)]
    instructions_beside_splice: f64,
    /// Processor time of the whole gateway beside that of the splice, where a host serves the pair.
    #[serde(skip)]
    gateway_beside_splice: Option<f64>,
}

/// What another program says of a pair.
#[derive(Debug, Deserialize)]
struct Allocations {
    pair: String,
    allocations: u64,
}

/// Measures all pairs in the core and through the gateway, and one of them more closely.
pub(super) fn run(root: &Path, mock_port: u16, options: &Options) -> Result<(Vec<PairLine>, Vec<Row>)> {
    instructions::install(root)?;
    let mut pairs = pairs(root, options)?;
    let costs = hub::run(root, options)?;
    for PairCost { pair, beside_splice } in &costs {
        if let Some(line) = pairs.iter_mut().find(|line| line.pair == *pair) {
            line.gateway_beside_splice = Some(*beside_splice);
        }
    }
    let each = |value: fn(&PairLine) -> f64| pairs.iter().map(move |line| (line.pair.as_str(), value(line)));
    let program = root.join(TRANSLATION);
    let grown =
        pairs.iter().map(|line| Ok((line.pair.as_str(), instructions::growth(&program, &line.pair)?)));
    let in_core = |what| format!("{what}, chat of 4 KB in the core, beside the splice");
    let by_gateway = costs.iter().map(|cost| (cost.pair.as_str(), cost.beside_splice));
    let mut rows = vec![
        most("time per byte of 4 MB beside 64 KB", GROWTH_MAX, each(|line| line.growth))?,
        most(
            "instructions per byte of 4 MB beside 64 KB",
            INSTRUCTIONS_GROWTH_MAX,
            grown.collect::<Result<Vec<_>>>()?,
        )?,
        most(&in_core("time"), HUB_CORE_MAX, each(|line| line.beside_splice))?,
        most(&in_core("instructions"), HUB_CORE_MAX, each(|line| line.instructions_beside_splice))?,
        most("processor time, chat of 4 KB through the hub, beside the splice", HUB_CPU_MAX, by_gateway)?,
    ];
    let resources = machine::write_two_dialects(root, mock_port, "")?;
    for is_stream in [false, true] {
        rows.extend(through_gateway(root, &resources, is_stream, options)?);
    }
    Ok((pairs, rows))
}

fn pairs(root: &Path, options: &Options) -> Result<Vec<PairLine>> {
    let folder = root.join("target/release/examples");
    let rounds = (options.rounds * CORE_ROUNDS).to_string();
    let times = machine::measured(Program::new(root.join(TRANSLATION), &[&rounds]));
    let mut pairs: Vec<PairLine> = machine::json_lines(times)?;
    let counted: Vec<Allocations> = machine::json_lines(Program::new(folder.join("allocations"), &[]))?;
    for Allocations { pair, allocations } in counted {
        if let Some(line) = pairs.iter_mut().find(|line| line.pair == pair) {
            line.allocations = allocations;
        }
    }
    for line in &mut pairs {
        line.instructions = instructions::of_chat(&root.join(TRANSLATION), &line.pair)?;
    }
    let splices: Vec<(String, f64)> = pairs
        .iter()
        .filter(|line| line.is_splice)
        .map(|line| (line.client().to_owned(), line.instructions))
        .collect();
    for line in &mut pairs {
        let splice = splices.iter().find(|(client, _)| client == line.client());
        let (_, splice) = splice.with_context(|| format!("no splice for {}", line.pair))?;
        line.instructions_beside_splice = line.instructions / splice;
    }
    Ok(pairs)
}

impl PairLine {
    /// The dialect of the client.
    fn client(&self) -> &str {
        self.pair.split(' ').next().unwrap_or_default()
    }
}

/// The pair of which most is told, as a row.
fn most<'a>(what: &str, bound: f64, of: impl IntoIterator<Item = (&'a str, f64)>) -> Result<Row> {
    let most = of.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (pair, value) = most.context("no pair")?;
    Ok(Row::ratio(&format!("{what}, at most: {pair}"), Bound::AtMost(bound), value))
}

/// The hub beside the splice, in turn on the same gateway: answers, and the time that it works for each.
fn through_gateway(root: &Path, resources: &Path, is_stream: bool, options: &Options) -> Result<Vec<Row>> {
    let name = if is_stream { "stream of 30 events to a chat of 4 KB" } else { "chat of 4 KB" };
    let load = Load { name, connections: CONNECTIONS, body_bytes: CHAT_BYTES, is_stream, bound: Bound::None };
    let gateway = machine::gateway(root, resources)?;
    let mut measured: [Vec<Measured>; 2] = Default::default();
    let mut cpu_us: [Vec<f64>; 2] = Default::default();
    // The first round warms connections and caches.
    for round in 0..=options.rounds {
        for ((model, measured), cpu_us) in MODELS.iter().zip(&mut measured).zip(&mut cpu_us) {
            let more = [MESSAGES, *model];
            let (one, us) = worked_for(root, &load, &gateway, options.millis, &more).context(name)?;
            if round > 0 {
                cpu_us.push(us);
                measured.push(one);
            }
        }
    }
    let ([splice, hub], [splice_us, hub_us]) = (measured, cpu_us);
    let bounds = if is_stream {
        [Bound::None, Bound::None]
    } else {
        [Bound::RateAtLeast(HUB_RATE_MIN), Bound::CpuAtMost(HUB_CPU_MAX)]
    };
    let [rate, cpu] = bounds;
    Ok(vec![
        Row::compared(&format!("{name} through the hub, beside the splice"), rate, &hub, &splice),
        Row::against(
            &format!("processor time, {name} through the hub, beside the splice"),
            cpu,
            &hub_us,
            &splice_us,
        ),
    ])
}

/// The table of pairs.
pub(super) fn table(pairs: &[PairLine]) -> String {
    let mut table = "\nTranslation in the core alone, on one thread without sockets: from the client's dialect to the backend's, a splice where \
        the two are one. Microseconds for the request of a 4 KB chat, for its whole answer and for each event of a stream of 300, \
        the two first beside the splice of the client's dialect, instructions and allocations for the two, and the speed of reading and saying an \
        agent's transcript of 1 MB. Pairs with a star have no host that is asked so; theirs is the translation without the exchange \
        around it. The same chats and answers through the gateway: its processor time for one beside that for one of the splice.\n\n\
        | pair | request | answer | both, beside the splice | instructions | beside the splice | through the gateway | event | MB/s on 1 MB | allocations | per byte, 4 MB beside 64 KB |\n\
        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for line in pairs {
        let PairLine {
            pair,
            request_us,
            answer_us,
            event_us,
            mb_per_s,
            instructions,
            allocations,
            growth,
            ..
        } = line;
        let star = if line.is_exchange { "" } else { " *" };
        let beside = |times: String| if line.is_splice { String::new() } else { times };
        let instructions_beside = beside(format!("{:.2}x", line.instructions_beside_splice));
        let beside = beside(format!("{:.2}x", line.beside_splice));
        let gateway = line.gateway_beside_splice.map(|beside| format!("{beside:.2}x")).unwrap_or_default();
        table.push_str(&format!(
            "| {pair}{star} | {request_us:.1} | {answer_us:.1} | {beside} | {instructions:.0} | {instructions_beside} | {gateway} | {event_us:.2} | {mb_per_s:.0} | {allocations} | {growth:.2}x |\n"
        ));
    }
    table
}
