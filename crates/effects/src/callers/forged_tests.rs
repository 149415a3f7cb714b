//! Tokens that are good, and many that only look like it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value, json};
use tollgate_config::bundle::{
    Access, Bundle, HandedOver, Jwt, JwtProvider, KeySource, Listener, OnLoss, Place, PrincipalClaims, Route,
    Rule, SecretRef,
};
use tollgate_config::{CompiledAccess, Snapshot};
use tollgate_exchange::authorize::{Caller, Denied, Keyring, Vouched, authorize};
use tollgate_terms::{RouteName, Secret};

use self::tokens::{by_shape, claims, encode, forged, good, hs256, key_set, token, unfit, with};
use super::Callers;
use crate::Secrets;

mod tokens;

fn now_s() -> u64 {
    1_700_000_000
}

const SHARED: &[u8] = b"a key that both sides share, long enough";

type Guard = (Arc<CompiledAccess>, Arc<Keyring>);

fn guard(keys: KeySource, secrets: &Secrets) -> Guard {
    guard_behind(HandedOver::default(), keys, secrets)
}

/// One that a filter stands before.
fn guard_behind(handed_over: HandedOver, keys: KeySource, secrets: &Secrets) -> Guard {
    let provider = JwtProvider {
        name: "issuer".to_owned(),
        issuer: Some("https://issuer".to_owned()),
        audiences: vec!["gateway".to_owned()],
        keys,
        places: vec![Place::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }],
        claim_headers: Vec::new(),
        names: PrincipalClaims { user: vec!["sub".to_owned()], ..PrincipalClaims::default() },
    };
    let jwt = Some(Jwt { optional: false, providers: vec![provider] });
    let access = Access { jwt, handed_over, ..Access::default() };
    let rule = Rule {
        name: None,
        matches: Vec::new(),
        targets: Vec::new(),
        timeouts: Default::default(),
        retry: Default::default(),
        limits: Vec::new(),
        models_owned_by: String::new(),
        models_created_at: 0,
        access: Some("p".to_owned()),
        broken: None,
    };
    let listener = Listener {
        name: "l".to_owned(),
        address: Ipv4Addr::LOCALHOST.into(),
        port: 1,
        hostname: None,
        tls: None,
        request_body_bytes_max: 1,
    };
    let route = Route {
        name: RouteName::new("default/r"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![rule],
        costs: Vec::new(),
        on_loss: OnLoss::Allow,
    };
    let bundle = Bundle {
        listeners: vec![listener],
        routes: vec![route],
        access: [("p".to_owned(), access)].into(),
        ..Bundle::default()
    };
    let keyring = Callers::new(&bundle, secrets, None, || None).keyring();
    let (snapshot, diagnostics) = Snapshot::compile(bundle);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    (Arc::clone(snapshot.entries("l", "h")[0].access().expect("a policy")), keyring)
}

/// Who `token` proves.
fn try_on(guard: &Guard, token: &str) -> Result<Option<Arc<str>>, Denied> {
    try_with(guard, token, &[])
}

/// The same, where a filter has said something of tokens.
fn try_with((access, keyring): &Guard, token: &str, vouched: &[Vouched]) -> Result<Option<Arc<str>>, Denied> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
    headers.insert("authorization", value);
    let method = Method::GET;
    let (headers, now_s) = (&headers, now_s());
    let caller = Caller { method: &method, path: "/", query: None, headers, address: "", now_s, vouched };
    authorize(access, keyring, &caller).map(|granted| granted.principal.user.clone())
}

#[test]
fn good_tokens_are_taken() {
    let guard = guard(KeySource::Written(key_set()), &Secrets::default());
    let last_moment = with("exp", json!(now_s() - 59));
    for good in good().into_iter().chain([last_moment]) {
        assert_eq!(try_on(&guard, &good), Ok(Some("carol".into())), "{good}");
    }
}

#[test]
fn no_forged_token_is_taken() {
    let guard = guard(KeySource::Written(key_set()), &Secrets::default());
    let all = forged();
    assert!(all.len() >= 90, "{}", all.len());
    for (what, token) in all {
        assert_eq!(try_on(&guard, &token), Err(Denied::Unproved), "{what}: {token}");
    }
}

/// What a filter says that has verified `token`, or takes it for one that is good whatever it is.
fn vouched_of(token: &str) -> Option<Vouched> {
    let part = |nth: usize| -> Option<Map<String, Value>> {
        let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(nth)?).ok()?;
        serde_json::from_slice(&part).ok()
    };
    Some(Vouched { provider: "p/issuer".to_owned(), head: part(0)?, claims: part(1)? })
}

#[test]
fn behind_a_filter_only_what_it_has_verified_is_taken() {
    let handed_over = HandedOver { tokens: true, ..HandedOver::default() };
    let guard = guard_behind(handed_over, KeySource::Written(key_set()), &Secrets::default());
    let good = good();
    for token in &good {
        assert_eq!(try_on(&guard, token), Err(Denied::Unproved), "not verified: {token}");
        let vouched = vouched_of(token).expect("a token");
        assert_eq!(
            try_with(&guard, token, std::slice::from_ref(&vouched)),
            Ok(Some("carol".into())),
            "{token}"
        );
        let elsewhere = Vouched { provider: "p/other".to_owned(), ..vouched };
        assert_eq!(try_with(&guard, token, &[elsewhere]), Err(Denied::Unproved), "of another: {token}");
    }
    // Verified was another one than that which is shown.
    let other = vouched_of(&good[0]).expect("a token");
    for (what, token) in forged() {
        assert_eq!(try_on(&guard, &token), Err(Denied::Unproved), "{what}");
        let is_same = vouched_of(&token).as_ref() == Some(&other);
        assert!(is_same || try_with(&guard, &token, std::slice::from_ref(&other)).is_err(), "{what}");
    }
    // A filter that is content with less than the gateway.
    for (what, token) in [by_shape(), unfit()].concat() {
        let vouched: Vec<Vouched> = vouched_of(&token).into_iter().collect();
        assert_eq!(try_with(&guard, &token, &vouched), Err(Denied::Unproved), "{what}");
    }
    // The key set of an issuer is for all to read.
    let shared = token(json!({ "alg": "HS256" }), &claims(), |it| hs256(SHARED, it));
    let vouched = vouched_of(&shared).expect("a token");
    assert_eq!(try_with(&guard, &shared, &[vouched]), Err(Denied::Unproved));
}

#[test]
fn a_shared_key_serves_only_from_a_secret() {
    let reference = SecretRef { namespace: "n".to_owned(), name: "s".to_owned(), key: "jwks".to_owned() };
    let set = json!({ "keys": [{ "kty": "oct", "k": encode(SHARED) }] }).to_string();
    let secrets: Secrets = [(reference.clone(), Secret::new(set.clone()))].into_iter().collect();
    let signed = token(json!({ "alg": "HS256" }), &claims(), |it| hs256(SHARED, it));
    let in_secret = guard(KeySource::Secret(reference), &secrets);
    assert_eq!(try_on(&in_secret, &signed), Ok(Some("carol".into())));
    let by_other =
        token(json!({ "alg": "HS256" }), &claims(), |it| hs256(b"another key, which is long enough too", it));
    assert_eq!(try_on(&in_secret, &by_other), Err(Denied::Unproved));
    let written = guard(KeySource::Written(set), &Secrets::default());
    assert_eq!(try_on(&written, &signed), Err(Denied::Unproved));
}
