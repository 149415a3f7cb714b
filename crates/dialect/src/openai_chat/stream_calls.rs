//! The calls of tools in one streamed choice, told apart.
//!
//! OpenAI numbers them and tells id and name first. Compatible servers leave out the number, the id or both, give all of
//! them the number 0, repeat id and name with each delta, or tell the name late; goldens: `anthropic_to_openai-calls_*`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::{BlockStart, Delta, Event};

use super::json_end::JsonEnd;
use crate::Unreadable;
use crate::ids::fingerprint;

/// Most calls in one choice: they are no unbounded memory for a provider to fill.
const CALLS_MAX: usize = 1024;

/// Most bytes that wait for the name of their call.
const HELD_BYTES_MAX: usize = 16 << 10;

/// A delta of a call.
#[derive(Default, Deserialize)]
pub(super) struct WireCall {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<WireFunction>,
    #[serde(default)]
    custom: Option<IgnoredAny>,
}

/// What is called, and the arguments as far as they are told.
#[derive(Default, Deserialize)]
pub(super) struct WireFunction {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

impl WireCall {
    /// The one call of the API before `tool_calls`, which has neither number nor id.
    pub(super) fn legacy(function: WireFunction) -> Self {
        Self { function: Some(function), ..Self::default() }
    }

    /// Whether it calls a tool that takes text instead of an object.
    pub(super) fn is_custom(&self) -> bool {
        self.custom.is_some()
    }
}

/// The calls so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    /// The provider's number of it.
    index: Option<usize>,
    /// What id and name were, if they have been told.
    id: Option<u64>,
    name: Option<u64>,
    arguments: JsonEnd,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Without a name so far: what has been told of it.
    Held {
        id: String,
        arguments: String,
    },
    /// It is this element of the choice.
    Open(usize),
    Closed,
}

impl Calls {
    /// Takes in a delta. `open` begins the element that a call is.
    pub(super) fn take(
        &mut self,
        choice: usize,
        wire: WireCall,
        out: &mut Vec<Event>,
        open: impl FnOnce(BlockStart, &mut Vec<Event>) -> usize,
    ) -> Result<(), Unreadable> {
        let function = wire.function.unwrap_or_default();
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (id, name) = (told(wire.id), told(function.name));
        let arguments = function.arguments.unwrap_or_default();
        let at = self.find(choice, wire.index, id.as_deref(), name.as_deref(), &arguments, out);
        if at == self.calls.len() {
            if at >= CALLS_MAX {
                return Err(Unreadable("more calls of tools than can be".to_owned()));
            }
            let state = State::Held { id: String::new(), arguments: String::new() };
            let arguments = JsonEnd::default();
            self.calls.push(Call { index: wire.index, id: None, name: None, arguments, state });
        }
        if name.is_some() && self.calls.get(at).is_some_and(|call| call.name.is_none()) {
            // An element begins: what is whole does not go on.
            self.close_whole(choice, out);
        }
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        if let (None, Some(id)) = (call.id, id) {
            call.id = Some(fingerprint(&id));
            if let State::Held { id: held, .. } = &mut call.state {
                *held = id;
            }
        }
        if let (None, Some(name)) = (call.name, name) {
            call.name = Some(fingerprint(&name));
            if let State::Held { id, arguments } = &mut call.state {
                let (id, held) = (std::mem::take(id), std::mem::take(arguments));
                let block = open(BlockStart::ToolUse { id, name }, out);
                call.state = State::Open(block);
                if !held.is_empty() {
                    out.push(Event::BlockDelta { choice, block, delta: Delta::Input(held.into()) });
                }
            }
        }
        call.more(choice, arguments, out)
    }

    /// Which call a delta belongs to; one after the last where it begins another.
    fn find(
        &mut self,
        choice: usize,
        index: Option<usize>,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
        out: &mut Vec<Event>,
    ) -> usize {
        let next = self.calls.len();
        let at = match (index, id) {
            (Some(index), _) => self.calls.iter().rposition(|call| call.index == Some(index)),
            (None, Some(id)) => {
                let id = Some(fingerprint(id));
                self.calls.iter().rposition(|call| call.id == id)
            }
            (None, None) => next.checked_sub(1),
        };
        match at.and_then(|at| self.calls.get_mut(at).map(|call| (at, call))) {
            None => next,
            Some((_, call)) if call.is_other(index, id, name, arguments) => {
                // The call that had the number has no more to say.
                call.close(choice, out);
                next
            }
            Some((at, _)) => at,
        }
    }

    /// Closes the calls whose arguments are a whole object.
    pub(super) fn close_whole(&mut self, choice: usize, out: &mut Vec<Event>) {
        let whole = self.calls.iter_mut().filter(|call| call.arguments.is_whole());
        whole.for_each(|call| call.close(choice, out));
    }

    /// Closes all calls.
    pub(super) fn close(&mut self, choice: usize, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        self.calls.iter_mut().for_each(|call| call.close(choice, out));
        let is_nameless = |call: &Call| match &call.state {
            State::Held { id, arguments } => !id.is_empty() || !arguments.trim().is_empty(),
            State::Open(_) | State::Closed => false,
        };
        if self.calls.iter().any(is_nameless) {
            return Err(Unreadable("a call of a tool without a name".to_owned()));
        }
        Ok(())
    }

    /// Whether any tool has been called.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.iter().all(|call| matches!(call.state, State::Held { .. }))
    }
}

impl Call {
    /// Whether a delta that could be of this call begins another one.
    fn is_other(&self, index: Option<usize>, id: Option<&str>, name: Option<&str>, arguments: &str) -> bool {
        let differs = |known: Option<u64>, told: Option<&str>| {
            known.zip(told).map(|(known, told)| known != fingerprint(told))
        };
        if let Some(differs) = differs(self.id, id) {
            return differs;
        }
        if differs(self.name, name) == Some(true) {
            return true;
        }
        // Some repeat the name with each piece of the arguments, which end only once.
        let is_named = id.is_some() || name.is_some();
        let has_more = index.is_none() || !arguments.trim().is_empty();
        is_named && has_more && self.arguments.is_whole()
    }

    fn more(&mut self, choice: usize, more: String, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if more.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            State::Held { id, arguments } => {
                if id.len() + arguments.len() + more.len() > HELD_BYTES_MAX {
                    return Err(Unreadable("a call of a tool without a name".to_owned()));
                }
                self.arguments.push(&more);
                arguments.push_str(&more);
            }
            State::Open(_) | State::Closed if self.arguments.is_whole() => {
                if !more.trim().is_empty() {
                    return Err(Unreadable("arguments after their end".to_owned()));
                }
            }
            State::Open(block) => {
                self.arguments.push(&more);
                out.push(Event::BlockDelta { choice, block: *block, delta: Delta::Input(more.into()) });
            }
            State::Closed if more.trim().is_empty() => {}
            State::Closed => return Err(Unreadable("arguments after their end".to_owned())),
        }
        Ok(())
    }

    fn close(&mut self, choice: usize, out: &mut Vec<Event>) {
        if let State::Open(block) = self.state {
            self.state = State::Closed;
            out.push(Event::BlockStop { choice, block });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A call as a test tells it: name, and the text of its arguments in pieces.
    fn calls() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
        let call = ("[ab]", 0..100_u32, 0..9_usize).prop_map(|(name, number, at)| {
            let text = json!({"x": number, "y": "}"}).to_string();
            let (one, two) = text.split_at(at);
            let pieces = [one, two].into_iter().filter(|piece| !piece.is_empty()).map(str::to_owned);
            (name, pieces.collect())
        });
        vec(call, 1..5)
    }

    fn told(deltas: &[Value]) -> Vec<(String, String)> {
        let mut calls = Calls::default();
        let mut events = Vec::new();
        let mut count = 0;
        for delta in deltas {
            let wire = serde_json::from_value(delta.clone()).expect("a delta");
            let open = |start, out: &mut Vec<Event>| {
                out.push(Event::BlockStart { choice: 0, block: count, start });
                count += 1;
                count - 1
            };
            calls.take(0, wire, &mut events, open).expect("a call");
        }
        calls.close(0, &mut events).expect("names");
        let mut told = Vec::new();
        for event in events {
            match event {
                Event::BlockStart { start: BlockStart::ToolUse { name, .. }, .. } => {
                    told.push((name, String::new()));
                }
                Event::BlockDelta { block, delta: Delta::Input(text), .. } => {
                    told[block].1.push_str(&text.as_str())
                }
                _ => {}
            }
        }
        told
    }

    proptest! {
        #[test]
        fn calls_are_told_apart_however_a_server_writes_them(
            calls in calls(),
            number in prop_oneof![Just("own"), Just("same"), Just("none")],
            id in prop_oneof![Just("first"), Just("each"), Just("none")],
            name in prop_oneof![Just("first"), Just("each"), Just("late")],
            begins_empty in any::<bool>(),
        ) {
            // A late name needs something else that tells where the call begins.
            prop_assume!(name != "late" || id != "none" || number == "own");
            // The same name again without anything else may be a repetition as well.
            prop_assume!(id != "none" || number == "own" || name != "each");
            prop_assume!(id != "none" || number != "same" || !begins_empty);
            let mut deltas = Vec::new();
            for (index, (called, pieces)) in calls.iter().enumerate() {
                let empty = begins_empty.then(String::new);
                let pieces: Vec<String> = empty.into_iter().chain(pieces.iter().cloned()).collect();
                let last = pieces.len() - 1;
                for (at, piece) in pieces.into_iter().enumerate() {
                    let here = |when: &str| when == "each" || (when == "first" && at == 0) || (when == "late" && at == last);
                    deltas.push(json!({
                        "index": match number { "own" => json!(index), "same" => json!(0), _ => Value::Null },
                        "id": here(id).then(|| format!("call_{index}")),
                        "function": {"name": here(name).then_some(called), "arguments": piece},
                    }));
                }
            }
            let expected: Vec<(String, String)> =
                calls.iter().map(|(name, pieces)| (name.clone(), pieces.concat())).collect();
            prop_assert_eq!(told(&deltas), expected, "{:?}", deltas);
        }
    }
}
