//! `tollgate ratelimit` as it is asked over HTTP, from the outside.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const CONFIG: &str = "
domain: d
descriptors:
- key: user
  rate_limit: { unit: year, requests_per_unit: 2, name: per-user }
- key: user
  value: vip
  rate_limit: { unlimited: true }
- key: nested
  descriptors:
  - key: inner
    value: 1
    shadow_mode: true
    rate_limit: { unit: day, requests_per_unit: 5 }
";

/// A service at work, and where it is asked over HTTP.
struct Service {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("limits.yaml");
        std::fs::write(&config, CONFIG).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["ratelimit", "--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
            .args(["--log-level", "off", "--workers", "1", "--config"])
            .arg(&config)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        let address = line.split("admin http://").nth(1).and_then(|rest| rest.split(')').next());
        let address = address.unwrap_or_else(|| panic!("no ready line: {line}")).to_owned();
        Self { process, address, _folder: folder }
    }

    /// Status, kind and body of one answer.
    fn ask(&self, line: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
        let length = body.len();
        let head =
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}");
        write!(stream, "{head}\r\n\r\n{body}").expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        (status, kind.to_owned(), body.to_owned())
    }

    fn json(&self, request: &Value) -> (u16, Value) {
        let (status, kind, body) = self.ask("POST /json", &request.to_string());
        assert_eq!(kind, "application/json");
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }
}

fn request(key: &str, value: &str) -> Value {
    json!({ "domain": "d", "descriptors": [{ "entries": [{ "key": key, "value": value }] }] })
}

#[test]
fn requests_are_answered_as_json() {
    let service = Service::start(&[]);
    let (status, mut said) = service.json(&request("user", "a"));
    let reset = said["statuses"][0].as_object_mut().and_then(|status| status.remove("durationUntilReset"));
    assert!(reset.is_some_and(|reset| reset.as_str().is_some_and(|reset| reset.ends_with('s'))), "{said}");
    let limit = json!({ "name": "per-user", "requestsPerUnit": 2, "unit": "YEAR" });
    let expected = json!({
        "overallCode": "OK",
        "statuses": [{ "code": "OK", "currentLimit": limit, "limitRemaining": 1 }],
    });
    assert_eq!((status, said), (200, expected));
    // The other names of the fields.
    let other = json!({ "domain": "d", "hits_addend": 2, "descriptors": [{ "entries": [{ "key": "user", "value": "a" }] }] });
    let (status, said) = service.json(&other);
    assert_eq!((status, &said["overallCode"]), (429, &json!("OVER_LIMIT")), "{said}");
    assert_eq!(service.json(&request("user", "vip")).0, 200);
    for wrong in [
        json!({}),
        json!({ "domain": "d" }),
        json!({ "domain": "d", "colour": "red" }),
        json!({ "domain": 1, "descriptors": [] }),
        json!([]),
    ] {
        let (status, said) = service.json(&wrong);
        assert_eq!((status, said["error"]["message"].is_string()), (400, true), "{wrong}: {said}");
    }
    assert_eq!(service.ask("POST /json", "{").0, 400);
    assert_eq!(service.ask("GET /json", "").0, 405);
}

#[test]
fn the_configuration_is_told_as_text() {
    let service = Service::start(&[]);
    let expected = "\
d.nested.inner_1: unit=DAY requests_per_unit=5, shadow_mode: true, quota_mode: false
d.user: unit=YEAR requests_per_unit=2, shadow_mode: false, quota_mode: false
d.user_vip: unlimited, shadow_mode: false, quota_mode: false
";
    assert_eq!(service.ask("GET /rlconfig", ""), (200, "text/plain".to_owned(), expected.to_owned()));
}

#[test]
fn a_store_that_is_away_is_an_error() {
    // Nobody listens there.
    let service = Service::start(&["--redis", "redis://127.0.0.1:1"]);
    let (status, said) = service.json(&request("user", "a"));
    assert_eq!((status, said["error"]["message"].is_string()), (500, true), "{said}");
    assert_eq!(service.json(&request("user", "vip")).0, 200);
}
