//! Who counts the limits that a filter of Envoy can ask for: the gateway, or a rate limit service.

use crate::load::Loaded;
use crate::place::Spot;

/// Who counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The gateway, as all others.
    Gateway,
    /// A rate limit service.
    Service,
}

impl Keeper {
    /// The service, if one is named.
    pub(crate) fn of(service: Option<&Spot>) -> Self {
        if service.is_some() { Self::Service } else { Self::Gateway }
    }

    /// Hands limits of what was loaded over; those that stay join its findings.
    pub(crate) fn take_in(self, loaded: &mut Loaded) {
        if self == Self::Service {
            let stayed = tollgate_plan::envoy::hand_over(&mut loaded.bundle);
            loaded.add(stayed);
        }
    }
}
