//! What an attempt claims of a limit that is for it, and what it has used of it in the end.

use std::sync::Arc;

use tollgate_config::CompiledLimit;
use tollgate_config::bundle::{Enforcement, Measure, Window};
use tollgate_terms::HashedText;

use crate::quota::{Charge, Claim, Unit};

/// Whether the exchange of an attempt was let in before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It was not: this is its first attempt that claims anything.
    First,
    /// It was, and is not asked for the request itself again.
    Again,
}

/// The claim of an attempt on the counter called `counter`. `most` tells the most that it can use of a measure; it is asked where that is taken
/// before the attempt.
pub fn claim(
    limit: &CompiledLimit,
    counter: HashedText,
    admission: Admission,
    most: impl FnOnce(&Measure) -> u64,
) -> Claim {
    let bound = &limit.limit;
    let reserved = bound.measure.as_ref().filter(|_| bound.enforcement == Enforcement::Reserve).map(most);
    let take = request(limit, admission).saturating_add(reserved.unwrap_or(0));
    Claim {
        key: counter,
        limit: bound.amount,
        window: Arc::clone(&limit.window),
        take,
        charge: if reserved.is_some() { Charge::Taken } else { Charge::Current },
        unit: match bound.measure {
            None => Unit::Requests,
            Some(Measure::Tokens(_)) => Unit::Tokens,
            Some(Measure::Money) => Unit::Money,
        },
        group: limit.group,
        // Who was let in is not turned away in the middle.
        shadow: bound.shadow || (admission == Admission::Again && take == 0),
        store: bound.store,
    }
}

/// What an attempt has used of a limit, of whose measure it used `measured`.
pub fn used(limit: &CompiledLimit, admission: Admission, measured: u64) -> u64 {
    let measured = if limit.limit.measure.is_some() { measured } else { 0 };
    request(limit, admission).saturating_add(measured)
}

/// What the request itself counts for.
fn request(limit: &CompiledLimit, admission: Admission) -> u64 {
    match (admission, &*limit.window) {
        // What is in flight was given back by the attempt before.
        (Admission::First, _) | (_, Window::InFlight) => limit.limit.request,
        (Admission::Again, _) => 0,
    }
}
