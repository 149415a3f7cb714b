//! What a chat costs in the core, for each pair of dialects: no sockets, one thread. `cargo xtask bench` runs it.
//!
//! Prints a line of JSON for each pair: medians over rounds, in each of which all pairs have their turn. The argument is how many.
//! Times are those that the thread has worked, so that what else a machine does counts less.
//!
//! With the name of a pair (`"openai_chat to gemini"`) and a count it does as many requests of a chat with it, and with a third argument, `answers` or
//! `streams`, their answers too; with `shortest` or `longest` it reads that transcript instead. Nothing is timed, for a profiler that counts instructions.
//!
//! With `serde_json` and a count it has that library read and write the chat of OpenAI's clients and its answer so often, and do nothing else with them.
//!
//! With `bodies` and a folder it writes what each client asks and what each backend answers there, for a load through the whole gateway.

#![expect(clippy::disallowed_methods, reason = "an exchange is told the time")]

mod case;

use std::hint::black_box;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tollgate_terms::Delivery;

use case::Case;
use case::pair::Asked;

/// The gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of transcripts that are read for one figure.
const BATCH_BYTES: usize = 4 << 20;

/// Chats that are under way at once, as in the loads through the whole gateway, whose memory is used again by the next ones.
const CHATS_AT_ONCE: usize = 16;

const BATCHES: usize = 20;
const STREAMS: usize = 8;
const ROUNDS: usize = 5;

/// How long a case took, round by round.
struct Times {
    case: Case,
    request_us: Vec<f64>,
    answer_us: Vec<f64>,
    event_us: Vec<f64>,
    /// By length of the transcript.
    byte_ns: Vec<Vec<f64>>,
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = arguments.as_slice()
        && what == "bodies"
    {
        return write_bodies(Path::new(folder));
    }
    if let [pair, chats, rest @ ..] = arguments.as_slice() {
        let chats = chats.parse().map_err(|_| format!("no number of chats: {chats}"))?;
        if pair == "serde_json" {
            return read_and_write(chats);
        }
        return repeat(pair, chats, rest.first().map_or("", String::as_str));
    }
    let rounds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut cases: Vec<Times> = Case::all()?.into_iter().map(Times::new).collect();
    // The first round warms caches.
    for round in 0..=rounds {
        for case in &mut cases {
            case.run().map_err(|error| format!("{}: {error}", case.case.name()))?;
            if round == 0 {
                case.forget();
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for case in &cases {
        let client = case.case.pair.client;
        let splice = cases.iter().find(|other| other.is_splice() && other.case.pair.client == client);
        let splice = splice.ok_or("no splice")?;
        writeln!(out, "{}", case.line(splice)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes the chat of each client's dialect and the answer of each backend's.
fn write_bodies(folder: &Path) -> Result<(), String> {
    for Case { pair, chat, answer, .. } in Case::all()? {
        for (what, dialect, body) in [("chat", pair.client, chat), ("answer", pair.backend, answer)] {
            let path = folder.join(format!("{what}-{}.json", dialect.label()));
            std::fs::write(&path, body).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// What it takes to read a chat and its answer into a tree and to write them again, by the library that others use.
fn read_and_write(chats: usize) -> Result<(), String> {
    let Case { chat, answer, .. } = Case::named("openai_chat to openai_chat")?;
    for _ in 0..chats {
        for body in [&chat, &answer] {
            let read: serde_json::Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            black_box(serde_json::to_vec(black_box(&read)).map_err(|error| error.to_string())?);
        }
    }
    Ok(())
}

/// Does so many chats of one pair, for a profiler, and tells how long they are. It asks for no time: valgrind ends who does so by the kernel's own page.
fn repeat(pair: &str, chats: usize, what: &str) -> Result<(), String> {
    let case = Case::named(pair)?;
    let (chat, answer) = match what {
        "answers" => (Some(&case.chat), Some(Delivery::Whole)),
        "streams" => (Some(&case.streamed_chat), Some(Delivery::Stream)),
        "shortest" => (case.transcripts.first(), None),
        "longest" => (case.transcripts.last(), None),
        _ => (Some(&case.chat), None),
    };
    let chat = chat.ok_or("no transcript")?;
    let delivery = answer.unwrap_or(Delivery::Whole);
    writeln!(std::io::stdout(), "{} bytes", chat.len()).map_err(|error| error.to_string())?;
    for _ in 0..chats {
        let head = case.pair.head(chat.len(), delivery);
        let asked = black_box(case.pair.ask(head, chat.clone(), delivery)?);
        match answer {
            Some(Delivery::Whole) => drop(black_box(case.pair.answer(asked, case.answer.clone())?)),
            Some(Delivery::Stream) => drop(black_box(case.pair.stream(asked, &case.chunks)?)),
            None => {}
        }
    }
    Ok(())
}

impl Times {
    fn new(case: Case) -> Self {
        let byte_ns = vec![Vec::new(); case.transcripts.len()];
        Self { case, request_us: Vec::new(), answer_us: Vec::new(), event_us: Vec::new(), byte_ns }
    }

    fn is_splice(&self) -> bool {
        self.case.pair.client == self.case.pair.backend
    }

    fn forget(&mut self) {
        let Self { request_us, answer_us, event_us, byte_ns, .. } = self;
        byte_ns.iter_mut().chain([request_us, answer_us, event_us]).for_each(Vec::clear);
    }

    /// One figure of each kind more.
    fn run(&mut self) -> Result<(), String> {
        let case = &self.case;
        let (mut request_us, mut answer_us) = (0.0, 0.0);
        for _ in 0..BATCHES {
            let (asked, us) = ask(case, &case.chat, Delivery::Whole, CHATS_AT_ONCE)?;
            request_us += us / BATCHES as f64;
            let (_, us) = timed(asked, |asked| case.pair.answer(asked, case.answer.clone()))?;
            answer_us += us / BATCHES as f64;
        }
        let (asked, _) = ask(case, &case.streamed_chat, Delivery::Stream, STREAMS)?;
        let (_, stream_us) = timed(asked, |asked| case.pair.stream(asked, &case.chunks))?;
        for (body, byte_ns) in case.transcripts.iter().zip(&mut self.byte_ns) {
            let (_, us) = ask(case, body, Delivery::Whole, BATCH_BYTES.div_ceil(body.len()))?;
            byte_ns.push(us * 1e3 / body.len() as f64);
        }
        self.request_us.push(request_us);
        self.answer_us.push(answer_us);
        self.event_us.push(stream_us / case.chunks.len() as f64);
        Ok(())
    }

    fn line(&self, splice: &Self) -> serde_json::Value {
        let beside = |one: &[f64], other: &[f64]| {
            median(&one.iter().zip(other).map(|(one, other)| one / other).collect::<Vec<_>>())
        };
        let both = |case: &Self| -> Vec<f64> {
            case.request_us.iter().zip(&case.answer_us).map(|(request, answer)| request + answer).collect()
        };
        let byte_ns: Vec<f64> = self.byte_ns.iter().map(|all| median(all)).collect();
        let (shortest, longest) = (self.byte_ns.first(), self.byte_ns.last());
        let growth = shortest.zip(longest).map(|(shortest, longest)| beside(longest, shortest));
        json!({
            "pair": self.case.name(),
            "is_splice": self.is_splice(),
            "is_exchange": self.case.pair.is_exchange(),
            "request_us": median(&self.request_us),
            "answer_us": median(&self.answer_us),
            "event_us": median(&self.event_us),
            "mb_per_s": byte_ns.iter().rev().nth(1).map(|ns| 1e3 / ns),
            "byte_ns": byte_ns,
            "growth": growth,
            "beside_splice": beside(&both(self), &both(splice)),
        })
    }
}

/// Asks so many times.
fn ask(case: &Case, body: &Bytes, delivery: Delivery, times: usize) -> Result<(Vec<Asked>, f64), String> {
    let heads = (0..times).map(|_| case.pair.head(body.len(), delivery)).collect();
    timed(heads, |head| case.pair.ask(head, body.clone(), delivery))
}

/// Does `work` to each; what came of it, and the time of one in microseconds. What came is dropped outside of the time.
fn timed<T, R>(each: Vec<T>, work: impl Fn(T) -> Result<R, String>) -> Result<(Vec<R>, f64), String> {
    let count = each.len() as f64;
    let mut results = Vec::with_capacity(each.len());
    let began = worked_us();
    for one in each {
        results.push(black_box(work(black_box(one)))?);
    }
    let us = (worked_us() - began) / count;
    Ok((results, us))
}

/// How long this thread has worked, in microseconds.
fn worked_us() -> f64 {
    let worked = clock_gettime(ClockId::ThreadCPUTime);
    worked.tv_sec as f64 * 1e6 + worked.tv_nsec as f64 / 1e3
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
