//! The way of a request for which a budget has nothing left, and that may go to another model instead of being refused.

use std::sync::Arc;

use tollgate_config::bundle::{OnExceeded, Window};
use tollgate_policy::claim::Admission;
use tollgate_policy::quota::Claim;
use tollgate_terms::{AttemptId, ModelName};

use crate::charge::Charging;
use crate::exchange::Exchange;
use crate::refusal::LocalReply;
use crate::routed::{ClientRequest, Routed};

/// What has to be asked before it is known which model a request goes to.
#[derive(Debug)]
pub struct Detour {
    /// Names the question.
    pub id: AttemptId,
    /// What the request would take of limits that lead elsewhere. It is only asked for: whoever gets it gives it back.
    pub claims: Arc<[Claim]>,
    /// Where each of them leads when it has nothing left.
    ways: Vec<(Arc<str>, ModelName)>,
}

/// What led a request to another model.
#[derive(Debug, Clone)]
pub(crate) struct Detoured {
    /// The model that the client asked for.
    pub(crate) asked: ModelName,
    /// The limits that have led it here. They refuse it no more.
    pub(crate) limits: Vec<Arc<str>>,
}

impl Exchange {
    /// What has to be asked of limits that lead to other models; `None` if there are none for this request.
    pub fn detour(&self, routed: &Routed, client: &ClientRequest) -> Option<Detour> {
        let leads = |limit: &tollgate_config::CompiledLimit| {
            matches!(limit.limit.on_exceeded, OnExceeded::Reroute(_)) && *limit.window != Window::InFlight
        };
        if !routed.rule.limits.iter().any(|limit| leads(limit)) {
            return None;
        }
        let target = routed.rule.targets.iter().find(|target| target.weight > 0)?;
        let charging = Charging::new(routed, client, target, Admission::First);
        let (claims, ways) = charging.leading_elsewhere().unzip::<Claim, _, Vec<_>, Vec<_>>();
        let id = AttemptId { request_id: Arc::clone(&routed.request_id), attempt: 0 };
        (!claims.is_empty()).then(|| Detour { id, claims: claims.into(), ways })
    }

    /// Routes a request anew because the limit at `at` has nothing left: as if it had asked for the model to which that leads.
    ///
    /// # Errors
    /// The reply to give when no rule takes it, or one that asks other things of its callers.
    pub fn take_detour(
        &mut self,
        (routed, client): (Arc<Routed>, ClientRequest),
        detour: &Detour,
        at: usize,
    ) -> Result<(Arc<Routed>, ClientRequest), Box<LocalReply>> {
        let Some((_, model)) = detour.ways.get(at) else { return Ok((routed, client)) };
        // All that lead to the same model are done with.
        let limits =
            detour.ways.iter().filter(|(_, other)| other == model).map(|(limit, _)| Arc::clone(limit));
        let detoured = Detoured { asked: routed.model.clone(), limits: limits.collect() };
        self.route_anew(&routed, &client, model, detoured).map(|routed| (routed, client))
    }
}
