//! A request of a plain rule: which backend is asked, what of both heads changes on the way, or where the client is sent instead.
//!
//! Bodies are not looked at.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tollgate_config::bundle::{Backend, Listener, Redirect, Timeouts};
use tollgate_config::plain::OPEN;
use tollgate_config::plain::{
    CompiledAction, CompiledForward, CompiledPlainRule, PlainAlternative, PlainRequest,
};
use tollgate_config::{Entry, Snapshot, Subject};
use tollgate_policy::authorize::{Granted, Wanted};
use tollgate_policy::quota::Claim;
use tollgate_terms::{AttemptId, Dialect, Fault, GatewayFault, Principal, RouteName};

use crate::charge::Charging;
use crate::entry::{self, Told};
use crate::exchange::{Arrival, RequestHead};
use crate::headers;
use crate::refusal::{LocalReply, Refusal};
use crate::response::ResponseHead;
use crate::step::Answer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request that goes to a backend as it is.
#[derive(Debug)]
pub struct Passage {
    rule: Arc<CompiledPlainRule>,
    request: PassedRequest,
    /// What of the request a data plane has to change that passes it on by itself.
    pub(crate) told: Told,
    request_id: Arc<str>,
    charging: Charging,
}

/// The head of a request as its backend gets it.
#[derive(Debug)]
pub struct PassedRequest {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The host asked for.
    pub host: HeaderValue,
    /// Headers, without `host` and what frames the body.
    pub headers: HeaderMap,
}

/// What becomes of a request that a plain rule takes.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) route: RouteName,
    /// The dialect in which failures are told.
    pub(crate) dialect: Dialect,
    /// Who calls, as far as that was asked.
    pub(crate) principal: Arc<Principal>,
    /// Keys that should be fetched now, if it was refused for lack of them.
    pub(crate) wanted: Option<Wanted>,
    /// The way to a backend, or the reply instead.
    pub(crate) outcome: Result<Box<Passage>, LocalReply>,
}

impl Passage {
    /// The backend that takes the request, by weight: every value of `random` is as likely as any other. `None` when that is a
    /// reference that leads nowhere, or there is no backend.
    pub fn choose(&self, random: u64) -> Option<&Arc<Backend>> {
        let CompiledForward { targets, unresolved_weight, .. } = self.forward()?;
        let all = || targets.iter().map(|(backend, weight)| (backend, u64::from(*weight)));
        let total = all().map(|(_, weight)| weight).sum::<u64>() + u64::from(*unresolved_weight);
        let mut place = random.checked_rem(total)?;
        for (backend, weight) in all() {
            match place.checked_sub(weight) {
                None => return Some(backend),
                Some(rest) => place = rest,
            }
        }
        None
    }

    /// The head of the request.
    pub fn request(&self) -> &PassedRequest {
        &self.request
    }

    /// Bounds in time.
    pub fn timeouts(&self) -> &Timeouts {
        &self.rule.timeouts
    }

    /// What the client gets of the head of the backend's response. It may have a `content-length`.
    pub fn on_response_head(&self, status: StatusCode, mut headers: HeaderMap) -> ResponseHead {
        headers::clean_passed_response(&mut headers);
        self.rule.response_headers.apply(&mut headers);
        self.charging.write(&mut headers);
        ResponseHead { status, headers }
    }

    /// What it claims of limits before it may be passed on, under a name that no other claims have.
    pub fn claims(&self) -> (AttemptId, Arc<[Claim]>) {
        (AttemptId { request_id: Arc::clone(&self.request_id), attempt: 0 }, self.charging.claims())
    }

    /// Takes in what became of the claims.
    ///
    /// # Errors
    /// Why it must not be passed on.
    pub fn supply(&mut self, answer: Answer) -> Result<(), Refusal> {
        match answer {
            Answer::Granted(standings) => {
                self.charging.granted(standings);
                Ok(())
            }
            Answer::Exceeded { at, standings } => {
                let exceeded = self.charging.exceeded(at, &standings).map(Refusal::Exceeded);
                Err(exceeded.unwrap_or(Refusal::Failed(Fault::Gateway(GatewayFault::Internal))))
            }
            Answer::Unchecked => {
                self.charging.unchecked().map_err(|fault| Refusal::Failed(Fault::Gateway(fault)))
            }
            Answer::Credential(_)
            | Answer::MissingCredential
            | Answer::HalfCredential
            | Answer::UnavailableCredential => Err(Refusal::Failed(Fault::Gateway(GatewayFault::Internal))),
        }
    }

    /// The refusal of a request for which [`Passage::choose`] has found nothing.
    pub fn nowhere(&self) -> Refusal {
        Refusal::Misconfigured { reason: "it has no backend for this request".to_owned() }
    }

    fn forward(&self) -> Option<&CompiledForward> {
        match &self.rule.action {
            CompiledAction::Forward(forward) => Some(forward),
            CompiledAction::Redirect(_) => None,
        }
    }
}

/// Finds the plain rule that takes a request, and what it makes of it. A passage takes the headers out of `head`.
pub(crate) fn decide(snapshot: &Snapshot, head: &mut RequestHead, arrival: &Arrival) -> Option<Decided> {
    let request_id = &arrival.request_id;
    let host = &head.host.clone()?;
    let dialect = tollgate_dialect::error_dialect(&head.path, &head.headers);
    let RequestHead { method, path, query, headers, .. } = &*head;
    let request = PlainRequest { method, path, query: query.as_deref(), headers };
    let alternative = Arc::clone(snapshot.plain(&head.listener, host, request)?);
    let listener = snapshot.listener(&head.listener)?;
    let rule = alternative.rule();
    let misconfigured =
        |reason: &str| Refusal::Misconfigured { reason: reason.to_owned() }.reply(dialect, request_id);
    let route = rule.route.clone();
    let entered = match &rule.entry {
        Entry::Asked(_) => entry::enter(&rule.entry, head, arrival),
        // Of a closed one, the rule says why.
        Entry::Open | Entry::Closed => Ok(Granted::default()),
    };
    let granted = match entered.map_err(Refusal::Denied) {
        Ok(granted) => granted,
        Err(refusal) => {
            let (wanted, outcome) = (refusal.wanted().cloned(), Err(refusal.reply(dialect, request_id)));
            return Some(Decided { route, dialect, principal: Arc::default(), wanted, outcome });
        }
    };
    let principal = Arc::clone(&granted.principal);
    let outcome = match (&rule.broken, &rule.action) {
        (Some(reason), _) => Err(misconfigured(reason)),
        (None, CompiledAction::Redirect(redirect)) => {
            redirected(&alternative, redirect, head, host, listener)
                .ok_or_else(|| misconfigured("its redirect leads nowhere"))
                .and_then(Err)
        }
        (None, CompiledAction::Forward(forward)) => {
            passage(&alternative, forward, head, (host, &granted), (listener, request_id))
                .map(Box::new)
                .ok_or_else(|| Refusal::BadHost.reply(dialect, request_id))
        }
    };
    Some(Decided { route, dialect, principal, wanted: None, outcome })
}

/// `None` when the host is none that can be written in a header.
fn passage(
    alternative: &PlainAlternative,
    forward: &CompiledForward,
    head: &mut RequestHead,
    (host, granted): (&str, &Granted),
    (listener, request_id): (&Listener, &Arc<str>),
) -> Option<Passage> {
    let path = match &forward.path {
        None => head.path.clone(),
        Some(rewrite) => rewrite.apply(&head.path, alternative.prefix()),
    };
    let host = match &forward.hostname {
        Some(hostname) => hostname.clone(),
        None => HeaderValue::from_str(host).ok()?,
    };
    let mut headers = std::mem::take(&mut head.headers);
    headers::clean_passed(&mut headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    join_cookies(&mut headers);
    forwarded(&mut headers, &head.client_address, listener);
    let rule = Arc::clone(alternative.rule());
    let mut told = Told::default();
    if let Entry::Asked(access) = &rule.entry {
        entry::take_owned_out(std::slice::from_ref(&rule.entry), &mut headers);
        let query = entry::take_credentials_out(access, head.query.as_deref(), &mut headers);
        entry::tell(granted, &mut headers);
        let queries = (head.path.as_str(), head.query.as_deref(), query.as_deref());
        told = entry::told_of_plain(access, granted, queries, &headers);
        head.query = query;
    } else if !rule.limits.is_empty() {
        told.access = Some(OPEN.into());
    }
    let subject = Subject {
        headers: &headers,
        method: &head.method,
        path: &head.path,
        query: head.query.as_deref(),
        address: head.client_address.parse().ok(),
        principal: &granted.principal,
        requested_model: None,
        upstream_model: None,
    };
    let charging = Charging::of_passage(&rule.limits, &subject);
    rule.request_headers.apply(&mut headers);
    let request = PassedRequest { method: head.method.clone(), path: with_query(path, head), host, headers };
    Some(Passage { rule, request, told, request_id: Arc::clone(request_id), charging })
}

/// `None` when it cannot be written in a header.
fn redirected(
    alternative: &PlainAlternative,
    redirect: &Redirect,
    head: &RequestHead,
    host: &str,
    listener: &Listener,
) -> Option<LocalReply> {
    let hostname =
        redirect.hostname.as_deref().unwrap_or_else(|| tollgate_config::hostname::without_port(host));
    let port = redirect.port(listener).map_or_else(String::new, |port| format!(":{port}"));
    let path = match &redirect.path {
        None => head.path.clone(),
        Some(rewrite) => rewrite.apply(&head.path, alternative.prefix()),
    };
    let location = format!("{}://{hostname}{port}{}", redirect.scheme(listener), with_query(path, head));
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    alternative.rule().response_headers.apply(&mut headers);
    let status = StatusCode::from_u16(redirect.status).ok()?;
    Some(LocalReply { status, headers, body: Bytes::new(), reason: None })
}

fn with_query(path: String, head: &RequestHead) -> String {
    match &head.query {
        None => path,
        Some(query) => format!("{path}?{query}"),
    }
}

/// HTTP/2 may split cookies; HTTP/1.1 has one line of them (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Tells the backend who asks, and over what.
fn forwarded(headers: &mut HeaderMap, client_address: &str, listener: &Listener) {
    let mut hops: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    hops.push(client_address.as_bytes());
    if let Ok(hops) = HeaderValue::from_bytes(&hops.join(&b","[..])) {
        headers.insert(FORWARDED_FOR, hops);
    }
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
}
