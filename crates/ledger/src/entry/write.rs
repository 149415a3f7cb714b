//! Writing entries from what the gateway has at hand, without making a message of owned texts first: it is done for each request.

use std::collections::BTreeMap;

use prost::Message;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};
use tollgate_chat::Loss;
use tollgate_exchange::{Facts, Opening, Record};
use tollgate_terms::{Delivery, Principal, Usage};

use super::{Attempt, BEGUN, Begun, ENDED, OPENED, SETTLED, source_label};

/// The first entry of a segment.
pub(crate) fn write_begun(begun: &Begun, payload: &mut Vec<u8>) {
    payload.push(BEGUN);
    payload.extend_from_slice(&begun.encode_to_vec());
}

/// An attempt that is about to be dispatched.
pub(crate) fn write_opened(opening: &Opening, payload: &mut Vec<u8>) {
    let Opening { facts, reserved } = opening;
    payload.push(OPENED);
    let mut members = Members(payload);
    members.facts(facts);
    for reserved in reserved {
        members.count::<17>(&reserved.limit, reserved.amount);
    }
}

/// An attempt that is over. If it `is_open` in the same segment, what was said of it there is not said again: that is half of all bytes.
pub(crate) fn write_settled(record: &Record, is_open: bool, payload: &mut Vec<u8>) {
    let Record {
        facts,
        served_model,
        outcome,
        fault,
        upstream_status,
        usage,
        usage_source,
        cost_nanodollars,
        charges,
        // Expressions and their mistakes are told by metrics.
        cost_errors: _,
        losses,
        duration,
        time_to_first_token,
        time_per_output_token,
        delivered,
    } = record;
    payload.push(if is_open { ENDED } else { SETTLED });
    let mut members = Members(payload);
    if is_open {
        members.id(facts);
    } else {
        members.facts(facts);
    }
    members.optional_text::<18>(served_model.as_ref().map(|model| model.as_str()));
    members.text::<19>(outcome.label());
    members.optional_text::<20>(*fault);
    members.optional_number::<21>(upstream_status.map(u64::from));
    members.usage(usage);
    members.text::<28>(source_label(*usage_source));
    members.optional_number::<29>(*cost_nanodollars);
    for charge in charges {
        members.count::<30>(&charge.limit, charge.used);
    }
    members.losses(losses);
    members.number::<32>(micros(*duration));
    members.optional_number::<33>(time_to_first_token.map(micros));
    members.optional_number::<34>(time_per_output_token.map(micros));
    members.number::<35>(u64::from(*delivered));
}

/// An attempt that was read: it is over if it has an outcome.
pub(crate) fn write_again(attempt: &Attempt, payload: &mut Vec<u8>) {
    payload.push(if attempt.outcome.is_empty() { OPENED } else { SETTLED });
    payload.extend_from_slice(&attempt.encode_to_vec());
}

/// Members of a message. As protobuf has it, numbers that are 0 and texts that are empty are not written, unless their absence
/// means something else.
struct Members<'a>(&'a mut Vec<u8>);

impl Members<'_> {
    /// What tells an attempt, and its row, from all others.
    fn id(&mut self, facts: &Facts) {
        self.text::<1>(&facts.request_id);
        self.number::<2>(u64::from(facts.attempt));
        self.number::<3>(facts.started_at_ms);
    }

    fn facts(&mut self, facts: &Facts) {
        self.id(facts);
        let Facts {
            request_id: _,
            attempt: _,
            started_at_ms: _,
            principal,
            route,
            backend,
            provider,
            operation,
            client_dialect,
            backend_dialect,
            delivery,
            requested_model,
            upstream_model,
        } = facts;
        let Principal { user, team, application, key_id } = &**principal;
        self.optional_text::<4>(user.as_deref());
        self.optional_text::<5>(team.as_deref());
        self.optional_text::<6>(application.as_deref());
        self.optional_text::<7>(key_id.as_deref());
        self.text::<8>(route.as_ref());
        self.text::<9>(backend.as_ref());
        self.text::<10>(provider);
        self.text::<11>(operation.metric_name(*client_dialect));
        self.text::<12>(client_dialect.label());
        self.text::<13>(backend_dialect.label());
        self.number::<14>(u64::from(*delivery == Delivery::Stream));
        self.text::<15>(requested_model.as_str());
        self.text::<16>(upstream_model.as_str());
    }

    fn usage(&mut self, usage: &Usage) {
        self.number::<22>(usage.input_tokens);
        self.number::<23>(usage.cached_input_tokens);
        self.number::<24>(usage.cache_creation_input_tokens);
        self.number::<25>(usage.output_tokens);
        self.number::<26>(usage.reasoning_tokens);
        self.number::<27>(usage.total_tokens());
    }

    fn text<const TAG: u32>(&mut self, text: &str) {
        self.optional_text::<TAG>(Some(text).filter(|text| !text.is_empty()));
    }

    fn optional_text<const TAG: u32>(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.begin::<TAG>(WireType::LengthDelimited, text.len() as u64);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    fn number<const TAG: u32>(&mut self, number: u64) {
        self.optional_number::<TAG>(Some(number).filter(|number| *number != 0));
    }

    fn optional_number<const TAG: u32>(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.begin::<TAG>(WireType::Varint, number);
        }
    }

    /// How many there are of each kind. Mostly there are none.
    fn losses(&mut self, losses: &[Loss]) {
        if losses.is_empty() {
            return;
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for loss in losses {
            *counts.entry(loss.kind.label()).or_default() += 1;
        }
        for (label, count) in counts {
            self.count::<31>(label, count);
        }
    }

    /// An entry of a map: a message of its own, whose members are the key, 1, and the value, 2.
    fn count<const TAG: u32>(&mut self, name: &str, count: u64) {
        let length = 1 + encoded_len_varint(name.len() as u64) + name.len() + 1 + encoded_len_varint(count);
        self.begin::<TAG>(WireType::LengthDelimited, length as u64);
        self.optional_text::<1>(Some(name));
        self.optional_number::<2>(Some(count));
    }

    /// A key, and the number or length behind it. That mostly takes one byte: then both are written at once.
    fn begin<const TAG: u32>(&mut self, wire_type: WireType, number: u64) {
        let key = TAG << 3 | wire_type as u32;
        match (key, u8::try_from(number)) {
            (..0x80, Ok(number @ ..0x80)) => self.0.extend_from_slice(&[key as u8, number]),
            (0x80..0x4000, Ok(number @ ..0x80)) => {
                self.0.extend_from_slice(&[key as u8 | 0x80, (key >> 7) as u8, number])
            }
            _ => {
                encode_varint(u64::from(key), self.0);
                encode_varint(number, self.0);
            }
        }
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_protobuf_has_them() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 1_795_600_000_000, u64::MAX] {
            let (mut short, mut long) = (Vec::new(), Vec::new());
            Members(&mut short).optional_number::<3>(Some(number));
            Members(&mut long).optional_number::<29>(Some(number));
            for (tag, own) in [(3, short), (29, long)] {
                let mut expected = Vec::new();
                prost::encoding::uint64::encode(tag, &number, &mut expected);
                assert_eq!(own, expected, "{tag} {number}");
            }
        }
    }
}
