//! Who is let in, and what of that its backend sees: never what the caller has shown.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_config::{CompiledAccess, Entry, ListedModel, Snapshot};
use tollgate_policy::authorize::{self, Caller, Denied, Granted};
use tollgate_terms::Principal;

use crate::exchange::{Arrival, RequestHead};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a data plane that routes by itself has to change in the head of a request before it does.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Headers that only the gateway may set.
    pub remove: Arc<[HeaderName]>,
    /// What it sets in them.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// The path and query that are left, if a key or token stood in the query.
    pub path: Option<String>,
    /// The policy by which a request of a plain rule was let in.
    pub access: Option<Arc<str>>,
}

/// The models that a caller may ask for, and who it is.
pub(crate) struct Visible<'a> {
    pub(crate) models: Vec<&'a ListedModel>,
    pub(crate) principal: Arc<Principal>,
}

/// Lets a caller in where `entry` is asked.
pub(crate) fn enter(entry: &Entry, head: &RequestHead, arrival: &Arrival) -> Result<Granted, Denied> {
    match entry {
        Entry::Open => Ok(Granted::default()),
        Entry::Asked(access) => authorize::authorize(access, &arrival.keyring, &caller(head, arrival)),
        // Its rule is broken, and says so.
        Entry::Closed => Err(Denied::Forbidden),
    }
}

/// Lets a caller in as far as that can be told before its model is known: `None` if it depends on that.
///
/// # Errors
/// When it will not be let in, whatever its model is.
pub(crate) fn enter_any(
    entries: &[Entry],
    head: &RequestHead,
    arrival: &Arrival,
) -> Result<Option<Granted>, Denied> {
    match entries {
        [] => Ok(Some(Granted::default())),
        [only] => enter(only, head, arrival).map(Some),
        several => {
            let mut denied = None;
            for entry in several {
                match enter(entry, head, arrival) {
                    Ok(_) => return Ok(None),
                    Err(error) => first(&mut denied, error),
                }
            }
            denied.map_or(Ok(None), Err)
        }
    }
}

/// The models of the rules that let the caller in.
///
/// # Errors
/// When none does.
pub(crate) fn visible<'a>(
    snapshot: &'a Snapshot,
    head: &RequestHead,
    arrival: &Arrival,
) -> Result<Visible<'a>, Denied> {
    let host = head.host.as_deref().unwrap_or_default();
    let mut principal = None;
    let (mut open, mut denied) = (Vec::new(), None);
    for entry in snapshot.entries(&head.listener, host) {
        match enter(entry, head, arrival) {
            Ok(granted) => {
                open.push(entry.access().map(|access| &access.name));
                principal.get_or_insert(granted.principal);
            }
            Err(error) => first(&mut denied, error),
        }
    }
    if let (true, Some(denied)) = (open.is_empty(), denied) {
        return Err(denied);
    }
    let models = snapshot.models(&head.listener, host).iter();
    let models = models.filter(|model| open.contains(&model.access.as_ref())).collect();
    Ok(Visible { models, principal: principal.unwrap_or_default() })
}

/// Takes out what only the gateway may say to the backends at a host, and tells the names of it.
pub(crate) fn take_owned_out(entries: &[Entry], headers: &mut HeaderMap) -> Arc<[HeaderName]> {
    let mut accesses = entries.iter().filter_map(Entry::access);
    let names = match (accesses.next(), accesses.next()) {
        (None, _) => Arc::default(),
        (Some(only), None) => Arc::clone(&only.owned_headers),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(accesses);
            all.flat_map(|access| &*access.owned_headers).cloned().collect()
        }
    };
    for name in &*names {
        headers.remove(name);
    }
    names
}

/// The path and query of a request without the keys and tokens that are read at its host; `None` if there are none in them.
pub(crate) fn path_left(entries: &[Entry], head: &RequestHead) -> Option<String> {
    let query = head.query.as_deref()?;
    let mut left = Some(query.to_owned());
    for access in entries.iter().filter_map(Entry::access) {
        left = authorize::take_credentials_out(access, left.as_deref(), &mut HeaderMap::new());
    }
    (left.as_deref() != Some(query)).then(|| with_query(&head.path, left.as_deref()))
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        None => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    }
}

/// Says to the backend who calls.
pub(crate) fn tell(granted: &Granted, headers: &mut HeaderMap) {
    for (name, value) in &granted.headers {
        headers.insert(name, value.clone());
    }
}

/// What [`take_credentials_out`] and [`tell`] change in the head of a request of a plain rule, `headers` being those after it.
pub(crate) fn told_of_plain(
    access: &CompiledAccess,
    granted: &Granted,
    (path, before, after): (&str, Option<&str>, Option<&str>),
    headers: &HeaderMap,
) -> Told {
    let read = access.credential_headers.iter().chain(&*access.owned_headers).cloned();
    let cookies = headers.get(COOKIE).map(|cookies| (COOKIE, cookies.clone()));
    let path = (before != after).then(|| with_query(path, after));
    Told {
        remove: read.chain([AUTHORIZATION, API_KEY, COOKIE]).collect(),
        set: granted.headers.iter().cloned().chain(cookies).collect(),
        path,
        access: Some(Arc::clone(&access.name)),
    }
}

/// Takes out what a caller that was let in has shown. Returns the query that is left.
pub(crate) fn take_credentials_out(
    access: &CompiledAccess,
    query: Option<&str>,
    headers: &mut HeaderMap,
) -> Option<String> {
    for name in [AUTHORIZATION, API_KEY] {
        headers.remove(name);
    }
    authorize::take_credentials_out(access, query, headers)
}

fn caller<'a>(head: &'a RequestHead, arrival: &'a Arrival) -> Caller<'a> {
    Caller {
        method: &head.method,
        path: &head.path,
        query: head.query.as_deref(),
        headers: &head.headers,
        address: &head.client_address,
        now_s: arrival.at_unix_ms / 1000,
        vouched: &arrival.vouched,
    }
}

/// Of several reasons, what may pass comes before what will not.
fn first(denied: &mut Option<Denied>, error: Denied) {
    match (&denied, &error) {
        (None, _) | (Some(Denied::Unproved | Denied::Forbidden), Denied::KeysMissing(_)) => {
            *denied = Some(error)
        }
        (Some(Denied::Unproved), Denied::Forbidden) => *denied = Some(error),
        (Some(_), _) => {}
    }
}
