//! What filters of Envoy do, where they can, instead of the gateway: count limits, or look at callers first.

use tollgate_plan::envoy::Proof;
use tollgate_terms::Secret;

use crate::arguments::Authentication;
use crate::load::Loaded;
use crate::place::Spot;

/// What they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keeper {
    /// Whether a rate limit service counts limits.
    has_service: bool,
    /// What of callers they look at first.
    proofs: Vec<Proof>,
}

impl Keeper {
    /// Those that a rate limit service is named for, if one is, and those that were asked for by name.
    pub(crate) fn of(service: Option<&Spot>, authentication: &[Authentication]) -> Self {
        let proofs = authentication.iter().map(|one| match one {
            Authentication::Keys => Proof::Keys,
            Authentication::Tokens => Proof::Tokens,
        });
        Self { has_service: service.is_some(), proofs: proofs.collect() }
    }

    /// The same, with limits handed over.
    pub(crate) fn with_service(self) -> Self {
        Self { has_service: true, ..self }
    }

    /// Hands over what was loaded; what stays joins its findings.
    pub(crate) fn take_in(&self, loaded: &mut Loaded) {
        if self.has_service {
            let stayed = tollgate_plan::envoy::hand_over(&mut loaded.bundle);
            loaded.add(stayed);
        }
        if !self.proofs.is_empty() {
            let Loaded { bundle, secrets, .. } = &mut *loaded;
            let secret = |key: &_| secrets.get(key).map(Secret::expose);
            let stayed = tollgate_plan::envoy::hand_callers_over(bundle, &self.proofs, secret);
            loaded.add(stayed);
        }
    }
}
