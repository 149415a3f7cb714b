//! A pair of dialects, with what its client says and its backend answers.

mod answers;
mod gateway;
pub(crate) mod pair;
mod transcripts;

use bytes::Bytes;
use tollgate_terms::{Delivery, Dialect};

use pair::Pair;
use transcripts::Kind;

const CHAT_BYTES: usize = 4 << 10;

/// Bodies for the growth; the second to last is the transcript whose speed is told.
pub(crate) const TRANSCRIPT_BYTES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// One pair and what goes through it.
pub(crate) struct Case {
    pub(crate) pair: Pair,
    pub(crate) chat: Bytes,
    pub(crate) streamed_chat: Bytes,
    pub(crate) answer: Bytes,
    pub(crate) chunks: Vec<Bytes>,
    /// Of an agent, from short to long.
    pub(crate) transcripts: Vec<Bytes>,
}

impl Case {
    /// A case for each pair, the splices first.
    pub(crate) fn all() -> Result<Vec<Self>, String> {
        pair::all()?.into_iter().map(Self::new).collect()
    }

    /// The case of the pair that is called so.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let pair = pair::all()?.into_iter().find(|pair| pair.name() == name);
        Self::new(pair.ok_or_else(|| format!("no pair {name}"))?)
    }

    fn new(pair: Pair) -> Result<Self, String> {
        let (client, backend) = (pair.client, pair.backend);
        let nothing = || format!("no answer in {backend:?}");
        Ok(Self {
            chat: request(client, Kind::Chat, CHAT_BYTES, Delivery::Whole)?,
            streamed_chat: request(client, Kind::Chat, CHAT_BYTES, Delivery::Stream)?,
            answer: answers::whole(backend).ok_or_else(nothing)?,
            chunks: answers::stream(backend, pair.framing).ok_or_else(nothing)?,
            transcripts: (TRANSCRIPT_BYTES.into_iter())
                .map(|bytes| request(client, Kind::Agent, bytes, Delivery::Whole))
                .collect::<Result<_, _>>()?,
            pair,
        })
    }

    pub(crate) fn name(&self) -> String {
        self.pair.name()
    }
}

fn request(client: Dialect, kind: Kind, bytes: usize, delivery: Delivery) -> Result<Bytes, String> {
    let body = transcripts::request(client, kind, bytes, delivery);
    body.map(Bytes::from).ok_or_else(|| format!("no request in {client:?}"))
}
