//! One client request: from its head to the request phase's end, and its summary.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use tollgate_config::{Entry, Snapshot};
use tollgate_policy::authorize::{Granted, Keyring, Vouched, Wanted};
use tollgate_terms::{BackendName, Dialect, Fault, ModelName, Principal, RouteName};

use crate::detour::Detoured;
use crate::entry::{self, Told};
use crate::explain::Explain;
use crate::headers;
use crate::open::{AwaitBody, Opened, known_models, open};
use crate::passage::{Decided, Passage};
use crate::record::{Outcome, Record, Summary};
use crate::refusal::{LocalReply, Refusal};
use crate::routed::{ClientRequest, Routed};
use crate::shape::Shape;

/// Most headers of a request.
pub(crate) const HEADERS_MAX: usize = 100;

/// Most bytes of the path and the headers of a request.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// How often an exchange reads on with keys that it has missed: once for each of so many issuers.
const RETRIES_MAX: u8 = 3;

/// The id and the moment of an exchange: what a pure core cannot make by itself.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Unique id, visible ASCII.
    pub request_id: Arc<str>,
    /// When the request head arrived.
    pub at: Instant,
    /// The same moment, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The keys of callers that are good at that moment.
    pub keyring: Arc<Keyring>,
    /// What a filter in front of the gateway has verified of the tokens of its caller.
    pub vouched: Vec<Vouched>,
}

/// The head of a request, as a data plane parsed it.
#[derive(Debug)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// Path, without the query.
    pub path: String,
    /// Query, without its question mark.
    pub query: Option<String>,
    /// Host name asked for, port included; `None` when there is none or more than one.
    pub host: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// The listener that took it.
    pub listener: Arc<str>,
    /// The client's address, for the access log.
    pub client_address: String,
    /// Whether the framing announces a body.
    pub body: BodyFraming,
}

/// What the framing of a request says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    Absent,
    /// There is one, of this many bytes.
    Sized(u64),
    /// There is one, of unknown length.
    Unsized,
}

/// How the exchange wants the request body.
#[derive(Debug)]
pub enum BodyPlan {
    /// All of it, up to this many bytes.
    Whole {
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// Not at all: it goes to a backend as it comes.
    Pass(Box<Passage>),
}

/// How an exchange ended, as its data plane saw it.
#[derive(Debug)]
pub struct End {
    /// Status sent, or 499 when the client left before there was one.
    pub status: u16,
    /// The outcome.
    pub outcome: Outcome,
    /// Label of the fault or refusal.
    pub fault: Option<&'static str>,
    /// How many attempts were made, those included of which the data plane knows nothing else.
    pub attempts_made: u32,
    /// Every attempt that it knows.
    pub attempts: Vec<Record>,
    /// Bytes of the response body that were sent.
    pub response_body_bytes: u64,
    /// When.
    pub at: Instant,
}

/// One client request and its answer.
#[derive(Debug)]
pub struct Exchange {
    arrival: Arrival,
    head: RequestHead,
    /// Who calls, as far as it is known.
    principal: Arc<Principal>,
    /// What a data plane that routes by itself has to change before it does.
    told: Told,
    /// Keys that this exchange has missed.
    missed: Option<Wanted>,
    /// How often it may still read on with others.
    retries_left: u8,
    state: State,
    request_body_bytes: u64,
}

/// What the exchange waits for.
#[derive(Debug)]
enum State {
    /// The body of a request that is served.
    AwaitBody(AwaitBody),
    /// Its attempts.
    Routed(Arc<Routed>),
    /// The end of a request that a plain rule took.
    Plain {
        route: RouteName,
        /// Who was asked.
        backend: Option<BackendName>,
        dialect: Dialect,
    },
    /// Nothing: it was answered here.
    Answered {
        /// Whose words the answer was in.
        dialect: Dialect,
    },
}

impl Exchange {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// The reply to give at once, when no body is needed to know it.
    pub fn new(
        snapshot: &Arc<Snapshot>,
        head: RequestHead,
        arrival: Arrival,
    ) -> (Self, Result<BodyPlan, LocalReply>) {
        let mut exchange = Self::answered(head, arrival);
        let plan = exchange.read_head(snapshot).map_err(|reply| *reply);
        (exchange, plan)
    }

    /// Reads the head once more, with the keys of callers that it has missed in those of its arrival.
    ///
    /// # Errors
    /// As those of [`Exchange::new`].
    pub fn retry_head(
        &mut self,
        snapshot: &Arc<Snapshot>,
        keyring: Arc<Keyring>,
    ) -> Result<BodyPlan, Box<LocalReply>> {
        self.arrival.keyring = keyring;
        self.read_head(snapshot)
    }

    /// One to which nothing more than a reply belongs.
    fn answered(head: RequestHead, arrival: Arrival) -> Self {
        let dialect = tollgate_dialect::error_dialect(&head.path, &head.headers);
        Self {
            arrival,
            head,
            principal: Arc::default(),
            told: Told::default(),
            missed: None,
            retries_left: RETRIES_MAX,
            state: State::Answered { dialect },
            request_body_bytes: 0,
        }
    }

    fn read_head(&mut self, snapshot: &Arc<Snapshot>) -> Result<BodyPlan, Box<LocalReply>> {
        let (head, arrival) = (&mut self.head, &self.arrival);
        let host = head.host.as_deref().unwrap_or_default();
        let entries = snapshot.entries(&head.listener, host);
        let remove = entry::take_owned_out(entries, &mut head.headers);
        let path = entry::path_left(entries, head);
        self.told = Told { remove, path, ..Told::default() };
        match open(snapshot, head, arrival) {
            Ok(Opened::Await(mut await_body)) => {
                let plan = BodyPlan::Whole { bytes_max: await_body.bytes_max };
                if let Some(granted) = &mut await_body.granted {
                    self.principal = Arc::clone(&granted.principal);
                    entry::tell(granted, &mut head.headers);
                    // They are in the head now.
                    self.told.set = std::mem::take(&mut granted.headers);
                }
                self.state = State::AwaitBody(await_body);
                Ok(plan)
            }
            Ok(Opened::Plain(Decided { route, dialect, principal, wanted, outcome })) => {
                (self.principal, self.missed) = (principal, wanted);
                self.told = outcome.as_ref().map(|passage| passage.told.clone()).unwrap_or_default();
                self.state = State::Plain { route, backend: None, dialect };
                outcome.map(BodyPlan::Pass).map_err(Box::new)
            }
            Ok(Opened::Reply(reply, principal)) => {
                self.principal = principal;
                Err(Box::new(reply))
            }
            Err(refusal) => {
                self.missed = refusal.wanted().cloned();
                Err(Box::new(self.refuse(&refusal)))
            }
        }
    }

    /// An exchange about a head that its data plane could not read: all that can be done is to say so, which the reply does.
    ///
    /// `head` has what is known of it.
    pub fn unread(head: RequestHead, arrival: Arrival, refusal: &Refusal) -> (Self, LocalReply) {
        let exchange = Self::answered(head, arrival);
        let reply = exchange.refuse(refusal);
        (exchange, reply)
    }

    /// Takes the whole request body and routes the request.
    ///
    /// # Errors
    /// The reply to give instead of calling a backend. If keys were missed, the body may be taken again, with others.
    pub fn on_request_body(&mut self, body: Bytes) -> Result<(Arc<Routed>, ClientRequest), Box<LocalReply>> {
        self.request_body_bytes = body.len() as u64;
        let routed = match &self.state {
            State::AwaitBody(await_body) => route(await_body, &mut self.head, &self.arrival, body),
            State::Routed(_) | State::Plain { .. } | State::Answered { .. } => Err(Refusal::BodyBroken),
        };
        match routed {
            Ok((routed, client)) => {
                self.principal = Arc::clone(&routed.principal);
                self.state = State::Routed(Arc::clone(&routed));
                Ok((routed, client))
            }
            Err(refusal) => {
                self.missed = refusal.wanted().cloned();
                let reply = self.refuse(&refusal);
                if self.missed.is_none() {
                    self.state = State::Answered { dialect: self.dialect() };
                }
                Err(Box::new(reply))
            }
        }
    }

    /// Takes the whole request body once more, with the keys of callers that were missed before.
    ///
    /// # Errors
    /// As those of [`Exchange::on_request_body`].
    pub fn retry_body(
        &mut self,
        body: Bytes,
        keyring: Arc<Keyring>,
    ) -> Result<(Arc<Routed>, ClientRequest), Box<LocalReply>> {
        self.arrival.keyring = keyring;
        self.on_request_body(body)
    }

    /// Routes the request of `routed` as if it had asked for `model`.
    ///
    /// # Errors
    /// The reply to give instead of calling a backend.
    pub(crate) fn route_anew(
        &mut self,
        routed: &Routed,
        client: &ClientRequest,
        model: &ModelName,
        detoured: Detoured,
    ) -> Result<Arc<Routed>, Box<LocalReply>> {
        match led_to((&self.head, &self.arrival), (routed, client), model, detoured) {
            Ok(led) => {
                let led = Arc::new(led);
                self.state = State::Routed(Arc::clone(&led));
                Ok(led)
            }
            Err(refusal) => Err(Box::new(self.refuse(&refusal))),
        }
    }

    /// The reply that says no to this exchange, in the client's own dialect.
    pub fn refuse(&self, refusal: &Refusal) -> LocalReply {
        let reply = refusal.reply(self.dialect(), &self.arrival.request_id);
        Shape::of_head(&self.head).reply(reply)
    }

    /// The reply when nobody serves the path.
    pub fn not_found(&self) -> LocalReply {
        self.refuse(&Refusal::UnknownPath { path: self.head.path.clone() })
    }

    /// The reply when every attempt failed and `fault` was the last.
    pub fn fail(&self, fault: &Fault) -> LocalReply {
        self.refuse(&Refusal::Failed(fault.clone()))
    }

    /// The id of the exchange.
    pub fn request_id(&self) -> &Arc<str> {
        &self.arrival.request_id
    }

    /// Keys that this exchange was refused for lack of, and those that it had: it may read on if they come. Told once, and of a few key
    /// sets only.
    pub fn take_missed_keys(&mut self) -> Option<(Wanted, Arc<Keyring>)> {
        let missed = self.missed.take();
        self.retries_left = self.retries_left.checked_sub(1)?;
        missed.map(|wanted| (wanted, Arc::clone(&self.arrival.keyring)))
    }

    /// What a data plane that routes by itself has to change in the head before it does.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// When the exchange began.
    pub fn arrived(&self) -> Instant {
        self.arrival.at
    }

    /// The client's dialect, or the one in which errors are best told where the path says none.
    pub fn dialect(&self) -> Dialect {
        match &self.state {
            State::AwaitBody(await_body) => await_body.dialect,
            State::Routed(routed) => routed.dialect,
            State::Plain { dialect, .. } | State::Answered { dialect } => *dialect,
        }
    }

    /// Notes which backend a request of a plain rule goes to.
    pub fn pass_to(&mut self, passed_to: &BackendName) {
        if let State::Plain { backend, .. } = &mut self.state {
            *backend = Some(passed_to.clone());
        }
    }

    /// Notes bytes of the body of a request of a plain rule that have gone to its backend.
    pub fn add_request_bytes(&mut self, bytes: u64) {
        self.request_body_bytes += bytes;
    }

    /// The fact sheet of the exchange, once it is over.
    pub fn finish(self, end: End) -> Summary {
        let mut passed_to = None;
        let (operation, dialect, model, route) = match self.state {
            State::AwaitBody(await_body) => {
                (Some(await_body.operation), Some(await_body.dialect), None, None)
            }
            State::Routed(routed) => (
                Some(routed.operation),
                Some(routed.dialect),
                Some(routed.requested_model().clone()),
                Some(routed.rule.route.clone()),
            ),
            State::Plain { route, backend, .. } => {
                passed_to = backend;
                (None, None, None, Some(route))
            }
            State::Answered { .. } => (None, None, None, None),
        };
        Summary {
            request_id: self.arrival.request_id,
            started_at_ms: self.arrival.at_unix_ms,
            method: self.head.method.as_str().to_owned(),
            path: self.head.path,
            client_address: self.head.client_address,
            principal: self.principal,
            listener: self.head.listener,
            status: end.status,
            outcome: end.outcome,
            fault: end.fault,
            operation,
            client_dialect: dialect,
            requested_model: model,
            route,
            attempts_made: end.attempts_made + u32::from(passed_to.is_some()),
            passed_to,
            attempts: end.attempts,
            request_body_bytes: self.request_body_bytes,
            response_body_bytes: end.response_body_bytes,
            duration: end.at.saturating_duration_since(self.arrival.at),
        }
    }
}

fn route(
    await_body: &AwaitBody,
    head: &mut RequestHead,
    arrival: &Arrival,
    body: Bytes,
) -> Result<(Arc<Routed>, ClientRequest), Refusal> {
    let AwaitBody { snapshot, dialect, operation, told, shape, bytes_max, granted } = await_body;
    let (dialect, operation) = (*dialect, *operation);
    if body.len() as u64 > *bytes_max {
        return Err(Refusal::BodyTooLarge { bytes_max: *bytes_max });
    }
    let content_type = headers::text(&head.headers, CONTENT_TYPE);
    let facts = tollgate_dialect::inspect(dialect, operation, content_type, told.as_ref(), &body)
        .map_err(Refusal::Invalid)?;
    let host = head.host.as_deref().unwrap_or_default();
    let rule = snapshot
        .route(&head.listener, host, &head.headers, &facts.model)
        .ok_or_else(|| no_route(snapshot, head, arrival, &facts.model))?;
    let granted = match granted {
        Some(granted) => Granted { principal: Arc::clone(&granted.principal), headers: Vec::new() },
        None => entry::enter(&rule.entry, head, arrival).map_err(Refusal::Denied)?,
    };
    if let Some(reason) = &rule.broken {
        return Err(Refusal::Misconfigured { reason: reason.clone() });
    }
    let mut request_headers = std::mem::take(&mut head.headers);
    let mut limits = rule.limits.iter().chain(rule.targets.iter().flat_map(|target| &target.quotas));
    let is_limited = limits.clone().next().is_some();
    let mut query = if is_limited { head.query.clone() } else { None };
    let path = if limits.any(|limit| limit.needs_path()) { head.path.clone() } else { String::new() };
    if let Entry::Asked(access) = &rule.entry {
        query = entry::take_credentials_out(access, query.as_deref(), &mut request_headers);
        entry::tell(&granted, &mut request_headers);
    }
    let credentials = headers::take_secrets(&mut request_headers, snapshot.credential_headers());
    let routed = Routed {
        request_id: Arc::clone(&arrival.request_id),
        arrived: arrival.at,
        arrived_at_unix_ms: arrival.at_unix_ms,
        dialect,
        operation,
        model: facts.model.clone(),
        detoured: None,
        delivery: facts.delivery,
        shape: *shape,
        usage_wanted: facts.usage_wanted,
        prompt_bytes: facts.prompt_bytes,
        vectors: facts.vectors,
        explain: Explain::of(&request_headers, rule.on_loss),
        client_address: head.client_address.parse().ok(),
        principal: granted.principal,
        rule: Arc::clone(rule),
        snapshot: Arc::clone(snapshot),
    };
    let method = head.method.clone();
    let client = ClientRequest { method, path, query, headers: request_headers, credentials, body, facts };
    check_targets(&routed)?;
    Ok((Arc::new(routed), client))
}

/// Whether there is a backend that can serve the request.
fn check_targets(routed: &Routed) -> Result<(), Refusal> {
    if !routed.rule.targets.iter().any(|target| target.weight > 0) {
        return Err(Refusal::Misconfigured { reason: "no backend has a weight".to_owned() });
    }
    if !routed.rule.targets.iter().any(|target| routed.is_served_by(target)) {
        return Err(Refusal::NotServed { operation: routed.operation.metric_name(routed.dialect) });
    }
    Ok(())
}

/// The request of `routed` as if it had asked for `model`.
fn led_to(
    (head, arrival): (&RequestHead, &Arrival),
    (routed, client): (&Routed, &ClientRequest),
    model: &ModelName,
    detoured: Detoured,
) -> Result<Routed, Refusal> {
    let snapshot = &routed.snapshot;
    let host = head.host.as_deref().unwrap_or_default();
    let rule = snapshot
        .route(&head.listener, host, &client.headers, model)
        .ok_or_else(|| no_route(snapshot, head, arrival, model))?;
    if let Some(reason) = &rule.broken {
        return Err(Refusal::Misconfigured { reason: reason.clone() });
    }
    // What the caller has shown is gone by now, and was looked at by another policy.
    if !rule.entry.is_same(&routed.rule.entry) {
        let reason = format!("the rule of {:?} asks other things of its callers", model.as_str());
        return Err(Refusal::Misconfigured { reason });
    }
    let led = Routed {
        model: model.clone(),
        detoured: Some(detoured),
        explain: Explain::of(&client.headers, rule.on_loss),
        rule: Arc::clone(rule),
        ..routed.clone()
    };
    check_targets(&led)?;
    Ok(led)
}

fn no_route(snapshot: &Snapshot, head: &RequestHead, arrival: &Arrival, model: &ModelName) -> Refusal {
    let visible = entry::visible(snapshot, head, arrival);
    let known = visible.map(|visible| known_models(&visible.models)).unwrap_or_default();
    Refusal::NoRoute { model: model.to_string(), known }
}
