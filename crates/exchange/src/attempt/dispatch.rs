//! The way to the backend: the request is drafted, limits are asked, the credential is shown.

use std::sync::Arc;

use tollgate_config::bundle::{Proof, Unsigned};
use tollgate_dialect::Invalid;
use tollgate_policy::claim::Admission;
use tollgate_terms::{Fault, GatewayFault};

use super::{Attempt, State};
use crate::charge::Charging;
use crate::refusal::Refusal;
use crate::routed::ClientRequest;
use crate::stages::{DISPATCH, Draft, UpstreamRequest, run};
use crate::step::{Answer, Need, Offered, Step};

/// Why a request cannot be signed.
const ONE_HOST: &str = "requests are signed for one host, and the backend has several";

impl Attempt {
    /// Builds the request to the backend, from the client's own. `admission` tells whether an attempt before it was let in.
    pub fn on_dispatch(&mut self, client: &ClientRequest, admission: Admission) -> Step<UpstreamRequest> {
        let routed = Arc::clone(&self.routed);
        let Some(target) = routed.rule.targets.get(self.target) else { return self.internal() };
        let charging = Charging::new(&routed, client, target, admission);
        if let Some(limit) = charging.unpriced(&routed, target) {
            let model = routed.upstream_model(target).as_str();
            let message =
                format!("limit {limit:?} lets in no model without a known price, and {model:?} has none");
            let invalid =
                Invalid { code: Some("model_not_priced"), ..Invalid::unprocessable(message, "model") };
            self.is_kept_from_backend = true;
            return self.refuse(&Refusal::Invalid(invalid));
        }
        let mut draft = Draft::new(&routed, client, target, self.facts.backend_dialect);
        draft.answer_tokens_max = charging.answer_tokens_max();
        for stage in DISPATCH {
            if let Err(refusal) = run(stage, &mut draft) {
                return self.refuse(&refusal);
            }
        }
        self.asks_usage = draft.asks_usage;
        self.repeated = std::mem::take(&mut draft.repeated);
        self.losses = draft.losses;
        let request = draft.request;
        let credential = target.backend.credential.as_ref();
        let offered = credential.map(|credential| offered(client, &credential.override_headers));
        let claims = charging.claims();
        self.charging = charging;
        if claims.is_empty() {
            return self.ask_credential(request, offered.unwrap_or_default());
        }
        self.state = State::AwaitQuota(request, offered.unwrap_or_default());
        let id = self.facts.id();
        Step::Ask(Need::Quota { id, claims })
    }

    fn ask_credential(
        &mut self,
        request: UpstreamRequest,
        offered: Vec<Option<Offered>>,
    ) -> Step<UpstreamRequest> {
        let backend = self.target().map(|target| Arc::clone(&target.backend));
        match backend.filter(|backend| backend.credential.is_some()) {
            None => {
                self.state = State::AwaitHead;
                Step::Forward(request)
            }
            Some(backend) => {
                self.state = State::AwaitCredential(request);
                Step::Ask(Need::Credential { backend, offered })
            }
        }
    }

    /// Goes on, or not, once it is known how the limits stand.
    fn on_quota(
        &mut self,
        answer: Answer,
        request: UpstreamRequest,
        offered: Vec<Option<Offered>>,
    ) -> Step<UpstreamRequest> {
        match answer {
            Answer::Granted(standings) => self.charging.granted(standings),
            Answer::Unchecked => {
                if let Err(fault) = self.charging.unchecked() {
                    return self.refuse(&Refusal::Failed(Fault::Gateway(fault)));
                }
            }
            Answer::Exceeded { at, standings } => {
                let exceeded = self.charging.exceeded(at, &standings);
                self.is_kept_from_backend = self.charging.is_of_backend(at);
                // It is charged nothing.
                self.charging = Charging::default();
                return exceeded
                    .map_or_else(|| self.internal(), |exceeded| self.refuse(&Refusal::Exceeded(exceeded)));
            }
            _ => return self.internal(),
        }
        self.ask_credential(request, offered)
    }

    /// Takes the answer to what was asked.
    pub fn supply(&mut self, answer: Answer) -> Step<UpstreamRequest> {
        let mut request = match std::mem::replace(&mut self.state, State::AwaitHead) {
            State::AwaitCredential(request) => request,
            State::AwaitQuota(request, offered) => return self.on_quota(answer, request, offered),
            _ => return self.internal(),
        };
        match answer {
            Answer::Granted(_) | Answer::Exceeded { .. } | Answer::Unchecked => self.internal(),
            Answer::Credential(None) => Step::Forward(request),
            Answer::Credential(Some(proof)) => match self.show(&proof, &mut request) {
                Ok(()) => Step::Forward(request),
                Err(refusal) => self.refuse(&refusal),
            },
            Answer::MissingCredential => self.refuse(&Refusal::MissingCredential),
            Answer::HalfCredential => self.refuse(&Refusal::HalfCredential),
            Answer::UnavailableCredential => Step::Retry(Fault::Gateway(GatewayFault::Credential)),
        }
    }

    fn show(&self, proof: &Proof, request: &mut UpstreamRequest) -> Result<(), Refusal> {
        let target = self.target().ok_or(Refusal::MissingCredential)?;
        let backend = &target.backend;
        let credential = backend.credential.as_ref().ok_or(Refusal::MissingCredential)?;
        let authority = if credential.kind.is_signature() {
            backend.one_authority().ok_or_else(|| Refusal::Misconfigured { reason: ONE_HOST.to_owned() })?
        } else {
            String::new()
        };
        let unsigned = Unsigned {
            method: &request.method,
            authority: &authority,
            path: &request.path,
            body: &request.body,
            service: backend.schema.signing_service(),
            unix_s: self.facts.started_at_ms / 1000,
        };
        let shown = credential.kind.show(proof, unsigned, &mut request.headers);
        shown.map_err(|_| Refusal::MissingCredential)
    }
}

/// What the request brought in the headers called `names`, from which the backend takes a credential.
fn offered(client: &ClientRequest, names: &[String]) -> Vec<Option<Offered>> {
    let offered = |name: &String| {
        let mut credentials = client.credentials.iter();
        let (_, offered) = credentials.find(|(header, _)| header.as_str().eq_ignore_ascii_case(name))?;
        Some(offered.clone())
    };
    names.iter().map(offered).collect()
}
