//! Tokens: who calls by what they say, and by which keys they are verified.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate_config::bundle::{
    Access, AccessRule, Endpoint, ForwardProxy, Jwt, JwtProvider, KeyHost, KeySource, Permission, Place,
    PrincipalClaims, TokenCondition, UpstreamTls,
};
use tollgate_effects::Secrets;
use tollgate_suite::{Act, PATIENCE, ScriptedBackend, Tested, free_port, header, sized, status};

use tollgate_testkit::forward_proxy::Manner;

use crate::access::{allowing, api_keys, bare, chat_with, for_model, good, guarded, reference, secrets};
use crate::forward::{known, proxy_that, with_tls_before};

/// An issuer of which nobody knows by its name where it is.
const HIDDEN: &str = "http://issuer.invalid/jwks";

const SHARED: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(claims: &serde_json::Value, algorithm: &str, kid: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = serde_json::json!({ "alg": algorithm, "typ": "JWT", "kid": kid }).to_string();
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(&signature))
}

fn token(claims: &serde_json::Value, kid: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SHARED);
    signed(claims, "HS256", kid, |message| hmac::sign(&key, message).as_ref().to_vec())
}

fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.expect("a time").as_secs()
}

fn claims() -> serde_json::Value {
    serde_json::json!({
        "iss": "https://issuer", "aud": ["gateway"], "exp": now_s() + 600, "sub": "carol", "azp": "notebook",
        "org": { "team": "search" }, "groups": ["eng", "ops"], "scope": "chat embed", "level": 3,
    })
}

fn provider(keys: KeySource) -> JwtProvider {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    JwtProvider {
        name: "issuer".to_owned(),
        issuer: Some("https://issuer".to_owned()),
        audiences: vec!["gateway".to_owned()],
        keys,
        places: vec![Place::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }],
        claim_headers: vec![("x-team".to_owned(), "org.team".to_owned())],
        names: PrincipalClaims {
            user: list(&["sub"]),
            team: list(&["org.team"]),
            application: list(&["azp"]),
        },
    }
}

fn tokens(keys: KeySource) -> Access {
    Access { jwt: Some(Jwt { optional: false, providers: vec![provider(keys)] }), ..Access::default() }
}

fn local() -> (KeySource, Secrets) {
    let set = serde_json::json!({ "keys": [{ "kty": "oct", "kid": "1", "k": encode(SHARED) }] }).to_string();
    (KeySource::Secret(reference("jwks")), secrets(&[("jwks", &set)]))
}

#[test]
fn a_token_tells_who_calls_and_what_backends_may_know() {
    let (keys, secrets) = local();
    let backend = good();
    let condition = TokenCondition {
        provider: "issuer".to_owned(),
        claims: vec![
            ("groups".to_owned(), vec!["none".to_owned(), "ops".to_owned()]),
            ("org.team".to_owned(), vec!["search".to_owned()]),
        ],
        scopes: vec!["chat".to_owned()],
    };
    let cel = "has(jwt.claims.level) && jwt.claims.org.team == 'search' && jwt.claims.level >= 3 && 'eng' in jwt.claims.groups";
    let rule = AccessRule { token: Some(condition), cel: Some(cel.to_owned()), ..bare(Permission::Allow) };
    let access = Access { authorization: allowing(vec![rule]), ..tokens(keys) };
    let tested = Tested::start_bundle(guarded(&backend, access), secrets);
    let bearer = |claims: &serde_json::Value| format!("Bearer {}", token(claims, "1"));
    let good = bearer(&claims());
    let response = tested.send(&chat_with(&[("authorization", &good), ("x-team", "forged")]));
    assert_eq!(status(&response), 200, "{response}");
    let asked = backend.request();
    assert_eq!(header(&asked, "x-team"), Some("search"), "{asked}");
    assert_eq!(header(&asked, "authorization"), None, "{asked}");
    let line = &tested.log_lines(1)[0];
    assert_eq!(line["tollgate.user"], "carol");
    assert_eq!(line["tollgate.team"], "search");
    assert_eq!(line["tollgate.application"], "notebook");
    assert_eq!(line["tollgate.key_id"], "https://issuer");
    for (member, value, expected) in [
        ("scope", serde_json::json!("embed"), 403),
        ("groups", serde_json::json!(["eng"]), 403),
        ("level", serde_json::json!(2), 403),
        ("level", serde_json::Value::Null, 403),
        ("exp", serde_json::json!(now_s() - 61), 401),
        ("aud", serde_json::json!("other"), 401),
    ] {
        let mut claims = claims();
        claims[member] = value;
        let response = tested.send(&chat_with(&[("authorization", &bearer(&claims))]));
        assert_eq!(status(&response), expected, "{member} {response}");
    }
    assert_eq!(status(&tested.send(&chat_with(&[]))), 401);
    assert!(backend.requests.try_recv().is_err());
}

fn by_key_alone(id: &str) -> Access {
    let mut access = api_keys(&[id]);
    if let Some(keys) = &mut access.api_keys {
        keys.places = vec![Place::Header { name: "x-api-key".to_owned(), prefix: String::new() }];
    }
    access
}

#[test]
fn without_the_keys_of_an_issuer_nobody_is_told_that_a_token_is_bad() {
    let backend = good();
    let keys = KeySource::Remote {
        uri: format!("http://127.0.0.1:{}/jwks", free_port()),
        refresh: Duration::from_secs(300),
        host: None,
    };
    let tested = Tested::start_bundle(guarded(&backend, tokens(keys)), Secrets::default());
    let good = format!("Bearer {}", token(&claims(), "1"));
    let response = tested.send(&chat_with(&[("authorization", &good)]));
    assert_eq!(status(&response), 503, "{response}");
    assert_eq!(header(&response, "retry-after"), Some("1"), "{response}");
    assert_eq!(status(&tested.send(&chat_with(&[("authorization", "Bearer a.b.c")]))), 401);
    assert_eq!(status(&tested.send(&chat_with(&[]))), 401);
}

fn published(keys: &[(&str, &Ed25519KeyPair)]) -> Vec<Act> {
    let jwk = |(kid, key): &(&str, &Ed25519KeyPair)| {
        let x = encode(key.public_key().as_ref());
        serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
    };
    let set = serde_json::json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string();
    vec![Act::Write(sized(200, "application/json", "connection: close\r\n", &set)), Act::Close]
}

#[test]
fn keys_that_an_issuer_changes_are_fetched_when_they_are_missed_and_old_ones_serve_while_it_is_gone() {
    let [old, new] = [(); 2].map(|()| Ed25519KeyPair::generate().expect("a key"));
    let issuer = ScriptedBackend::start(vec![
        published(&[("old", &old)]),
        published(&[("old", &old), ("new", &new)]),
        vec![Act::Write(sized(500, "text/plain", "connection: close\r\n", "gone")), Act::Close],
    ]);
    let backend = good();
    let uri = format!("http://{}/jwks", issuer.address);
    let keys = KeySource::Remote { uri, refresh: Duration::from_secs(300), host: None };
    let tested = Tested::start_bundle(guarded(&backend, tokens(keys)), Secrets::default());
    let by = |key: &Ed25519KeyPair, kid: &str| {
        let token = signed(&claims(), "EdDSA", kid, |message| key.sign(message).as_ref().to_vec());
        status(&tested.send(&chat_with(&[("authorization", &format!("Bearer {token}"))])))
    };
    let until = |wanted: &dyn Fn() -> u16, before: &[u16]| {
        let end = Instant::now() + PATIENCE;
        loop {
            match wanted() {
                200 => return,
                other => assert!(before.contains(&other) && Instant::now() < end, "{other}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    assert_eq!(by(&old, "old"), 200);
    assert_eq!(by(&new, "old"), 401);
    // Missed too soon after they were fetched, it is a bad token.
    until(&|| by(&new, "new"), &[401]);
    assert_eq!(by(&old, "old"), 200);
    // A stranger's key makes nobody ask the issuer more than once in a while.
    let asked = issuer.requests.try_iter().count();
    for number in 0..50 {
        assert!([401, 503].contains(&by(&new, &format!("unknown{number}"))));
    }
    assert!(issuer.requests.try_iter().count() <= 1 && asked <= 3, "{asked}");
    assert_eq!((by(&old, "old"), by(&new, "new")), (200, 200));
}

/// Publishes what `keys` are at the moment of each question, and takes a while to answer. Returns its address, and how often it was asked.
fn issuer(keys: Arc<Mutex<Vec<Act>>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            std::thread::sleep(Duration::from_millis(300));
            for act in keys.lock().expect("the keys").iter() {
                if let Act::Write(bytes) = act {
                    let _ = stream.write_all(bytes);
                }
            }
        }
    });
    (address, asked)
}

#[test]
fn no_good_token_is_refused_while_its_issuer_changes_keys_under_load() {
    let [old, new, stranger] = [(); 3].map(|()| Ed25519KeyPair::generate().expect("a key"));
    let keys = Arc::new(Mutex::new(published(&[("old", &old)])));
    let (address, asked) = issuer(Arc::clone(&keys));
    let backend = good();
    let source = KeySource::Remote {
        uri: format!("http://{address}/jwks"),
        refresh: Duration::from_secs(300),
        host: None,
    };
    let mut bundle = guarded(&backend, tokens(source));
    // Whoever shows a key of this one is asked for a token only once the model is known.
    let mut beside = bundle.routes[0].clone();
    beside.rules = vec![for_model("beside", Some("default/q"))];
    bundle.routes.insert(0, beside);
    bundle.access.insert("default/q".to_owned(), by_key_alone("alice"));
    let tested = Tested::start_bundle(bundle, secrets(&[("alice", "sk-alice")]));
    let with = |key: &Ed25519KeyPair, kid: &str, line: (&str, &str)| {
        let token = signed(&claims(), "EdDSA", kid, |message| key.sign(message).as_ref().to_vec());
        status(&tested.send(&chat_with(&[("authorization", &format!("Bearer {token}")), line])))
    };
    let by = |key: &Ed25519KeyPair, kid: &str| with(key, kid, ("x-other", "1"));
    let late = |key: &Ed25519KeyPair, kid: &str| with(key, kid, ("x-api-key", "sk-alice"));
    // The first one may come before the keys do.
    assert_eq!(by(&old, "old"), 200);
    assert_eq!(by(&old, "new"), 401);
    std::thread::sleep(Duration::from_secs(6));
    *keys.lock().expect("the keys") = published(&[("new", &new)]);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (by, late, new, stranger) = (&by, &late, &new, &stranger);
            scope.spawn(move || {
                assert_eq!(if thread % 2 == 0 { by(new, "new") } else { late(new, "new") }, 200);
                for _ in 0..20 {
                    assert_eq!((by(new, "new"), late(new, "new")), (200, 200));
                }
            });
            scope.spawn(move || {
                for number in 0..20 {
                    assert_eq!(by(stranger, &format!("forged {thread} {number}")), 401);
                    assert_eq!(late(stranger, "new"), 401);
                }
            });
        }
    });
    // One at the start, one for what was missed then, and one for each five seconds since.
    let asked = asked.load(Ordering::Relaxed);
    let may_ask = 2 + began.elapsed().as_secs() / 5;
    assert!(asked as u64 <= may_ask, "asked {asked} times, not {may_ask}");
    assert_eq!(by(&old, "old"), 401);
}

/// How a chat with a good token fares where its keys are published at `uri`, by `host`, behind `proxy`.
fn by_way_of(uri: &str, host: Option<KeyHost>, proxy: Option<ForwardProxy>, key: &Ed25519KeyPair) -> u16 {
    let backend = good();
    let keys = KeySource::Remote { uri: uri.to_owned(), refresh: Duration::from_secs(300), host };
    let mut bundle = guarded(&backend, tokens(keys));
    let proxy = proxy.map(|mut proxy| {
        proxy.bypass.push("127.0.0.1".to_owned());
        proxy
    });
    bundle.forward_proxies = proxy.map(|proxy| ("l".to_owned(), proxy)).into_iter().collect();
    let tested = Tested::start_bundle(bundle, Secrets::default());
    let token = signed(&claims(), "EdDSA", "1", |message| key.sign(message).as_ref().to_vec());
    status(&tested.send(&chat_with(&[("authorization", &format!("Bearer {token}"))])))
}

#[test]
fn keys_are_fetched_from_the_host_that_stands_for_their_address() {
    let key = Ed25519KeyPair::generate().expect("a key");
    let issuer = ScriptedBackend::start(vec![published(&[("1", &key)])]);
    let at = |address: SocketAddr| Endpoint::Ip { address: address.ip(), port: address.port() };
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let clear = KeyHost { endpoints: vec![at(dead), at(issuer.address)], tls: None };
    assert_eq!(by_way_of(HIDDEN, Some(clear), None, &key), 200);
    let asked = issuer.request();
    assert!(asked.starts_with("GET /jwks HTTP/1.1\r\n"), "{asked}");
    assert_eq!(header(&asked, "host"), Some("issuer.invalid"), "{asked}");
    let (secure, identity) = with_tls_before(issuer.address);
    let mut tls = identity.trust();
    let host = |tls: &UpstreamTls| Some(KeyHost { endpoints: vec![at(secure)], tls: Some(tls.clone()) });
    // The certificate is for another name.
    assert_eq!(by_way_of(HIDDEN, host(&tls), None, &key), 503);
    tls.server_name = "127.0.0.1".to_owned();
    assert_eq!(by_way_of(HIDDEN, host(&tls), None, &key), 200);
    assert_eq!(header(&issuer.request(), "host"), Some("issuer.invalid"));
}

#[test]
fn keys_are_fetched_through_the_forward_proxy_unless_it_is_bypassed() {
    let key = Ed25519KeyPair::generate().expect("a key");
    let issuer = ScriptedBackend::start(vec![published(&[("1", &key)])]);
    let proxy = proxy_that(Manner::Lead(issuer.address));
    let named = Endpoint::Fqdn { hostname: "keys.invalid".to_owned(), port: 8080 };
    let host = || Some(KeyHost { endpoints: vec![named.clone()], tls: None });
    assert_eq!(by_way_of(HIDDEN, host(), Some(known(&proxy)), &key), 200);
    assert!(proxy.heads()[0].starts_with("CONNECT keys.invalid:8080 HTTP/1.1\r\n"), "{:?}", proxy.heads());
    let around = ForwardProxy { bypass: vec!["*.invalid".to_owned()], ..known(&proxy) };
    assert_eq!(by_way_of(HIDDEN, host(), Some(around), &key), 503);
    assert_eq!(proxy.heads().len(), 1);
    // In clear text, a proxy is told the whole address.
    by_way_of(HIDDEN, None, Some(known(&proxy)), &key);
    let heads = proxy.heads();
    assert!(heads[1].starts_with("GET http://issuer.invalid/jwks HTTP/1.1\r\n"), "{heads:?}");
}
