//! Cases: a request, what the provider must see of it, and what the client must get.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Verdict;
use super::aws;
use super::compare::differences;
use super::fold::fold;
use super::gateway::Gateway;
use super::http::{Message, exchange};
use super::provider::{Answer, Provider, Script};

/// One case, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Case {
    pub(super) name: String,
    backend: String,
    #[serde(default = "chat")]
    path: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    request_body: String,
    #[serde(default)]
    request_headers: BTreeMap<String, String>,
    #[serde(default)]
    response_status: Option<String>,
    #[serde(default)]
    response_body: String,
    #[serde(default)]
    response_headers: String,
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    exp_path: Option<String>,
    #[serde(default)]
    exp_raw_query: Option<String>,
    #[serde(default)]
    exp_host: Option<String>,
    #[serde(default)]
    exp_request_headers: BTreeMap<String, Value>,
    #[serde(default)]
    non_expected_request_headers: Vec<String>,
    #[serde(default)]
    exp_request_body: Option<String>,
    #[serde(default)]
    exp_status: Option<Value>,
    #[serde(default)]
    exp_response_headers: BTreeMap<String, String>,
    #[serde(default)]
    exp_response_body: Option<String>,
}

/// The token in `fakeGCPAuthToken`.
const GOOGLE_TOKEN: &str = "fake-gcp-auth-token";

/// An expected header: a text, or the one expression that cases have.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        value if value["$go"] == "\"Bearer \" + fakeGCPAuthToken" => Some(format!("Bearer {GOOGLE_TOKEN}")),
        _ => Some(format!("not understood: {value}")),
    }
}

fn chat() -> String {
    "/v1/chat/completions".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

pub(super) fn read(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

impl Case {
    pub(super) fn run(&self, gateway: &Gateway, provider: &Provider) -> Verdict {
        if let Some(need) = gateway.missing(&self.backend) {
            return Verdict::NotYet(need);
        }
        match self.play(gateway, provider) {
            Err(error) => Verdict::Failed(vec![format!("{error:#}")]),
            Ok(lines) if lines.is_empty() => Verdict::Passed,
            Ok(lines) => Verdict::Failed(lines),
        }
    }

    fn play(&self, gateway: &Gateway, provider: &Provider) -> Result<Vec<String>> {
        provider.play(self.script()?);
        let mut headers: Vec<(String, String)> =
            self.request_headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, value) in [
            ("x-test-backend", self.backend.as_str()),
            ("content-type", "application/json"),
            ("accept-encoding", "gzip"),
            // Cases for Google bring their token with them.
            ("x-aigw-gcp-access-token", GOOGLE_TOKEN),
        ] {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let body = self.request_body.as_bytes();
        let got = exchange(gateway.port, &self.method, &self.path, &headers, body)?;
        let mut lines = Vec::new();
        match provider.last_seen() {
            Some(seen) => self.check_request(&seen, &mut lines)?,
            None if self.exp_path.is_some() => lines.push("nothing reached the provider".to_owned()),
            None => {}
        }
        self.check_answer(&got, &mut lines)?;
        Ok(lines)
    }

    fn script(&self) -> Result<Script> {
        let headers = self.response_headers.split(',').filter_map(|pair| {
            let (name, value) = pair.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        });
        let body = self.response_body.trim_start_matches('\n');
        let body = match self.response_type.as_str() {
            "gzip" => Answer::Gzip(body.into()),
            "sse" => Answer::Events(events(body)),
            "aws-event-stream" => Answer::AwsEvents(aws::events(body)?),
            "" if self.asks_for_stream() => Answer::Events(events(body)),
            "" => Answer::Whole(body.into()),
            other => anyhow::bail!("responseType {other:?} is not known here"),
        };
        let status = self.response_status.as_deref().unwrap_or("200").parse().context("responseStatus")?;
        Ok(Script { status, headers: headers.collect(), body })
    }

    fn asks_for_stream(&self) -> bool {
        let body: Value = serde_json::from_str(&self.request_body).unwrap_or_default();
        body["stream"] == true
    }

    fn check_request(&self, seen: &Message, lines: &mut Vec<String>) -> Result<()> {
        let mut same = |what: &str, expected: Option<&str>, got: Option<&str>| {
            if let Some(expected) = expected
                && got != Some(expected)
            {
                lines.push(format!("provider saw {what} {got:?}, expected {expected:?}"));
            }
        };
        same("path", self.exp_path.as_deref(), Some(seen.path()));
        same("host", self.exp_host.as_deref(), seen.header("host"));
        let query = seen.first_line.split(' ').nth(1).and_then(|target| Some(target.split_once('?')?.1));
        same("query", self.exp_raw_query.as_deref(), Some(query.unwrap_or_default()));
        for (name, value) in &self.exp_request_headers {
            let expected = written(value);
            same(&format!("header {name}"), expected.as_deref(), seen.header(name));
        }
        for name in &self.non_expected_request_headers {
            if seen.header(name).is_some() {
                lines.push(format!("provider saw header {name}"));
            }
        }
        if seen.header("content-length").is_none() {
            lines.push("provider saw no content-length".to_owned());
        }
        if let Some(expected) = &self.exp_request_body {
            let got: Value = serde_json::from_slice(&seen.body).context("the provider got no JSON")?;
            let expected: Value = serde_json::from_str(expected).context("expRequestBody")?;
            lines.extend(differences(&expected, &got).iter().map(|line| format!("request body {line}")));
        }
        Ok(())
    }

    fn check_answer(&self, got: &Message, lines: &mut Vec<String>) -> Result<()> {
        let expected = match &self.exp_status {
            Some(Value::String(text)) => text.parse().ok(),
            Some(status) => status.as_u64().and_then(|status| u16::try_from(status).ok()),
            None => Some(200),
        };
        let content = String::from_utf8(got.content()?).context("the answer is no text")?;
        if got.status() != expected {
            lines.push(format!("status {:?}, expected {expected:?}: {content}", got.status()));
        }
        for (name, value) in &self.exp_response_headers {
            if got.header(name) != Some(value) {
                lines.push(format!("header {name} {:?}, expected {value:?}", got.header(name)));
            }
        }
        let expected = self.exp_response_body.as_deref().unwrap_or(&self.response_body);
        let is_stream = content.starts_with("data:") || content.starts_with("event:");
        let (expected, got) = match is_stream {
            true => (fold(expected)?, fold(&content)?),
            false => match (serde_json::from_str(expected), serde_json::from_str(&content)) {
                (Ok(expected), Ok(got)) => (expected, got),
                _ => (expected.into(), content.into()),
            },
        };
        lines.extend(differences(&expected, &got).iter().map(|line| format!("answer {line}")));
        Ok(())
    }
}

/// A stream is written as blocks parted by blank lines, or as the data of one event a line.
fn events(body: &str) -> Vec<Vec<u8>> {
    let is_blocks = body.starts_with("event:") || body.starts_with("data:");
    let end = |text: &str| format!("{}\n\n", text.trim_end_matches('\n')).into_bytes();
    if is_blocks {
        return body.split("\n\n").filter(|block| !block.trim().is_empty()).map(end).collect();
    }
    let lines = body.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| end(&format!("data: {line}"))).collect()
}
