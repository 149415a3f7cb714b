//! Tokens: who issues them, by which keys they are verified, and what they say of a caller.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tollgate_config::bundle::{
    Endpoint, Jwt, JwtProvider, KeyHost, KeySource, Place, PrincipalClaims, SecretRef,
};
use tollgate_manifest::{
    BackendObjectReference, GatewayDuration, JwtAuth, LocalJwks, LocalJwksType, LocalObjectReference,
    RemoteJwks, SecretObjectReference,
};

use super::{Policy, curve};
use crate::backend::PlainBackends;
use crate::findings::Unresolved;
use crate::grant::{self, BACKEND, CONFIG_MAP, SECRET, SECURITY, SERVICE};

/// How long fetched keys are good, as in Envoy Gateway.
const REFRESH_DEFAULT: Duration = Duration::from_secs(300);
/// They are not fetched more often.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// Where the DNS of a cluster has its Services, unless it was told otherwise.
const CLUSTER: &str = "svc.cluster.local";

/// The key of a key set in its ConfigMap or Secret.
const KEY_SET: &str = "jwks";

/// Annotations of a policy that name the claims that say who a caller is.
const USER_CLAIM: &str = "tollgate.dev/user-claim";
const TEAM_CLAIM: &str = "tollgate.dev/team-claim";
const APPLICATION_CLAIM: &str = "tollgate.dev/application-claim";

impl<'a> Policy<'a, '_> {
    pub(super) fn jwt(&mut self, written: &'a JwtAuth) -> Jwt {
        let mut providers: Vec<JwtProvider> = Vec::new();
        for (at, provider) in written.providers.iter().enumerate() {
            let path = format!("spec.jwt.providers[{at}]");
            if providers.iter().any(|other| other.name == provider.name) {
                self.mistake(format!("{path}.name"), format!("{:?} stands twice", provider.name));
            }
            providers.extend(self.provider(&path, provider));
        }
        Jwt { optional: written.optional == Some(true), providers }
    }

    fn provider(&mut self, path: &str, written: &'a tollgate_manifest::JwtProvider) -> Option<JwtProvider> {
        let issuer = written.issuer.clone().filter(|issuer| !issuer.is_empty());
        if issuer.is_none() {
            self.warning(path, "has no issuer: `iss` of its tokens is not looked at");
        }
        if written.audiences.is_empty() {
            self.warning(path, "has no audiences: tokens that were issued for others are taken too");
        }
        let keys = match (&written.remote_jwks, &written.local_jwks) {
            (Some(remote), _) => self.remote(&format!("{path}.remoteJWKS"), remote),
            (None, Some(local)) => self.local(&format!("{path}.localJWKS"), local),
            (None, None) => None,
        };
        let mut claim_headers = Vec::new();
        for (at, claim) in written.claim_to_headers.iter().enumerate() {
            let name = self.own_header(&format!("{path}.claimToHeaders[{at}].header"), &claim.header);
            claim_headers.extend(name.map(|name| (name, claim.claim.clone())));
        }
        Some(JwtProvider {
            name: written.name.clone(),
            issuer,
            audiences: written.audiences.clone(),
            keys: keys?,
            places: self.token_places(path, written),
            claim_headers,
            names: self.names(),
        })
    }

    fn names(&self) -> PrincipalClaims {
        let named = |annotation, default: &[&str]| match self.annotation(annotation) {
            Some(claim) => vec![claim.to_owned()],
            None => default.iter().map(|claim| (*claim).to_owned()).collect(),
        };
        PrincipalClaims {
            user: named(USER_CLAIM, &["sub"]),
            team: named(TEAM_CLAIM, &[]),
            application: named(APPLICATION_CLAIM, &["azp", "client_id"]),
        }
    }

    fn token_places(&mut self, path: &str, written: &tollgate_manifest::JwtProvider) -> Vec<Place> {
        let bearer = || Place::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() };
        let Some(from) = &written.extract_from else {
            // As in Envoy Gateway (RFC 6750 sections 2.1 and 2.3).
            return vec![bearer(), Place::Query("access_token".to_owned())];
        };
        let mut places = Vec::new();
        for (at, header) in from.headers.iter().enumerate() {
            let name = self.header(&format!("{path}.extractFrom.headers[{at}].name"), &header.name);
            let prefix = header.value_prefix.clone().unwrap_or_default();
            places.extend(name.map(|name| Place::Header { name, prefix }));
        }
        places.extend(from.cookies.iter().cloned().map(Place::Cookie));
        places.extend(from.params.iter().cloned().map(Place::Query));
        if places.is_empty() {
            self.mistake(format!("{path}.extractFrom"), "expected a header, cookie or parameter");
        }
        places
    }

    fn remote(&mut self, path: &str, written: &'a RemoteJwks) -> Option<KeySource> {
        let uri = written.uri.trim();
        let parsed =
            uri.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
        if !matches!(scheme, Some("https" | "http")) {
            self.mistake(format!("{path}.uri"), "expected an address that begins with https://");
            return None;
        }
        let host = parsed.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_near =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback());
        if scheme == Some("http") && !is_near {
            self.warning(format!("{path}.uri"), "whoever is between can change the keys: use https://");
        }
        if parsed.as_ref().and_then(http::Uri::authority).is_some_and(|it| it.as_str().contains('@')) {
            self.mistake(format!("{path}.uri"), "expected no user in the address");
            return None;
        }
        let refresh = written.cache_duration.map_or(REFRESH_DEFAULT, GatewayDuration::get);
        if refresh < REFRESH_MIN {
            self.mistake(format!("{path}.cacheDuration"), "expected at least 1s");
            return None;
        }
        let host = self.key_host(path, &written.backend_refs)?;
        Some(KeySource::Remote { uri: uri.to_owned(), refresh, host })
    }

    /// Who is asked for a key set: `Some(None)` is whom its address leads to.
    fn key_host(&mut self, path: &str, written: &'a [BackendObjectReference]) -> Option<Option<KeyHost>> {
        let mut host: Option<KeyHost> = None;
        for (at, reference) in written.iter().enumerate() {
            let path = format!("{path}.backendRefs[{at}]");
            let found = if SERVICE.is(&reference.group, &reference.kind) {
                self.key_service(&path, reference)?
            } else {
                self.key_backend(&path, reference)?
            };
            match &mut host {
                None => host = Some(found),
                Some(host) if host.tls == found.tls => host.endpoints.extend(found.endpoints),
                Some(_) => {
                    self.mistake(path, "expected the same TLS as that of the first one");
                    return None;
                }
            }
        }
        Some(host)
    }

    /// A Service is known by the name that the DNS of its cluster has for it.
    fn key_service(&mut self, path: &str, reference: &BackendObjectReference) -> Option<KeyHost> {
        let own = &self.item.id.namespace;
        let (namespace, name) = (reference.namespace.as_ref().unwrap_or(own), &reference.name);
        if !grant::permits(self.index, (SECURITY, own), (SERVICE, namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace:?} lets this policy use Service {name:?}");
            self.unresolved(path, Unresolved::RefNotPermitted, message);
            return None;
        }
        if !is_label(name) {
            self.mistake(format!("{path}.name"), format!("{name:?} is no name of a Service"));
            return None;
        }
        let Some(port) = reference.port else {
            self.mistake(path, "expected a port: a Service may have several");
            return None;
        };
        let hostname = format!("{name}.{namespace}.{CLUSTER}");
        Some(KeyHost { endpoints: vec![Endpoint::Fqdn { hostname, port }], tls: None })
    }

    fn key_backend(&mut self, path: &str, reference: &'a BackendObjectReference) -> Option<KeyHost> {
        let (index, own) = (self.index, &self.item.id.namespace);
        let (namespace, name) = (reference.namespace.as_ref().unwrap_or(own), &reference.name);
        if !BACKEND.is(&reference.group, &reference.kind) {
            let found = format!("{} of group {:?}", reference.kind, reference.group);
            self.mistake(
                path,
                format!("expected a Service, or a Backend of gateway.envoyproxy.io, found {found}"),
            );
            return None;
        }
        if !grant::permits(index, (SECURITY, own), (BACKEND, namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace:?} lets this policy use Backend {name:?}");
            self.unresolved(path, Unresolved::RefNotPermitted, message);
            return None;
        }
        if index.is_invalid(BACKEND, namespace, name) {
            // What is wrong with it is told already.
            self.broken.get_or_insert(format!("Backend \"{namespace}/{name}\" has mistakes"));
            return None;
        }
        let Some(backend) = index.backends.get(namespace, name) else {
            let message = format!("no Backend \"{namespace}/{name}\"");
            self.unresolved(path, Unresolved::BackendNotFound, message);
            return None;
        };
        match PlainBackends::new(index).key_host(backend, self.findings) {
            Ok(host) => Some(host),
            Err(message) => {
                self.mistake(path, message);
                None
            }
        }
    }

    fn local(&mut self, path: &str, written: &'a LocalJwks) -> Option<KeySource> {
        match (written.kind, &written.inline, &written.value_ref) {
            (LocalJwksType::Inline, Some(text), _) => self.written(&format!("{path}.inline"), text),
            (LocalJwksType::ValueRef, _, Some(reference)) => {
                self.referred(&format!("{path}.valueRef"), reference)
            }
            (LocalJwksType::Inline | LocalJwksType::ValueRef, _, _) => {
                self.mistake(path, "expected inline or valueRef, as the type says");
                None
            }
        }
    }

    fn written(&mut self, path: &str, text: &str) -> Option<KeySource> {
        match check(text, Written::ForAll) {
            Ok(()) => Some(KeySource::Written(text.to_owned())),
            Err(message) => {
                self.mistake(path, message);
                None
            }
        }
    }

    fn referred(&mut self, path: &str, reference: &'a LocalObjectReference) -> Option<KeySource> {
        let namespace = &self.item.id.namespace;
        if SECRET.is(&reference.group, &reference.kind) {
            let whole = SecretObjectReference {
                group: String::new(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
                namespace: None,
            };
            let secret = self.secret(path, &whole)?;
            let found = only(&secret.spec.data);
            let checked = found
                .ok_or_else(|| missing(&reference.name))
                .and_then(|(key, value)| check(value.expose(), Written::InSecret).map(|()| key.clone()));
            return match checked {
                Ok(key) => {
                    let (namespace, name) = (secret.id.namespace.clone(), secret.id.name.clone());
                    Some(KeySource::Secret(SecretRef { namespace, name, key }))
                }
                Err(message) => {
                    self.mistake(path, message);
                    None
                }
            };
        }
        if !CONFIG_MAP.is(&reference.group, &reference.kind) {
            self.unresolved(path, Unresolved::InvalidKind, "expected a ConfigMap or a Secret".to_owned());
            return None;
        }
        let Some(map) = self.index.config_maps.get(namespace, &reference.name) else {
            let message = format!("no ConfigMap \"{namespace}/{}\"", reference.name);
            self.unresolved(path, Unresolved::ValueNotFound, message);
            return None;
        };
        match only(&map.spec.data) {
            Some((_, text)) => self.written(path, text),
            None => {
                self.mistake(path, missing(&reference.name));
                None
            }
        }
    }

    fn unresolved(&mut self, path: &str, reason: Unresolved, message: String) {
        self.findings.unresolved(&self.item.id, path, reason, message.clone());
        self.broken.get_or_insert(message);
    }
}

fn missing(name: &str) -> String {
    format!("no key {KEY_SET:?} in {name:?}")
}

/// The key set of an object: its member of this name, or its only one.
fn only<V>(data: &std::collections::BTreeMap<String, V>) -> Option<(&String, &V)> {
    data.get_key_value(KEY_SET).or_else(|| data.first_key_value().filter(|_| data.len() == 1))
}

/// Who can read a key set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    ForAll,
    InSecret,
}

/// Whether `text` is a key set (RFC 7517 section 5) that may be there.
fn check(text: &str, written: Written) -> Result<(), String> {
    let set: Value = serde_json::from_str(text).map_err(|_| "expected a JSON Web Key Set".to_owned())?;
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let keys = keys.ok_or_else(|| "expected a JSON Web Key Set with a key".to_owned())?;
    let is_shared = |key: &Value| key.get("kty").and_then(Value::as_str) == Some("oct");
    if written == Written::ForAll && keys.iter().any(is_shared) {
        return Err("a key of type \"oct\" signs as well as it verifies: put it into a Secret".to_owned());
    }
    if keys.iter().any(|key| key.get("d").is_some()) {
        return Err("there is a private key in it: expected public ones".to_owned());
    }
    match keys.iter().position(is_off_its_curve) {
        Some(at) => Err(format!("keys[{at}] is no key: its point is not on its curve")),
        None => Ok(()),
    }
}

/// Whether a key is a point (RFC 7518 section 6.2.1) that is none of its curve.
fn is_off_its_curve(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let (Some("EC"), Some(curve)) = (text("kty"), text("crv")) else { return false };
    let point = number("x").zip(number("y"));
    point.is_some_and(|(x, y)| curve::has_point(curve, &x, &y) == Some(false))
}

/// Whether it is one label of a name in the DNS (RFC 1123 section 2.1).
fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}
