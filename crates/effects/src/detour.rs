//! Whether a budget has something left for a request, or leads it to another model.

use std::sync::Arc;

use tollgate_exchange::Detour;

use crate::clock;
use crate::quota::{Quotas, Reserved};

/// Asks for a detour: which of its claims does not fit, if one does not. Where nobody knows, the request keeps its way.
pub async fn ask(detour: &Detour, quotas: &Quotas) -> Option<usize> {
    let reserving = quotas.reserve(detour.id.clone(), Arc::clone(&detour.claims), clock::now());
    match reserving.reserved().await {
        Reserved::Granted(reservation) => {
            reservation.settle(std::iter::repeat(0), clock::now());
            None
        }
        Reserved::Refused(refused) => Some(refused.at),
        Reserved::Failed(_) => None,
    }
}
