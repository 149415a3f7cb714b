//! Tokens of an issuer, and many that only look like them. Shared with the tests that show them to a real Envoy: whoever includes this says what time it is,
//! by a function `now_s`.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::now_s;

pub(crate) struct Keys {
    pub(crate) rsa: RsaKeyPair,
    pub(crate) other_rsa: RsaKeyPair,
    pub(crate) ec: EcdsaKeyPair,
    pub(crate) ec_der: EcdsaKeyPair,
    pub(crate) ed: Ed25519KeyPair,
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        other_rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        ec: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).expect("a key"),
        ec_der: EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref())
            .expect("a key"),
        ed: Ed25519KeyPair::generate().expect("a key"),
    }
});

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The modulus of a key of 2048 bits: in DER (RFC 8017 appendix A.1.1) it stands behind nine bytes, and three bytes of exponent behind it.
pub(crate) fn modulus(key: &RsaKeyPair) -> &[u8] {
    &key.public_key().as_ref()[9..265]
}

pub(crate) fn rsa_jwk(key: &RsaKeyPair) -> Value {
    json!({ "kty": "RSA", "n": encode(modulus(key)), "e": "AQAB" })
}

/// The key set of the issuer. Its RSA key is for RS256 alone, and another one, for PSS, has no algorithm.
pub(crate) fn key_set() -> String {
    let with = |mut key: Value, kid: &str| {
        key["kid"] = kid.into();
        key
    };
    let mut rsa = with(rsa_jwk(&KEYS.rsa), "rsa");
    rsa["alg"] = "RS256".into();
    let point = KEYS.ec.public_key().as_ref();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
    let mut encrypting = with(rsa_jwk(&KEYS.other_rsa), "encrypting");
    encrypting["use"] = "enc".into();
    json!({ "keys": [
        rsa,
        with(rsa_jwk(&KEYS.rsa), "any-rsa"),
        with(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), "ec"),
        with(json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(KEYS.ed.public_key()) }), "ed"),
        encrypting,
    ]})
    .to_string()
}

pub(crate) fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": "gateway", "exp": now_s() + 60, "nbf": now_s(), "sub": "carol" })
}

pub(crate) type Sign = fn(&[u8]) -> Vec<u8>;

pub(crate) fn rsa_signed(key: &RsaKeyPair, how: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signed = vec![0; key.public_modulus_len()];
    key.sign(how, &SystemRandom::new(), message, &mut signed).expect("a signature");
    signed
}

pub(crate) fn rs256(message: &[u8]) -> Vec<u8> {
    rsa_signed(&KEYS.rsa, &signature::RSA_PKCS1_SHA256, message)
}

pub(crate) fn ps256(message: &[u8]) -> Vec<u8> {
    rsa_signed(&KEYS.rsa, &signature::RSA_PSS_SHA256, message)
}

pub(crate) fn es256(message: &[u8]) -> Vec<u8> {
    KEYS.ec.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
}

pub(crate) fn hs256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

pub(crate) fn raw(header: &str, payload: &str, sign: Sign) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signed = encode(sign(message.as_bytes()));
    format!("{message}.{signed}")
}

pub(crate) fn token(header: Value, claims: &Value, sign: Sign) -> String {
    raw(&header.to_string(), &claims.to_string(), sign)
}

pub(crate) fn rs(claims: &Value) -> String {
    token(json!({ "alg": "RS256", "kid": "rsa" }), claims, rs256)
}

pub(crate) fn with(member: &str, value: Value) -> String {
    let mut claims = claims();
    claims[member] = value;
    rs(&claims)
}

pub(crate) fn without(member: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(member);
    rs(&claims)
}

pub(crate) fn with_header(member: &str, value: Value) -> String {
    let mut header = json!({ "alg": "RS256", "kid": "rsa" });
    header[member] = value;
    token(header, &claims(), rs256)
}

/// By an algorithm that is none, or not that of the key.
pub(crate) fn by_algorithm() -> Vec<(&'static str, String)> {
    let c = claims();
    let good = rs(&c);
    let parts: Vec<&str> = good.split('.').collect();
    let (payload, signed) = (parts[1], parts[2]);
    let unsigned =
        |alg: &str, end: &str| format!("{}.{payload}{end}", encode(json!({ "alg": alg }).to_string()));
    let by_public_key: Sign = |it| hs256(modulus(&KEYS.rsa), it);
    let by_public_der: Sign = |it| hs256(KEYS.rsa.public_key().as_ref(), it);
    vec![
        ("alg none", unsigned("none", ".")),
        ("alg None", unsigned("None", ".")),
        ("alg NONE", unsigned("NONE", ".")),
        ("alg nOnE", unsigned("nOnE", ".")),
        ("alg none without a last dot", unsigned("none", "")),
        ("alg none with a signature", unsigned("none", &format!(".{signed}"))),
        ("alg empty", unsigned("", &format!(".{signed}"))),
        ("alg rs256", token(json!({ "alg": "rs256", "kid": "rsa" }), &c, rs256)),
        ("alg with white space", token(json!({ "alg": "RS256 ", "kid": "rsa" }), &c, rs256)),
        ("alg with look-alike letters", token(json!({ "alg": "R\u{405}256", "kid": "rsa" }), &c, rs256)),
        ("alg absent", token(json!({ "kid": "rsa" }), &c, rs256)),
        ("alg a list", token(json!({ "alg": ["RS256"], "kid": "rsa" }), &c, rs256)),
        ("HMAC by the modulus", token(json!({ "alg": "HS256", "kid": "rsa" }), &c, by_public_key)),
        ("HMAC by the public key", token(json!({ "alg": "HS256", "kid": "rsa" }), &c, by_public_der)),
        ("HMAC by nothing", token(json!({ "alg": "HS256" }), &c, |it| hs256(b"", it))),
    ]
}

/// By a key that is not the one, whatever the token says of it.
pub(crate) fn by_key() -> Vec<(&'static str, String)> {
    let c = claims();
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let by_other: Sign = |it| rsa_signed(&KEYS.other_rsa, &signature::RSA_PKCS1_SHA256, it);
    vec![
        ("kid of another key", token(json!({ "alg": "RS256", "kid": "ec" }), &c, rs256)),
        ("kid unknown", token(json!({ "alg": "RS256", "kid": "x" }), &c, rs256)),
        ("kid a path", token(json!({ "alg": "HS256", "kid": "../../dev/null" }), &c, |it| hs256(b"", it))),
        ("kid of SQL", token(json!({ "alg": "RS256", "kid": "' OR 1=1 --" }), &c, rs256)),
        ("kid empty", token(json!({ "alg": "RS256", "kid": "" }), &c, rs256)),
        ("kid a number", token(json!({ "alg": "RS256", "kid": 1 }), &c, rs256)),
        (
            "key that is not for signatures",
            token(json!({ "alg": "RS256", "kid": "encrypting" }), &c, by_other),
        ),
        ("jwk of its own", token(json!({ "alg": "RS256", "jwk": rsa_jwk(&KEYS.other_rsa) }), &c, by_other)),
        ("jku of its own", token(json!({ "alg": "RS256", "jku": "https://evil/jwks" }), &c, by_other)),
        ("x5u of its own", token(json!({ "alg": "RS256", "x5u": "https://evil/x" }), &c, by_other)),
        ("x5c of its own", token(json!({ "alg": "RS256", "x5c": ["MIIB"] }), &c, by_other)),
        ("signed by a stranger", token(header, &c, by_other)),
        ("PS256 by a key for RS256", token(json!({ "alg": "PS256", "kid": "rsa" }), &c, ps256)),
        ("RS256 signed as PS256", token(json!({ "alg": "RS256", "kid": "any-rsa" }), &c, ps256)),
        ("PS256 signed as RS256", token(json!({ "alg": "PS256", "kid": "any-rsa" }), &c, rs256)),
        ("RS512 signed as RS256", token(json!({ "alg": "RS512", "kid": "any-rsa" }), &c, rs256)),
        ("ES256 by a key of RSA", token(json!({ "alg": "ES256", "kid": "rsa" }), &c, rs256)),
        ("ES256 of zeros", token(json!({ "alg": "ES256", "kid": "ec" }), &c, |_| vec![0; 64])),
        (
            "ES256 in DER",
            token(json!({ "alg": "ES256", "kid": "ec" }), &c, |it| {
                KEYS.ec_der.sign(&SystemRandom::new(), it).expect("a signature").as_ref().to_vec()
            }),
        ),
        ("ES384 by P-256", token(json!({ "alg": "ES384", "kid": "ec" }), &c, es256)),
        ("EdDSA of zeros", token(json!({ "alg": "EdDSA", "kid": "ed" }), &c, |_| vec![0; 64])),
    ]
}

/// Whose parts are not those of one token.
pub(crate) fn by_signature() -> Vec<(&'static str, String)> {
    let good = rs(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signed) = (parts[0], parts[1], parts[2]);
    let mut last = signed.to_owned();
    // The last letter of 256 bytes has four bits that stand for nothing.
    let letter = last.pop().expect("a letter");
    last.push(match letter {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    });
    vec![
        ("signature empty", format!("{head}.{payload}.")),
        ("signature cut", format!("{head}.{payload}.{}", &signed[..signed.len() - 4])),
        ("signature of another token", {
            let other = with("sub", json!("mallory"));
            format!("{head}.{}.{signed}", other.split('.').nth(1).expect("a payload"))
        }),
        ("signature with other last bits", format!("{head}.{payload}.{last}")),
        ("signature padded", format!("{head}.{payload}.{signed}==")),
        ("signature in the other alphabet", {
            let bytes = URL_SAFE_NO_PAD.decode(signed).expect("base64");
            format!("{head}.{payload}.{}", STANDARD.encode(bytes))
        }),
        ("signature padded in its alphabet", {
            let bytes = URL_SAFE_NO_PAD.decode(signed).expect("base64");
            format!("{head}.{payload}.{}", URL_SAFE.encode(bytes))
        }),
        ("dot at the end", format!("{good}.")),
        ("dot at the beginning", format!(".{good}")),
        ("two parts", format!("{head}.{payload}")),
        ("one part", head.to_owned()),
        ("five parts", format!("{good}.{payload}.{signed}")),
        ("nothing", String::new()),
        ("dots alone", "..".to_owned()),
        ("white space within", format!("{head} .{payload}.{signed}")),
    ]
}

/// Whose header or payload is not to be understood, or in two ways.
pub(crate) fn by_shape() -> Vec<(&'static str, String)> {
    let c = claims();
    let good = rs(&c);
    let parts: Vec<&str> = good.split('.').collect();
    let (payload, signed) = (parts[1], parts[2]);
    vec![
        ("header no JSON", format!("{}.{payload}.{signed}", encode("alg"))),
        ("header a list", raw("[]", &c.to_string(), rs256)),
        ("alg twice", raw(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#, &c.to_string(), rs256)),
        ("alg twice, once escaped", raw(r#"{"alg":"RS256","\u0061lg":"RS256"}"#, &c.to_string(), rs256)),
        ("claim twice", {
            let text = c.to_string().replacen('{', r#"{"sub":"mallory","#, 1);
            raw(r#"{"alg":"RS256","kid":"rsa"}"#, &text, rs256)
        }),
        ("payload with more behind it", raw(r#"{"alg":"RS256"}"#, &format!("{c}{c}"), rs256)),
        ("payload a text", raw(r#"{"alg":"RS256"}"#, r#""carol""#, rs256)),
        ("crit", with_header("crit", json!(["exp"]))),
        ("crit empty", with_header("crit", json!([]))),
        ("b64", with_header("b64", json!(false))),
        ("JWE by its header", with_header("enc", json!("A256GCM"))),
        ("packed", with_header("zip", json!("DEF"))),
        ("nested", with_header("cty", json!("JWT"))),
        ("typ of a proof", with_header("typ", json!("dpop+jwt"))),
        ("typ of a logout", with_header("typ", json!("logout+jwt"))),
        ("typ a number", with_header("typ", json!(1))),
        ("too long", with("pad", json!("x".repeat(17 << 10)))),
        (
            "too deep",
            raw(r#"{"alg":"RS256"}"#, &format!("{}{}", "{\"a\":".repeat(200), "}".repeat(200)), rs256),
        ),
    ]
}

/// Signed by the right key, with claims that are not those of a token for us and for now.
pub(crate) fn unfit() -> Vec<(&'static str, String)> {
    let escaped = claims().to_string().replace("https://issuer", "https:\\/\\/\u{131}ssuer");
    vec![
        ("exp over", with("exp", json!(now_s() - 60))),
        ("exp absent", without("exp")),
        ("exp null", with("exp", Value::Null)),
        ("exp a float", with("exp", json!(now_s() as f64 + 60.5))),
        ("exp a text", with("exp", json!((now_s() + 60).to_string()))),
        ("exp huge", with("exp", json!(u64::MAX))),
        (
            "exp larger than a number",
            rs_text(&claims().to_string().replace(&(now_s() + 60).to_string(), "1e400")),
        ),
        ("exp negative", with("exp", json!(-1))),
        ("exp a list", with("exp", json!([now_s() + 60]))),
        ("nbf to come", with("nbf", json!(now_s() + 61))),
        ("nbf a text", with("nbf", json!("0"))),
        ("iat to come", with("iat", json!(now_s() + 3600))),
        ("iss of another", with("iss", json!("https://evil"))),
        ("iss with more", with("iss", json!("https://issuer/"))),
        ("iss in capitals", with("iss", json!("HTTPS://ISSUER"))),
        ("iss a list", with("iss", json!(["https://issuer"]))),
        ("iss absent", without("iss")),
        ("iss of look-alike letters", rs_text(&escaped)),
        ("aud of another", with("aud", json!("other"))),
        ("aud of others", with("aud", json!(["other", "another"]))),
        ("aud with more", with("aud", json!("gateway2"))),
        ("aud a list of lists", with("aud", json!([["gateway"]]))),
        ("aud a list with a number", with("aud", json!(["gateway", 1]))),
        ("aud an object", with("aud", json!({ "gateway": true }))),
        ("aud empty", with("aud", json!([]))),
        ("aud absent", without("aud")),
    ]
}

pub(crate) fn rs_text(payload: &str) -> String {
    raw(r#"{"alg":"RS256","kid":"rsa"}"#, payload, rs256)
}

/// All of them, each with what is wrong with it.
pub(crate) fn forged() -> Vec<(&'static str, String)> {
    [by_algorithm(), by_key(), by_signature(), by_shape(), unfit()].concat()
}

/// Good ones, each by another kind of key or with other words.
pub(crate) fn good() -> Vec<String> {
    let c = claims();
    vec![
        rs(&c),
        token(json!({ "alg": "RS256" }), &c, rs256),
        token(json!({ "alg": "PS256", "kid": "any-rsa" }), &c, ps256),
        token(json!({ "alg": "ES256", "kid": "ec" }), &c, es256),
        token(json!({ "alg": "EdDSA", "kid": "ed", "typ": "at+jwt" }), &c, |it| {
            KEYS.ed.sign(it).as_ref().to_vec()
        }),
        with("aud", json!(["other", "gateway"])),
        with("exp", json!(now_s() - 30)),
        with("nbf", json!(now_s() + 60)),
        with_header("typ", json!("JWT")),
        // What a token says of its keys is not read.
        with_header("jwk", rsa_jwk(&KEYS.other_rsa)),
    ]
}
