//! Signatures of AWS, version 4, in headers.
//!
//! Source: AWS, "Create a signed AWS API request"; goldens: `golden/signature`, made with botocore's own signer, and AWS's published test suite.

use std::fmt::Write;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tollgate_terms::Secret;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a path keeps when it is escaped once more: the unreserved characters of RFC 3986, and slashes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Keys with which requests are signed.
#[derive(Clone)]
pub struct SigningKeys {
    /// The access key id. It stands in every request, and is no one's business all the same.
    pub id: Secret,
    /// The secret access key.
    pub secret: Secret,
    /// The session token of keys that expire.
    pub token: Option<Secret>,
}

/// A request that is to be signed, but for its headers.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// Method.
    pub method: &'a Method,
    /// What the backend sees as the host.
    pub authority: &'a str,
    /// Path and query, escaped as they are sent.
    pub path: &'a str,
    /// Body.
    pub body: &'a [Bytes],
    /// The name of the service that is signed for.
    pub service: &'a str,
    /// The time, Unix seconds. AWS takes a signature for some minutes around it.
    pub unix_s: u64,
}

/// Takes a signature away, whosoever it is.
pub(crate) fn remove(headers: &mut HeaderMap) {
    for name in [DATE, CONTENT_SHA256, SECURITY_TOKEN] {
        headers.remove(name);
    }
}

/// Signs `request` for `region`: adds `authorization`, `x-amz-date`, `x-amz-content-sha256` and, with keys that expire,
/// `x-amz-security-token`. `None` when a key cannot be a header value.
///
/// Signed are the host, the type of the content, and what is said to AWS alone. Everything else may be changed on the way,
/// `content-length` above all, which the connection writes.
pub(crate) fn sign(
    request: Unsigned<'_>,
    region: &str,
    keys: &SigningKeys,
    headers: &mut HeaderMap,
) -> Option<()> {
    let time = timestamp(request.unix_s);
    let body_hash = hash_of(request.body.iter().map(|piece| piece.as_ref()));
    headers.insert(DATE, HeaderValue::try_from(&time).ok()?);
    headers.insert(CONTENT_SHA256, HeaderValue::try_from(&body_hash).ok()?);
    if let Some(token) = &keys.token {
        let mut token = HeaderValue::try_from(token.expose()).ok()?;
        token.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, token);
    }
    let signed = signed_headers(request.authority, headers);
    let scope = Scope { time: &time, region, service: request.service };
    let canonical = canonical_request(request, &signed, &body_hash);
    let authorization = authorization(&scope, &canonical, &names(&signed), keys);
    let mut authorization = HeaderValue::try_from(authorization).ok()?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Some(())
}

/// What a signature is good for.
struct Scope<'a> {
    /// `YYYYMMDDTHHMMSSZ`.
    time: &'a str,
    region: &'a str,
    service: &'a str,
}

impl Scope<'_> {
    fn date(&self) -> &str {
        self.time.split('T').next().unwrap_or_default()
    }
}

/// Names and values of the headers to sign, in order of their names.
fn signed_headers(authority: &str, headers: &HeaderMap) -> Vec<(String, String)> {
    let is_signed = |name: &HeaderName| {
        // Proxies on the way add the id of a trace.
        *name == CONTENT_TYPE || (name.as_str().starts_with("x-amz") && name != "x-amzn-trace-id")
    };
    let mut signed = canonical_headers(headers.keys().filter(|name| is_signed(name)), headers);
    signed.push(("host".to_owned(), authority.to_owned()));
    signed.sort();
    signed
}

/// Those headers as they are signed.
fn canonical_headers<'a>(
    names: impl Iterator<Item = &'a HeaderName>,
    headers: &HeaderMap,
) -> Vec<(String, String)> {
    let canonical = |name: &HeaderName| {
        let values: Vec<_> = headers.get_all(name).iter().map(canonical_value).collect();
        (name.as_str().to_owned(), values.join(","))
    };
    names.map(canonical).collect()
}

/// A header value without white space around it, and with single spaces inside.
fn canonical_value(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn names(signed: &[(String, String)]) -> String {
    signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

fn canonical_request(request: Unsigned<'_>, signed: &[(String, String)], body_hash: &str) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let mut text = format!("{}\n{}\n{}\n", request.method, canonical_path(path), canonical_query(query));
    for (name, value) in signed {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "\n{}\n{body_hash}", names(signed));
    text
}

/// Every service but S3 wants the path without dot segments and empty ones, and escaped once more as it is sent: `%2F` is
/// signed as `%252F`. Golden: signature/arn_in_path.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    let path = format!("/{}{end}", segments.join("/"));
    utf8_percent_encode(&path, PATH).to_string()
}

/// The parameters, escaped as they are sent, in order of their names and values.
fn canonical_query(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<_> =
        parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, ""))).collect();
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

fn authorization(scope: &Scope<'_>, canonical: &str, names: &str, keys: &SigningKeys) -> String {
    let Scope { time, region, service } = scope;
    let place = format!("{}/{region}/{service}/aws4_request", scope.date());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{}", hash_of([canonical.as_bytes()]));
    let mut key = mac(format!("AWS4{}", keys.secret.expose()).as_bytes(), scope.date());
    for part in [region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let id = keys.id.expose();
    format!("AWS4-HMAC-SHA256 Credential={id}/{place}, SignedHeaders={names}, Signature={signature}")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length will do, so that this is always `Ok`.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hash_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `YYYYMMDDTHHMMSSZ`, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`, for days after 1970.
fn timestamp(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Counted from the first of March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, years) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + years;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn text<'a>(case: &'a Value, member: &str) -> &'a str {
        case[member].as_str().expect("a text")
    }

    fn header_map(headers: &Value) -> HeaderMap {
        let headers = headers.as_object().expect("headers").iter();
        let header = |(name, value): (&String, &Value)| {
            let value = value.as_str().and_then(|value| value.parse().ok());
            (name.parse().expect("a name"), value.expect("a value"))
        };
        headers.map(header).collect()
    }

    /// The keys of AWS's examples.
    fn example_keys(token: Option<&str>) -> SigningKeys {
        SigningKeys {
            id: Secret::new("AKIDEXAMPLE".to_owned()),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            token: token.map(|token| Secret::new(token.to_owned())),
        }
    }

    #[test]
    fn signs_as_the_signer_of_aws_does() {
        let cases = include_str!("../golden/signature/cases.json");
        let cases: Value = serde_json::from_str(cases).expect("JSON");
        for (name, case) in cases.as_object().expect("cases") {
            let body = [Bytes::copy_from_slice(text(case, "body").as_bytes())];
            let method = text(case, "method").parse().expect("a method");
            let request = Unsigned {
                method: &method,
                authority: text(case, "host"),
                path: text(case, "path"),
                body: &body,
                service: text(case, "service"),
                unix_s: 1_440_938_160,
            };
            let keys = example_keys(case["token"].as_str());
            let mut headers = header_map(&case["headers"]);
            sign(request, text(case, "region"), &keys, &mut headers).expect("header values");
            for (header, value) in header_map(&case["signed"]) {
                let header = header.expect("a name");
                assert_eq!(headers.get(&header), Some(&value), "{name}: {header}");
            }
        }
    }

    /// What is signed of a published request: all of its headers, the time, the session token and, where it says so, the hash of its body.
    fn signed_of(vector: &Value, body_hash: &str) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for header in vector["headers"].as_array().expect("headers") {
            let [name, value] = [0, 1].map(|at| header[at].as_str().expect("a text"));
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.trim().parse().expect("a value"));
        }
        let mut add = |name: HeaderName, value: &str| headers.insert(name, value.parse().expect("a value"));
        add(DATE, "20150830T123600Z");
        if vector["signs_body"] == true {
            add(CONTENT_SHA256, body_hash);
        }
        if let (Some(token), Value::Null) = (vector["token"].as_str(), &vector["omits_token"]) {
            add(SECURITY_TOKEN, token);
        }
        let mut signed = canonical_headers(headers.keys(), &headers);
        signed.sort();
        signed
    }

    /// AWS's published test suite (github.com/awslabs/aws-c-auth, `tests/aws-signing-test-suite/v4`, Apache-2.0), but for what only S3 does: paths
    /// that are left as they are. Two targets are written as they are signed here: the suite has a query before it is escaped, and a path
    /// whose escapes it does not escape once more.
    #[test]
    fn makes_the_signatures_of_the_published_suite() {
        let vectors = include_str!("../golden/signature/published.json");
        let vectors: Value = serde_json::from_str(vectors).expect("JSON");
        for (name, vector) in vectors.as_object().expect("vectors") {
            let body = vector["body"].as_str().unwrap_or_default();
            let request = Unsigned {
                method: &text(vector, "method").parse().expect("a method"),
                authority: "",
                path: text(vector, "target"),
                body: &[],
                service: "service",
                unix_s: 1_440_938_160,
            };
            let time = timestamp(request.unix_s);
            let scope = Scope { time: &time, region: "us-east-1", service: request.service };
            let body_hash = hash_of([body.as_bytes()]);
            let signed = signed_of(vector, &body_hash);
            let canonical = canonical_request(request, &signed, &body_hash);
            let authorization = authorization(&scope, &canonical, &names(&signed), &example_keys(None));
            let signature = text(vector, "signature");
            assert!(authorization.ends_with(signature), "{name}: {canonical}");
        }
    }

    #[test]
    fn an_intermediary_may_change_what_is_not_signed() {
        let request = Unsigned {
            method: &Method::POST,
            authority: "a",
            path: "/",
            body: &[],
            service: "bedrock",
            unix_s: 0,
        };
        let keys =
            SigningKeys { id: Secret::new("a".to_owned()), secret: Secret::new("b".to_owned()), token: None };
        let signature = |others: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in others {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            sign(request, "eu-west-1", &keys, &mut headers).expect("header values");
            headers[AUTHORIZATION].clone()
        };
        let bare = signature(&[]);
        assert_eq!(
            signature(&[("content-length", "5"), ("user-agent", "a"), ("x-amzn-trace-id", "b")]),
            bare
        );
        assert_ne!(signature(&[("content-type", "application/json")]), bare);
    }

    #[test]
    fn tells_the_time_of_every_kind_of_day() {
        for (unix_s, expected) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(timestamp(unix_s), expected);
        }
    }
}
