//! Who calls, and whether it is let in: decided from the head of a request, the keys that are good, and the time of day.
//!
//! A caller shows an API key, a token, or both, as its policy asks. What it shows is never kept, and a refusal tells it nothing
//! but that it was refused.

mod keyring;
mod place;
mod rules;
mod strict;
mod token;
mod vouched;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};
use tollgate_config::bundle::{ApiKeys, Jwt};
use tollgate_config::{CompiledAccess, provider_name};
use tollgate_terms::Principal;

use keyring::Client;
pub use keyring::{ApiKeyHash, Key, KeySet, Keyring, PolicyKeys};
pub use token::{Algorithm, REFETCH_S, Verifier};
pub use vouched::Vouched;

/// What of a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path, without the query.
    pub path: &'a str,
    /// Query, without its question mark.
    pub query: Option<&'a str>,
    /// Headers, as the client sent them.
    pub headers: &'a HeaderMap,
    /// The client's address, as it is written; empty if it has none.
    pub address: &'a str,
    /// The time of day, seconds since the Unix epoch.
    pub now_s: u64,
    /// What a filter in front of the gateway has verified of its tokens.
    pub vouched: &'a [Vouched],
}

impl Caller<'_> {
    /// The client's address, if it has one. Few policies ask for it.
    fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// A caller that is let in.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Headers in which backends are told so.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// It has not proved who it is.
    Unproved,
    /// It has, and that one is not let in.
    Forbidden,
    /// Whether it has cannot be told now: the keys of its issuer are not here. Fetching them may help.
    KeysMissing(Wanted),
}

/// Keys that should be fetched now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the policy.
    pub access: Arc<str>,
    /// The place of the issuer among the providers of the policy.
    pub provider: usize,
}

/// A token that was found good.
#[derive(Debug)]
struct Proved<'a> {
    /// The name of its provider.
    provider: &'a str,
    claims: Map<String, Value>,
}

/// Finds out who calls, and lets it in or not.
///
/// # Errors
/// Why it is not let in.
pub fn authorize(access: &CompiledAccess, keyring: &Keyring, caller: &Caller<'_>) -> Result<Granted, Denied> {
    let keys = keyring.of(&access.name);
    let (mut principal, mut headers) = match &access.access.api_keys {
        Some(api_keys) => {
            let client = client(api_keys, keys.ok_or(Denied::Unproved)?, keyring, caller)?;
            let told = access.client_id_header.clone().zip(client.id);
            (client.principal, Vec::from_iter(told))
        }
        None => (Arc::default(), Vec::new()),
    };
    let mut proved = None;
    if let Some(jwt) = &access.access.jwt {
        proved = token_of(jwt, access, keys, caller)?;
        if let Some((at, proved)) = proved.as_ref()
            && let Some(provider) = jwt.providers.get(*at)
        {
            principal = Arc::new(over(token::principal(provider, &proved.claims), &principal));
            headers.extend(token::claim_headers(provider, &proved.claims));
        }
    }
    let proved = proved.map(|(_, proved)| proved);
    if rules::permits(access, caller, &principal, proved.as_ref()) {
        return Ok(Granted { principal, headers });
    }
    // Who has shown nothing may have more luck with something.
    let has_shown = access.access.api_keys.is_some() || proved.is_some() || access.access.jwt.is_none();
    Err(if has_shown { Denied::Forbidden } else { Denied::Unproved })
}

/// The client whose key is shown.
fn client(
    api_keys: &ApiKeys,
    keys: &PolicyKeys,
    keyring: &Keyring,
    caller: &Caller<'_>,
) -> Result<Client, Denied> {
    let shown = api_keys.places.iter().find_map(|place| place::find(place, caller));
    let shown = shown.ok_or(Denied::Unproved)?.map_err(|place::Twice| Denied::Unproved)?;
    // As Envoy reads it: the scheme may stand before the key in any header.
    let key = place::without_prefix(&shown, "Bearer ").unwrap_or(&shown).trim_ascii();
    keyring.client(keys, key).ok_or(Denied::Unproved)
}

/// The first good token, and the place of its provider; `None` where there is none and need not be.
fn token_of<'a>(
    jwt: &'a Jwt,
    access: &CompiledAccess,
    keys: Option<&PolicyKeys>,
    caller: &Caller<'_>,
) -> Result<Option<(usize, Proved<'a>)>, Denied> {
    let mut denied = None;
    for (at, provider) in jwt.providers.iter().enumerate() {
        let Some(shown) = provider.places.iter().find_map(|place| place::find(place, caller)) else {
            continue;
        };
        let set = keys.and_then(|keys| keys.sets.get(at));
        let verified = shown.map_err(|place::Twice| token::Unfit::Bad).and_then(|shown| {
            if access.access.handed_over.tokens {
                let name = provider_name(&access.name, &provider.name);
                let vouched = caller.vouched.iter().find(|vouched| vouched.provider == name);
                return token::believe(&shown, provider, vouched, caller.now_s);
            }
            token::verify(&shown, provider, set, caller.now_s)
        });
        match verified {
            Ok(claims) => return Ok(Some((at, Proved { provider: &provider.name, claims }))),
            // Another provider may know it; if not, this one may still come to.
            Err(token::Unfit::KeyMissing) => {
                denied = Some(Denied::KeysMissing(Wanted { access: Arc::clone(&access.name), provider: at }));
            }
            Err(token::Unfit::Bad) => {
                denied.get_or_insert(Denied::Unproved);
            }
        }
    }
    match denied {
        Some(denied) => Err(denied),
        None if jwt.optional => Ok(None),
        None => Err(Denied::Unproved),
    }
}

/// What `first` says, and what it leaves open as `second` says it.
fn over(first: Principal, second: &Principal) -> Principal {
    Principal {
        user: first.user.or_else(|| second.user.clone()),
        team: first.team.or_else(|| second.team.clone()),
        application: first.application.or_else(|| second.application.clone()),
        key_id: second.key_id.clone().or(first.key_id),
    }
}

/// Takes out of the headers, cookies and query of a request all that `access` reads keys and tokens from, wherever the good one was.
/// Returns the query that is left.
pub fn take_credentials_out(
    access: &CompiledAccess,
    query: Option<&str>,
    headers: &mut HeaderMap,
) -> Option<String> {
    for name in &access.credential_headers {
        headers.remove(name);
    }
    place::take_out(access.access.places(), query, headers)
}
