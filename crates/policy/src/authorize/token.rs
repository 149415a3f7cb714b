//! JSON Web Tokens (RFC 7519): which are good, and what they say. The algorithm is one that the configured key is for; what a token says
//! of keys beside the id is not read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tollgate_config::TOKEN_LEEWAY_S as LEEWAY_S;
use tollgate_config::bundle::{JwtProvider, KeySource};
use tollgate_terms::Principal;

use super::keyring::{Key, KeySet};
use super::strict;
use super::vouched::Vouched;

/// Longest token. A head of a request is four times that.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// No token is good after the year 9999.
const TIME_MAX_S: u64 = 253_402_300_799;

/// Most keys that are tried for a token that names none.
const KEYS_TRIED_MAX: usize = 16;

/// An unknown key is a reason to fetch the set anew, once in this time, seconds.
pub const REFETCH_S: u64 = 5;

/// Longest claim that is shown in a header or names a caller.
const CLAIM_BYTES_MAX: usize = 1024;

/// The forms of token that give access (RFC 9068 section 2.1, RFC 7519 section 5.1).
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// How a token is signed (RFC 7518 section 3, RFC 8037). There is none that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA with PSS and SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// EdDSA on Curve25519.
    EdDsa,
    /// HMAC with SHA-256, by a key that both sides share.
    Hs256,
    /// The same with SHA-384.
    Hs384,
    /// The same with SHA-512.
    Hs512,
}

impl Algorithm {
    /// The one called `name`, in exactly this spelling.
    pub fn called(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            // The second name is that of RFC 9864.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }
}

/// What tells whether a key has made a signature.
pub trait Verifier: Send + Sync {
    /// Whether `signature` is that of `message` by `algorithm`, which is one of those of the key.
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool;
}

/// Why a token is not good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Whatever comes.
    Bad,
    /// Its key is not here, and may be after the set was fetched.
    KeyMissing,
}

/// The claims of a token that is good at `now_s`.
pub(super) fn verify(
    token: &str,
    provider: &JwtProvider,
    set: Option<&KeySet>,
    now_s: u64,
) -> Result<Map<String, Value>, Unfit> {
    let signed = Signed::parse(token).ok_or(Unfit::Bad)?;
    // Before the keys are looked at, so that only a token that could be good is a reason to fetch some.
    let claims = signed.claims(provider, now_s).ok_or(Unfit::Bad)?;
    let set = set.ok_or(Unfit::KeyMissing)?;
    let Some(keys) = &set.keys else { return Err(Unfit::KeyMissing) };
    let names_it = |key: &&Key| match (&signed.key_id, &key.id) {
        (Some(named), Some(id)) => named == id,
        (None, _) | (_, None) => true,
    };
    let mut named = keys.iter().filter(names_it).peekable();
    if named.peek().is_none() {
        let may_ask = set.asked_at_s.is_some_and(|asked| now_s >= asked.saturating_add(REFETCH_S));
        return Err(if may_ask { Unfit::KeyMissing } else { Unfit::Bad });
    }
    let mut fitting = named.filter(|key| key.algorithms.contains(&signed.algorithm)).take(KEYS_TRIED_MAX);
    let verifies =
        |key: &Key| key.verifier.verifies(signed.algorithm, signed.message.as_bytes(), &signed.signature);
    if fitting.any(verifies) { Ok(claims) } else { Err(Unfit::Bad) }
}

/// The claims of a token that is good at `now_s`, whose signature a filter has verified: `vouched` is what it says of the tokens of this provider.
pub(super) fn believe(
    token: &str,
    provider: &JwtProvider,
    vouched: Option<&Vouched>,
    now_s: u64,
) -> Result<Map<String, Value>, Unfit> {
    let signed = Signed::parse(token).ok_or(Unfit::Bad)?;
    let claims = signed.claims(provider, now_s).ok_or(Unfit::Bad)?;
    // A filter may take an empty id for none. There is no key of that name.
    if signed.key_id.as_deref() == Some("") {
        return Err(Unfit::Bad);
    }
    // Whoever can read such a key set could sign.
    let is_shared = matches!(signed.algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512);
    if is_shared && !matches!(provider.keys, KeySource::Secret(_)) {
        return Err(Unfit::Bad);
    }
    let is_it = vouched.is_some_and(|vouched| vouched.is_of(&signed.header, &claims));
    if is_it { Ok(claims) } else { Err(Unfit::Bad) }
}

/// A token, taken apart.
struct Signed<'a> {
    header: Map<String, Value>,
    algorithm: Algorithm,
    key_id: Option<String>,
    /// What is signed.
    message: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Signed<'a> {
    fn parse(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        // A dot is none of the letters of base64, and padding, other letters and other bits at the end are refused too.
        let [header, payload, signature] =
            [header, payload, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let header = strict::object(&header?)?;
        // Extensions that must be understood (RFC 7515 section 4.1.11), and what is within is no token again.
        if ["crit", "b64", "enc", "zip", "cty"].iter().any(|member| header.contains_key(*member)) {
            return None;
        }
        let is_token = match header.get("typ") {
            None => true,
            Some(Value::String(typ)) => TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)),
            Some(_) => false,
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        let algorithm = Algorithm::called(header.get("alg")?.as_str()?)?;
        let signature = signature?;
        (is_token && !signature.is_empty()).then_some(Self {
            header,
            algorithm,
            key_id,
            message,
            signature,
            payload: payload?,
        })
    }

    /// The claims, if they are those of a token for us and for now.
    fn claims(&self, provider: &JwtProvider, now_s: u64) -> Option<Map<String, Value>> {
        let claims = strict::object(&self.payload)?;
        let end = time(claims.get("exp")?)?;
        if now_s >= end.saturating_add(LEEWAY_S) {
            return None;
        }
        for begin in ["nbf", "iat"].iter().filter_map(|name| claims.get(*name)) {
            if time(begin)? > now_s.saturating_add(LEEWAY_S) {
                return None;
            }
        }
        let issuer = provider.issuer.as_deref();
        if issuer.is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return None;
        }
        let is_for_us = provider.audiences.is_empty() || is_for(claims.get("aud")?, &provider.audiences)?;
        is_for_us.then_some(claims)
    }
}

/// A moment, in whole seconds.
fn time(value: &Value) -> Option<u64> {
    value.as_u64().filter(|seconds| *seconds <= TIME_MAX_S)
}

/// Whether `audience`, a text or a list of texts, has one of `ours`; `None` if it is something else.
fn is_for(audience: &Value, ours: &[String]) -> Option<bool> {
    let is_ours = |text: &str| ours.iter().any(|our| our == text);
    match audience {
        Value::String(text) => Some(is_ours(text)),
        Value::Array(texts) => {
            let texts = texts.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(texts.into_iter().any(is_ours))
        }
        _ => None,
    }
}

/// The claim at `path`: a claim of this very name, else one step into an object for each dot.
pub(super) fn claim<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Who the claims say it is.
pub(super) fn principal(provider: &JwtProvider, claims: &Map<String, Value>) -> Principal {
    let named = |paths: &[String]| {
        let found = paths.iter().filter_map(|path| claim(claims, path)).find_map(Value::as_str);
        found.filter(|text| !text.is_empty() && text.len() <= CLAIM_BYTES_MAX).map(Into::into)
    };
    let issuer = provider.issuer.as_deref().unwrap_or(&provider.name);
    Principal {
        user: named(&provider.names.user),
        team: named(&provider.names.team),
        application: named(&provider.names.application),
        key_id: Some(issuer.into()),
    }
}

/// The headers in which backends are told claims. What cannot stand in a header is left out; a list of texts is joined by commas.
pub(super) fn claim_headers(
    provider: &JwtProvider,
    claims: &Map<String, Value>,
) -> Vec<(HeaderName, HeaderValue)> {
    let header = |(name, path): &(String, String)| {
        let text = match claim(claims, path)? {
            Value::String(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","),
            Value::Null | Value::Object(_) => return None,
        };
        let value = HeaderValue::from_str(&text).ok().filter(|value| value.len() <= CLAIM_BYTES_MAX)?;
        Some((name.parse().ok()?, value))
    };
    provider.claim_headers.iter().filter_map(header).collect()
}
