//! What has arrived, for tests to ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// Requests that are kept.
const SEEN_MAX: usize = 1000;

/// One request that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Query; empty when there is none.
    pub query: String,
    /// Headers with lower-case names; values of one name joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body, when it is JSON.
    pub json: Option<Value>,
    /// The body, when it is text.
    pub text: Option<String>,
    /// Its length in bytes.
    pub bytes: usize,
    /// Whether the client left before it had the whole answer.
    pub left_early: bool,
    /// What the answer says that it took, if it is the whole answer to a chat.
    pub served: Option<Served>,
}

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Of the prompt.
    pub input_tokens: u64,
    /// Of the answer.
    pub output_tokens: u64,
}

#[derive(Debug, Default)]
struct State {
    seen: VecDeque<(u64, Seen)>,
    next: u64,
    failures: BTreeMap<String, u32>,
}

/// Keeps what has arrived.
#[derive(Debug, Default)]
pub(super) struct Oracle(Arc<Mutex<State>>);

impl Oracle {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, head: &hyper::http::request::Parts, body: &Bytes) -> Attendance {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &head.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let joined = headers.entry(name.as_str().to_owned()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&value);
        }
        let seen = Seen {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers,
            json: serde_json::from_slice(body).ok(),
            text: String::from_utf8(body.to_vec()).ok(),
            bytes: body.len(),
            left_early: false,
            served: None,
        };
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.seen.push_back((number, seen));
        if state.seen.len() > SEEN_MAX {
            state.seen.pop_front();
        }
        Attendance(Some((Arc::clone(&self.0), number)))
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.state().seen.iter().map(|(_, seen)| seen.clone()).collect()
    }

    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.seen.clear();
        state.failures.clear();
    }

    /// Counts one more failure of `model` and tells how many there were before.
    pub(super) fn fail(&self, model: &str) -> u32 {
        let mut state = self.state();
        let failures = state.failures.entry(model.to_owned()).or_default();
        *failures += 1;
        *failures - 1
    }
}

/// Whether the client is still there; dropped early, it left.
#[derive(Debug)]
pub(super) struct Attendance(Option<(Arc<Mutex<State>>, u64)>);

impl Attendance {
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// The client is sent an answer that says so.
    pub(super) fn serves(&self, served: Served) {
        let Some((state, number)) = &self.0 else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seen)) = state.seen.iter_mut().find(|(other, _)| other == number) {
            seen.served = Some(served);
        }
    }

    /// The client has everything.
    pub(super) fn complete(&mut self) {
        self.0 = None;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let Some((state, number)) = self.0.take() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seen)) = state.seen.iter_mut().find(|(other, _)| *other == number) {
            seen.left_early = true;
        }
    }
}
