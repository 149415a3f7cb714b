//! What becomes of claims on limits: whoever made them is told, and what was taken is kept for as long as they go on.

use tollgate_exchange::{Answer, Passage, Refusal};

use crate::clock;
use crate::quota::{Quotas, Reservation, Reserved};

/// Asks for what `passage` claims of limits. What it takes is given back, as far as that is done, when it is dropped.
///
/// # Errors
/// Why the request must not be passed on.
pub async fn admit(passage: &mut Passage, quotas: &Quotas) -> Result<Option<Reservation>, Refusal> {
    let (id, claims) = passage.claims();
    if claims.is_empty() {
        return Ok(None);
    }
    let reserved = quotas.reserve(id, claims, clock::now()).reserved().await;
    let (supplied, kept) = tell(reserved, |answer| passage.supply(answer), Result::is_ok);
    supplied.map(|()| kept)
}

/// Tells whoever made claims what became of them. Returns what it says to that, and what was taken: where nobody knows, only if it goes on.
pub(crate) fn tell<S>(
    reserved: Reserved,
    supply: impl FnOnce(Answer) -> S,
    goes_on: impl FnOnce(&S) -> bool,
) -> (S, Option<Reservation>) {
    match reserved {
        Reserved::Granted(mut granted) => {
            let said = supply(Answer::Granted(granted.take_standings()));
            (said, Some(granted))
        }
        Reserved::Refused(refused) => {
            (supply(Answer::Exceeded { at: refused.at, standings: refused.standings }), None)
        }
        Reserved::Failed(unchecked) => {
            let said = supply(Answer::Unchecked);
            let kept = goes_on(&said).then(|| unchecked.admit());
            (said, kept)
        }
    }
}
