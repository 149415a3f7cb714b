//! Callers that filters of Envoy look at before the processor does: `docs/decisions/0013-envoys-own-filters.md`.
//!
//! The filters know hosts alone, since the processor has not found the model yet: a policy is handed over where it is over all that a host serves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tollgate_config::bundle::{Access, ApiKeys, Endpoint, Jwt, JwtProvider, KeySource, Place, SecretRef};
use tollgate_config::{
    Bundle, CompiledAccess, Diagnostic, Entry, MODEL_HEADER, Severity, Snapshot, TOKEN_LEEWAY_S, VirtualHost,
    provider_name,
};
use tollgate_policy::authorize::ApiKeyHash;

use super::form::{extension, set, typed};
use super::{Slot, key_set, names, processor};

const KEYS: &str = "envoy.filters.http.api_key_auth";
const KEYS_CONFIG: &str = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth";
const KEYS_PER_ROUTE: &str = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute";
const TOKENS: &str = names::TOKEN_METADATA;
const TOKENS_CONFIG: &str = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const TOKENS_PER_ROUTE: &str = "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig";
const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// What of callers can be handed over to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// API keys.
    Keys,
    /// Tokens.
    Tokens,
}

/// Hands the `proofs` of the policies of `bundle` over to Envoy's filters, as far as they can say them. The processor keeps the others, which are named, as
/// are key sets with which the filters are less strict than the processor. `secret` tells the value of a Secret, if there is one.
pub fn hand_callers_over<'s>(
    bundle: &mut Bundle,
    proofs: &[Proof],
    secret: impl Fn(&SecretRef) -> Option<&'s str>,
) -> Vec<Diagnostic> {
    let shared = shared(bundle);
    let proxied = proxied(bundle);
    let mut diagnostics = Vec::new();
    for (name, access) in &mut bundle.access {
        let everywhere = if shared.contains(name) {
            Err(
                "a host that it is for has rules that ask something else, and the filter looks before it is known which rule it is",
            )
        } else {
            Ok(())
        };
        if let Some(keys) = access.api_keys.as_ref().filter(|_| proofs.contains(&Proof::Keys)) {
            match everywhere.and_then(|()| keys_said(keys, &secret)) {
                Ok(()) => access.handed_over.api_keys = true,
                Err(reason) => diagnostics.push(stays(name, "spec.apiKeyAuth", reason)),
            }
        }
        if let Some(jwt) = access.jwt.as_ref().filter(|_| proofs.contains(&Proof::Tokens)) {
            match everywhere.and_then(|()| tokens_said(jwt, proxied.contains(name))) {
                Ok(()) => {
                    access.handed_over.tokens = true;
                    diagnostics.extend(fetched(name, jwt));
                }
                Err(reason) => diagnostics.push(stays(name, "spec.jwt", reason)),
            }
        }
    }
    diagnostics
}

/// That the processor keeps what is at `path` of a policy.
fn stays(name: &str, path: &str, reason: &str) -> Diagnostic {
    let message = format!("is not looked at by Envoy's own filter, and stays with the processor: {reason}");
    warning(name, path.to_owned(), message)
}

/// Key sets that Envoy fetches by itself. Nothing between can leave a key out of them: to write each set that is fetched into the listener would close
/// connections whenever an issuer has a new key.
fn fetched(name: &str, jwt: &Jwt) -> Vec<Diagnostic> {
    let providers = jwt.providers.iter().enumerate();
    let remote = providers.filter(|(_, provider)| matches!(provider.keys, KeySource::Remote { .. }));
    let told = remote.map(|(at, _)| {
        let message = "is fetched by Envoy, whose filter takes keys for anything, such as `use: enc`, for signatures, and RSA keys of any length";
        warning(name, format!("spec.jwt.providers[{at}].remoteJWKS"), message.to_owned())
    });
    told.collect()
}

fn warning(name: &str, path: String, message: String) -> Diagnostic {
    Diagnostic { object: format!("SecurityPolicy {name}"), path, severity: Severity::Warning, message }
}

/// Policies with a host of which not all rules are under them.
fn shared(bundle: &Bundle) -> BTreeSet<String> {
    let (snapshot, _) = Snapshot::compile(bundle.clone());
    let mut shared = BTreeSet::new();
    for listener in &bundle.listeners {
        for host in snapshot.virtual_hosts(&listener.name) {
            if only(&host).is_none() {
                let named = entries(&host).filter_map(Entry::access);
                shared.extend(named.map(|access| access.name.as_ref().to_owned()));
            }
        }
    }
    shared
}

/// Policies of rules behind a forward proxy.
fn proxied(bundle: &Bundle) -> BTreeSet<String> {
    let of_models = bundle.routes.iter().flat_map(|route| {
        let named = route.rules.iter().filter_map(|rule| rule.access.clone());
        named.filter(|_| bundle.forward_proxy_of(&route.listeners).is_some())
    });
    let of_plain = bundle.plain_routes.iter().flat_map(|route| {
        let named = route.rules.iter().filter_map(|rule| rule.access.clone());
        named.filter(|_| bundle.forward_proxy_of(&route.listeners).is_some())
    });
    of_models.chain(of_plain).collect()
}

fn keys_said<'s>(keys: &ApiKeys, secret: impl Fn(&SecretRef) -> Option<&'s str>) -> Result<(), &'static str> {
    if keys.clients.iter().all(|client| secret(&client.key).is_some_and(|key| !ApiKeyHash::is_written(key))) {
        Ok(())
    } else {
        Err("a Secret has the hash of a key, and the filter wants the keys themselves")
    }
}

fn tokens_said(jwt: &Jwt, is_proxied: bool) -> Result<(), &'static str> {
    jwt.providers.iter().try_for_each(|provider| match &provider.keys {
        KeySource::Written(text) => match key_set::for_signatures(text) {
            Some(_) => Ok(()),
            None => Err("the key set of an issuer has no key that the filter may use"),
        },
        KeySource::Secret(_) => Err("the keys of an issuer are in a Secret, of which Envoy is not told"),
        KeySource::Remote { .. } if is_proxied => {
            Err("the keys of an issuer are fetched through a forward proxy")
        }
        KeySource::Remote { host, .. } => {
            let endpoints = host.iter().flat_map(|host| &host.endpoints);
            if endpoints.clone().any(|endpoint| matches!(endpoint, Endpoint::Unix { .. })) {
                return Err("the keys of an issuer are behind a Unix socket");
            }
            Ok(())
        }
    })
}

fn entries<'a>(host: &VirtualHost<'a>) -> impl Iterator<Item = &'a Entry> {
    let of_models = host.alternatives.iter().map(|alternative| &alternative.rule().entry);
    let of_plain = host.plain.iter().map(|alternative| &alternative.rule().entry);
    // Rules that let nobody in are broken, and say so.
    of_models.chain(of_plain).filter(|entry| !matches!(entry, Entry::Closed))
}

/// The policy over all that `host` serves.
fn only<'a>(host: &VirtualHost<'a>) -> Option<&'a CompiledAccess> {
    let mut entries = entries(host);
    let first = entries.next()?;
    let access = first.access()?;
    entries.all(|entry| entry.is_same(first)).then_some(access.as_ref())
}

/// What filters look at first of the callers of `host`; `None` if that is nothing.
pub(super) fn handed_over<'a>(host: &VirtualHost<'a>) -> Option<&'a CompiledAccess> {
    only(host).filter(|access| !access.access.handed_over.is_nothing())
}

/// Those of them that a listener of Envoy has, by name.
pub(super) type Handed<'a> = BTreeMap<&'a str, &'a Access>;

/// The filters of a listener. They do nothing where a virtual host says nothing to them.
pub(super) fn of_listener(handed: &Handed<'_>) -> Vec<Value> {
    let has = |proof: fn(&Access) -> bool| handed.values().any(|access| proof(access));
    let mut filters = Vec::new();
    if has(|access| access.handed_over.api_keys) {
        filters.push(extension(KEYS, KEYS_CONFIG, json!({})));
    }
    if has(|access| access.handed_over.tokens) {
        filters.push(extension(TOKENS, TOKENS_CONFIG, tokens(handed)));
    }
    for filter in &mut filters {
        set(filter, "disabled", true.into());
    }
    filters
}

fn tokens(handed: &Handed<'_>) -> Value {
    let (mut providers, mut requirements) = (Map::new(), Map::new());
    for (policy, access) in handed.iter().filter(|(_, access)| access.handed_over.tokens) {
        let Some(jwt) = &access.jwt else { continue };
        let mut any = Vec::new();
        for provider in &jwt.providers {
            let name = provider_name(policy, &provider.name);
            any.push(json!({ "provider_name": name }));
            let said = said(&name, provider);
            providers.insert(name, said);
        }
        if jwt.optional {
            any.push(json!({ "allow_missing": {} }));
        }
        let requirement = match any.as_slice() {
            [only] => only.clone(),
            _ => json!({ "requires_any": { "requirements": any } }),
        };
        requirements.insert((*policy).to_owned(), requirement);
    }
    json!({
        "providers": providers,
        "requirement_map": requirements,
        // Whoever is refused learns no more than from the processor.
        "strip_failure_response": true,
    })
}

/// A provider. What the token says goes to the processor, head and claims, which looks at all of it but the signature.
fn said(name: &str, provider: &JwtProvider) -> Value {
    let mut said = json!({
        "require_expiration": true,
        "clock_skew_seconds": TOKEN_LEEWAY_S,
        "forward": true,
        "payload_in_metadata": name,
        "header_in_metadata": names::token_head(name),
    });
    if let Some(issuer) = &provider.issuer {
        set(&mut said, "issuer", issuer.clone().into());
    }
    if !provider.audiences.is_empty() {
        set(&mut said, "audiences", provider.audiences.clone().into());
    }
    let (mut headers, mut params, mut cookies) = (Vec::new(), Vec::new(), Vec::new());
    for place in &provider.places {
        match place {
            Place::Header { name, prefix } if prefix.is_empty() => headers.push(json!({ "name": name })),
            Place::Header { name, prefix } => headers.push(json!({ "name": name, "value_prefix": prefix })),
            Place::Query(name) => params.push(name.as_str()),
            Place::Cookie(name) => cookies.push(name.as_str()),
        }
    }
    if !headers.is_empty() {
        set(&mut said, "from_headers", headers.into());
    }
    if !params.is_empty() {
        set(&mut said, "from_params", params.into());
    }
    if !cookies.is_empty() {
        set(&mut said, "from_cookies", cookies.into());
    }
    match &provider.keys {
        KeySource::Written(text) => {
            let keys = key_set::for_signatures(text).unwrap_or_default();
            set(&mut said, "local_jwks", json!({ "inline_string": keys }));
        }
        KeySource::Remote { uri, refresh, .. } => {
            set(&mut said, "remote_jwks", key_set::fetched(&provider.keys, uri, *refresh));
        }
        // Not handed over.
        KeySource::Secret(_) => {}
    }
    said
}

/// What the virtual host at `place` of a route configuration says to the filters, and which of it are secrets.
pub(super) fn of_virtual_host(
    access: &CompiledAccess,
    (configuration, place): (&str, usize),
) -> (Map<String, Value>, Vec<Slot>) {
    let (mut said, mut slots) = (Map::new(), Vec::new());
    let handed = access.access.handed_over;
    if let Some(keys) = access.access.api_keys.as_ref().filter(|_| handed.api_keys) {
        said.insert(KEYS.to_owned(), typed(KEYS_PER_ROUTE, keys_of(keys)));
        slots.extend(keys.clients.iter().enumerate().map(|(nth, client)| Slot {
            resource: configuration.to_owned(),
            pointer: format!("/virtual_hosts/{place}/typed_per_filter_config/{KEYS}/credentials/{nth}/key"),
            secret: client.key.clone(),
        }));
    }
    if handed.tokens {
        let requirement = json!({ "requirement_name": access.name.as_ref() });
        said.insert(TOKENS.to_owned(), typed(TOKENS_PER_ROUTE, requirement));
    }
    (said, slots)
}

/// Which keys are good, each with a name in its place, and where they are looked for.
fn keys_of(keys: &ApiKeys) -> Value {
    let credentials = keys.clients.iter().map(|client| {
        let SecretRef { namespace, name, key } = &client.key;
        json!({ "key": format!("[{key} of Secret {namespace}/{name}]"), "client": key })
    });
    let sources = keys.places.iter().map(|place| match place {
        Place::Header { name, .. } => json!({ "header": name }),
        Place::Query(name) => json!({ "query": name }),
        Place::Cookie(name) => json!({ "cookie": name }),
    });
    json!({
        "credentials": credentials.collect::<Vec<Value>>(),
        "key_sources": sources.collect::<Vec<Value>>(),
    })
}

/// The route of probes, which show nothing and have to go through the processor. To that one callers on this route are as all others; once it has found their
/// model this is not their route any more.
pub(super) fn to_processor(access: &CompiledAccess) -> Value {
    let headers = json!([
        { "name": names::PROBE_HEADER, "present_match": true },
        { "name": MODEL_HEADER, "present_match": true, "invert_match": true },
    ]);
    let handed = access.access.handed_over;
    let off = [(KEYS, handed.api_keys), (TOKENS, handed.tokens)].into_iter().filter(|(_, is_on)| *is_on);
    let off: Map<String, Value> = off
        .map(|(filter, _)| (filter.to_owned(), typed(FILTER_CONFIG, json!({ "disabled": true }))))
        .collect();
    json!({
        "name": "probe without proof",
        "match": { "prefix": "/", "headers": headers },
        "direct_response": { "status": 404 },
        "typed_per_filter_config": off,
    })
}

/// The processor's filter, which is told what others have found of tokens.
pub(super) fn told_of_tokens(handed: &Handed<'_>) -> Value {
    let mut filter = processor::of_listener();
    if handed.values().any(|access| access.handed_over.tokens)
        && let Some(options) = filter.pointer_mut("/typed_config/metadata_options")
    {
        set(options, "forwarding_namespaces", json!({ "untyped": [TOKENS] }));
    }
    filter
}
