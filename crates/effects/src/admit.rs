//! Whether limits let a request of a plain rule through.

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
    match quotas.reserve(id, claims, clock::now()).reserved().await {
        Reserved::Granted(reservation) => {
            passage.supply(Answer::Granted(reservation.standings().to_vec()))?;
            Ok(Some(reservation))
        }
        Reserved::Refused(refused) => {
            passage.supply(Answer::Exceeded { at: refused.at, standings: refused.standings })?;
            Ok(None)
        }
        Reserved::Failed(unchecked) => {
            passage.supply(Answer::Unchecked)?;
            Ok(Some(unchecked.admit()))
        }
    }
}
