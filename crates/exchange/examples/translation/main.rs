//! What a chat costs in the core, for each pair of dialects: no sockets, one thread. `cargo xtask bench` runs it.
//!
//! Prints a line of JSON for each pair: medians over rounds, in each of which all pairs have their turn. The argument is how many.
//! Times are those that the thread has worked, so that what else a machine does counts less.

#![expect(clippy::disallowed_methods, reason = "an exchange is told the time")]

mod answers;
mod gateway;
mod pair;
mod transcripts;

use std::hint::black_box;
use std::io::Write;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tollgate_terms::Delivery;

use pair::{Asked, Pair};
use transcripts::Kind;

const CHAT_BYTES: usize = 4 << 10;

/// Bodies for the growth; the second to last is the transcript whose speed is told.
const TRANSCRIPT_BYTES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// Bytes of transcripts that are read for one figure.
const BATCH_BYTES: usize = 4 << 20;

const BATCH_CHATS: usize = 300;
const BATCH_STREAMS: usize = 8;
const ROUNDS: usize = 5;

/// What one pair says and hears, and how long it took so far.
struct Case {
    pair: Pair,
    chat: Bytes,
    streamed_chat: Bytes,
    answer: Bytes,
    chunks: Vec<Bytes>,
    transcripts: Vec<Bytes>,
    request_us: Vec<f64>,
    answer_us: Vec<f64>,
    event_us: Vec<f64>,
    /// By length of the transcript.
    byte_ns: Vec<Vec<f64>>,
    allocations: u64,
}

fn main() -> Result<(), String> {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut cases = pair::all()?.into_iter().map(Case::new).collect::<Result<Vec<_>, _>>()?;
    // The first round warms caches.
    for round in 0..=rounds {
        for case in &mut cases {
            case.run().map_err(|error| format!("{}: {error}", case.name()))?;
            if round == 0 {
                case.forget();
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for case in &cases {
        let splice = cases.iter().find(|other| other.is_splice() && other.pair.client == case.pair.client);
        let splice = splice.ok_or("no splice")?;
        writeln!(out, "{}", case.line(splice)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Case {
    fn new(pair: Pair) -> Result<Self, String> {
        let (client, backend) = (pair.client, pair.backend);
        let request = |kind, bytes, delivery| {
            let body = transcripts::request(client, kind, bytes, delivery);
            body.map(Bytes::from).ok_or_else(|| format!("no request in {client:?}"))
        };
        let nothing = || format!("no answer in {backend:?}");
        let transcript = |bytes| request(Kind::Agent, bytes, Delivery::Whole);
        Ok(Self {
            chat: request(Kind::Chat, CHAT_BYTES, Delivery::Whole)?,
            streamed_chat: request(Kind::Chat, CHAT_BYTES, Delivery::Stream)?,
            answer: answers::whole(backend).ok_or_else(nothing)?,
            chunks: answers::stream(backend, pair.framing).ok_or_else(nothing)?,
            transcripts: TRANSCRIPT_BYTES.into_iter().map(transcript).collect::<Result<_, _>>()?,
            request_us: Vec::new(),
            answer_us: Vec::new(),
            event_us: Vec::new(),
            byte_ns: vec![Vec::new(); TRANSCRIPT_BYTES.len()],
            allocations: 0,
            pair,
        })
    }

    fn is_splice(&self) -> bool {
        self.pair.client == self.pair.backend
    }

    fn name(&self) -> String {
        format!("{} to {}", self.pair.client.label(), self.pair.backend.label())
    }

    fn forget(&mut self) {
        let Self { request_us, answer_us, event_us, byte_ns, .. } = self;
        byte_ns.iter_mut().chain([request_us, answer_us, event_us]).for_each(Vec::clear);
    }

    /// One figure of each kind more.
    fn run(&mut self) -> Result<(), String> {
        let (asked, request_us) = self.ask(&self.chat, Delivery::Whole, BATCH_CHATS)?;
        let (_, answer_us) = timed(asked, |asked| self.pair.answer(asked, self.answer.clone()))?;
        let (asked, _) = self.ask(&self.streamed_chat, Delivery::Stream, BATCH_STREAMS)?;
        let (_, stream_us) = timed(asked, |asked| self.pair.stream(asked, &self.chunks))?;
        let mut byte_ns = Vec::new();
        for body in &self.transcripts {
            let (_, us) = self.ask(body, Delivery::Whole, BATCH_BYTES.div_ceil(body.len()))?;
            byte_ns.push(us * 1e3 / body.len() as f64);
        }
        let counted = allocation_counter::measure(|| {
            let head = self.pair.head(self.chat.len(), Delivery::Whole);
            let asked = self.pair.ask(head, self.chat.clone(), Delivery::Whole);
            // That it goes well has been seen above.
            let _ = black_box(asked.and_then(|asked| self.pair.answer(asked, self.answer.clone())));
        });
        self.allocations = counted.count_total;
        self.request_us.push(request_us);
        self.answer_us.push(answer_us);
        self.event_us.push(stream_us / self.chunks.len() as f64);
        self.byte_ns.iter_mut().zip(byte_ns).for_each(|(all, one)| all.push(one));
        Ok(())
    }

    /// Asks so many times.
    fn ask(&self, body: &Bytes, delivery: Delivery, times: usize) -> Result<(Vec<Asked>, f64), String> {
        let heads = (0..times).map(|_| self.pair.head(body.len(), delivery)).collect();
        timed(heads, |head| self.pair.ask(head, body.clone(), delivery))
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
            "pair": self.name(),
            "is_splice": self.is_splice(),
            "is_exchange": self.pair.is_exchange(),
            "request_us": median(&self.request_us),
            "answer_us": median(&self.answer_us),
            "event_us": median(&self.event_us),
            "mb_per_s": byte_ns.iter().rev().nth(1).map(|ns| 1e3 / ns),
            "allocations": self.allocations,
            "byte_ns": byte_ns,
            "growth": growth,
            "beside_splice": beside(&both(self), &both(splice)),
        })
    }
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
