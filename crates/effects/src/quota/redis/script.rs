//! What is asked of a Redis, in its words: two scripts, the names of their keys, and what they answer.

use std::sync::LazyLock;

use redis::{Cmd, Script, Value};
use tollgate_config::bundle::{CalendarPeriod, Window};
use tollgate_policy::quota::{Claim, Count, OnRefusal, Shape, Span, storable};
use tollgate_terms::AttemptId;

use super::settling::Line;

static RESERVE: LazyLock<Script> = LazyLock::new(|| Script::new(RESERVE_TEXT));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(SETTLE_TEXT));
const RESERVE_TEXT: &str = include_str!("reserve.lua");
const SETTLE_TEXT: &str = include_str!("settle.lua");

/// How long the mark of an attempt stays that is not over. One that takes longer is put right by what its gateway knows.
pub(super) const MARK_MS: u64 = 2 * 60 * 60 * 1000;

/// How long it is known that an attempt was settled: longer than it is tried.
const SETTLED_MS: u64 = 15 * 60 * 1000;

/// A counter stays so much longer than it counts, since clocks differ.
const GRACE_MS: u64 = 60 * 1000;

/// No key stays longer, so that the time at which it ends is a number for a Redis.
const STAY_MS_MAX: u64 = 1 << 42;

/// How a script is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By its hash: the server has it already.
    Hash,
    /// In full.
    Text,
}

/// The names of keys.
///
/// All of them have one hash tag, so that a script may touch any of them together: on a cluster, they are on one node.
pub(super) struct Names {
    tag: String,
}

impl Names {
    pub(super) fn new(tag: &str) -> Self {
        Self { tag: tag.replace(['{', '}'], "") }
    }

    fn mark(&self, id: Option<&AttemptId>) -> String {
        let id = id.map(ToString::to_string).unwrap_or_default();
        format!("{{{}}}:attempt:{id}", self.tag)
    }

    fn counter(&self, claim: &Claim, span: &Span) -> String {
        let tag = &self.tag;
        let key = &claim.key;
        let window = window(&claim.window);
        match span.shape {
            Shape::Whole => format!("{{{tag}}}:{window}:{}:{key}", span.slot),
            Shape::Sliced { .. } => format!("{{{tag}}}:{window}:{key}"),
        }
    }

    /// The command that takes claims. Without an id it leaves no mark.
    pub(super) fn reserve(
        &self,
        form: Form,
        id: Option<&AttemptId>,
        claims: &[Claim],
        spans: &[Span],
        on_refusal: OnRefusal,
    ) -> Cmd {
        let mut command = begin(form, &RESERVE, RESERVE_TEXT, claims.len() + 1);
        command.arg(self.mark(id));
        for (claim, span) in claims.iter().zip(spans) {
            command.arg(self.counter(claim, span));
        }
        // Where nothing is taken, there is nothing to take twice.
        let takes = claims.iter().any(|claim| claim.take > 0);
        command.arg(if takes && id.is_some() { MARK_MS } else { 0 });
        command.arg(match on_refusal {
            OnRefusal::Keep => "0",
            OnRefusal::Take => "1",
        });
        for (claim, span) in claims.iter().zip(spans) {
            match span.shape {
                Shape::Whole => command.arg(""),
                Shape::Sliced { oldest, .. } => command.arg(oldest),
            };
            command.arg(span.slot).arg(storable(claim.limit)).arg(storable(claim.take));
            match claim.group {
                Some(group) => command.arg(group),
                None => command.arg(""),
            };
            command.arg(u8::from(claim.shadow)).arg(stay_ms(span, span));
        }
        command
    }

    /// The command that puts right what an attempt has taken. `believes` says that it was taken even if there is no mark of it.
    pub(super) fn settle(&self, form: Form, id: &AttemptId, believes: Believes, lines: &[Line]) -> Cmd {
        let mut command = begin(form, &SETTLE, SETTLE_TEXT, 2 * lines.len() + 1);
        command.arg(self.mark(Some(id)));
        for line in lines {
            command.arg(self.counter(&line.claim, &line.then)).arg(self.counter(&line.claim, &line.charged));
        }
        command.arg(SETTLED_MS).arg(match believes {
            Believes::Mark => "0",
            Believes::Gateway => "1",
        });
        for line in lines {
            command.arg(storable(line.claim.take)).arg(line.actual);
            for span in [&line.then, &line.charged] {
                match span.shape {
                    Shape::Whole => command.arg(""),
                    Shape::Sliced { .. } => command.arg(span.slot),
                };
            }
            let counts = line.charged.counts_at(&line.now);
            command.arg(if counts { stay_ms(&line.charged, &line.now) } else { 0 });
        }
        command
    }
}

/// What says whether an attempt had taken what it wanted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believes {
    /// Its mark in the store.
    Mark,
    /// The gateway, since the mark may have ended.
    Gateway,
}

fn begin(form: Form, script: &Script, text: &str, keys: usize) -> Cmd {
    let mut command = match form {
        Form::Hash => redis::cmd("EVALSHA"),
        Form::Text => redis::cmd("EVAL"),
    };
    match form {
        Form::Hash => command.arg(script.get_hash()),
        Form::Text => command.arg(text),
    };
    command.arg(keys);
    command
}

fn stay_ms(span: &Span, now: &Span) -> u64 {
    span.end_ms.saturating_sub(now.now_ms).saturating_add(GRACE_MS).min(STAY_MS_MAX)
}

/// A window as part of a name.
fn window(window: &Window) -> String {
    match window {
        Window::Fixed { seconds } => format!("fixed{seconds}"),
        Window::Rolling { seconds } => format!("rolling{seconds}"),
        Window::InFlight => "inflight".to_owned(),
        Window::Calendar { period, time_zone } => {
            let period = match period {
                CalendarPeriod::Day => "day",
                CalendarPeriod::Week => "week",
                CalendarPeriod::Month => "month",
                CalendarPeriod::Year => "year",
            };
            format!("{period}@{time_zone}")
        }
    }
}

/// What the script that reserves has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) state: State,
    pub(super) counts: Vec<Count>,
}

/// What became of claims in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Refused,
    Granted,
    /// They were granted by the same request before: what it takes is in the counters already.
    GrantedBefore,
}

/// Reads the answer of the script that reserves; `None` if it is none.
pub(super) fn reply(value: &Value) -> Option<Reply> {
    let Value::Array(items) = value else { return None };
    let (state, counts) = items.split_first()?;
    let state = match state {
        Value::Int(0) => State::Refused,
        Value::Int(1) => State::Granted,
        Value::Int(2) => State::GrantedBefore,
        _ => return None,
    };
    let count = |pair: &[Value]| {
        let [Value::BulkString(used), Value::BulkString(oldest)] = pair else { return None };
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
        let oldest = if oldest.is_empty() { None } else { Some(number(oldest)?) };
        Some(Count { used: number(used)?, oldest })
    };
    Some(Reply { state, counts: counts.chunks(2).map(count).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_script_answers() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let value =
            Value::Array(vec![Value::Int(1), text("9007199254740992"), text("7"), text("0"), text("")]);
        let counts = vec![Count { used: 1 << 53, oldest: Some(7) }, Count::default()];
        assert_eq!(reply(&value), Some(Reply { state: State::Granted, counts }));
        assert_eq!(reply(&Value::Nil), None);
        assert_eq!(reply(&Value::Array(vec![Value::Int(1), text("1")])), None);
    }
}
