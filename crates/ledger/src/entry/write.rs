//! Writing entries from what the gateway has at hand, without making a message of owned texts first: it is done for each request.

use std::collections::BTreeMap;

use prost::Message;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};
use tollgate_chat::Loss;
use tollgate_exchange::{Facts, Opening, Record};
use tollgate_terms::{Delivery, Principal, Usage};

use crate::frame::HEAD_BYTES;

use super::{Attempt, BEGUN, Begun, ENDED, NAMED, OPENED, SETTLED, source_label};

/// The first entry of a segment.
pub(crate) fn write_begun(begun: &Begun, payload: &mut Vec<u8>) {
    payload.push(BEGUN);
    payload.extend_from_slice(&begun.encode_to_vec());
}

/// Where the names of an entry are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In it.
    Whole,
    /// Under a number, which is put in by [`put_number`] once it is known.
    Numbered,
}

/// The key of member 36, which stands first. Its value takes four bytes, whatever it is.
const NUMBER: [u8; 2] = [0xa5, 0x02];

/// Puts the number of its names in an entry of that form.
pub(crate) fn put_number(frame: &mut [u8], number: u32) {
    let place = frame.get_mut(HEAD_BYTES + 1 + NUMBER.len()..).and_then(|rest| rest.first_chunk_mut());
    if let Some(place) = place {
        *place = number.to_le_bytes();
    }
}

/// Names, which are said under a number from here on.
pub(crate) fn write_names(number: u32, names: &[u8], payload: &mut Vec<u8>) {
    begin_numbered(NAMED, number, payload).0.extend_from_slice(names);
}

/// The names of an attempt that begins, in the place of what is in `names`.
pub(crate) fn write_names_of_opening(opening: &Opening, names: &mut Vec<u8>) {
    names.clear();
    let mut members = Members(names);
    members.facts(&opening.facts);
    opening.reserved.iter().for_each(|reserved| members.limit(&reserved.limit));
}

/// Those of its end.
pub(crate) fn write_names_of_end(record: &Record, names: &mut Vec<u8>) {
    names.clear();
    let mut members = Members(names);
    members.end(record);
    members.source(record);
    record.charges.iter().for_each(|charge| members.limit(&charge.limit));
}

/// An attempt that is about to be dispatched.
pub(crate) fn write_opened(opening: &Opening, form: Form, payload: &mut Vec<u8>) {
    let Opening { facts, reserved } = opening;
    let mut members = begin(OPENED, form, payload);
    members.id(facts);
    match form {
        Form::Whole => {
            members.facts(facts);
            reserved.iter().for_each(|reserved| members.count::<17>(&reserved.limit, reserved.amount));
        }
        Form::Numbered => reserved.iter().for_each(|reserved| members.amount(reserved.amount)),
    }
}

/// The end of an attempt that was opened in the same segment: what was said of it there is not said again.
pub(crate) fn write_ended(record: &Record, form: Form, payload: &mut Vec<u8>) {
    let mut members = begin(ENDED, form, payload);
    members.id(&record.facts);
    members.settled(record, form);
}

/// An attempt that is over, and of which nothing was said before.
pub(crate) fn write_settled(record: &Record, payload: &mut Vec<u8>) {
    let mut members = begin(SETTLED, Form::Whole, payload);
    members.id(&record.facts);
    members.facts(&record.facts);
    members.settled(record, Form::Whole);
}

/// Names that were read.
pub(crate) fn write_names_again(names: &Attempt, payload: &mut Vec<u8>) {
    payload.push(NAMED);
    payload.extend_from_slice(&names.encode_to_vec());
}

/// An attempt that was read: it is over if it has an outcome.
pub(crate) fn write_again(attempt: &Attempt, payload: &mut Vec<u8>) {
    payload.push(if attempt.outcome.is_empty() { OPENED } else { SETTLED });
    payload.extend_from_slice(&attempt.encode_to_vec());
}

fn begin(kind: u8, form: Form, payload: &mut Vec<u8>) -> Members<'_> {
    if form == Form::Numbered {
        return begin_numbered(kind, 0, payload);
    }
    payload.push(kind);
    Members(payload)
}

fn begin_numbered(kind: u8, number: u32, payload: &mut Vec<u8>) -> Members<'_> {
    payload.push(kind);
    payload.extend_from_slice(&NUMBER);
    payload.extend_from_slice(&number.to_le_bytes());
    Members(payload)
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

    /// All that is known of an attempt when it begins, but for what tells it from others.
    fn facts(&mut self, facts: &Facts) {
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

    /// All that is known of it when it ends.
    fn settled(&mut self, record: &Record, form: Form) {
        let Record {
            facts: _,
            served_model: _,
            outcome: _,
            fault: _,
            upstream_status,
            usage,
            usage_source: _,
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
        if form == Form::Whole {
            self.end(record);
        }
        self.optional_number::<21>(upstream_status.map(u64::from));
        self.usage(usage);
        if form == Form::Whole {
            self.source(record);
        }
        self.optional_number::<29>(*cost_nanodollars);
        for charge in charges {
            match form {
                Form::Whole => self.count::<30>(&charge.limit, charge.used),
                Form::Numbered => self.amount(charge.used),
            }
        }
        self.losses(losses);
        self.number::<32>(micros(*duration));
        self.optional_number::<33>(time_to_first_token.map(micros));
        self.optional_number::<34>(time_per_output_token.map(micros));
        self.number::<35>(u64::from(*delivered));
    }

    /// How it ended, and as whom it was served.
    fn end(&mut self, record: &Record) {
        self.optional_text::<18>(record.served_model.as_ref().map(|model| model.as_str()));
        self.text::<19>(record.outcome.label());
        self.optional_text::<20>(record.fault);
    }

    fn source(&mut self, record: &Record) {
        self.text::<28>(source_label(record.usage_source));
    }

    fn limit(&mut self, limit: &str) {
        self.optional_text::<38>(Some(limit));
    }

    fn amount(&mut self, amount: u64) {
        self.optional_number::<37>(Some(amount));
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
