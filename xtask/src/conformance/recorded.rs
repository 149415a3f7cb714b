//! Recorded exchanges: the client's request and the provider's answer go through the gateway byte for byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Verdict;
use super::gateway::Gateway;
use super::http::exchange;
use super::provider::{Answer, Provider, Script};
use crate::yaml;

/// Headers of the recording that belong to its connection.
const HOP: [&str; 6] =
    ["content-length", "transfer-encoding", "connection", "content-encoding", "date", "accept-encoding"];

/// One exchange.
pub(super) struct Exchange {
    pub(super) name: String,
    method: String,
    path: String,
    request_headers: Vec<(String, String)>,
    request: String,
    status: u16,
    headers: Vec<(String, String)>,
    answer: String,
}

pub(super) fn read(folder: &Path) -> Result<Vec<Exchange>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut exchanges = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        for document in yaml::documents(&text).with_context(|| path.display().to_string())? {
            let interactions = document["interactions"].as_array().cloned().unwrap_or_default();
            for (index, interaction) in interactions.iter().enumerate() {
                let name = format!("recorded {file} {index}");
                exchanges.push(exchange_of(name, interaction).with_context(|| path.display().to_string())?);
            }
        }
    }
    Ok(exchanges)
}

fn exchange_of(name: String, interaction: &Value) -> Result<Exchange> {
    let (request, response) = (&interaction["request"], &interaction["response"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let url = text(&request["url"]);
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).context("a url without a path")?;
    let status = response["code"].as_u64().and_then(|code| u16::try_from(code).ok()).context("a code")?;
    Ok(Exchange {
        name,
        method: text(&request["method"]),
        path,
        request_headers: headers(&request["headers"]),
        request: text(&request["body"]),
        status,
        headers: headers(&response["headers"]),
        answer: text(&response["body"]),
    })
}

fn headers(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| !HOP.contains(&name.to_ascii_lowercase().as_str()))
        .flat_map(|(name, values)| {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
            values.map(move |value| (name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}

impl Exchange {
    pub(super) fn run(&self, gateway: &Gateway, provider: &Provider) -> Verdict {
        match self.play(gateway, provider) {
            Err(error) => Verdict::Failed(vec![format!("{error:#}")]),
            Ok(lines) if lines.is_empty() => Verdict::Passed,
            Ok(lines) => Verdict::Failed(lines),
        }
    }

    fn play(&self, gateway: &Gateway, provider: &Provider) -> Result<Vec<String>> {
        let is_stream = self.headers.iter().any(|(_, value)| value.starts_with("text/event-stream"));
        let body = if is_stream {
            Answer::Events(events(&self.answer))
        } else {
            Answer::Whole(self.answer.clone().into())
        };
        provider.play(Script { status: self.status, headers: self.headers.clone(), body });
        let mut sent = self.request_headers.clone();
        sent.push(("x-test-backend".to_owned(), "openai".to_owned()));
        let got = exchange(gateway.port, &self.method, &self.path, &sent, self.request.as_bytes())?;
        let mut lines = Vec::new();
        let asked_usage = !is_stream || self.request.contains("include_usage");
        match provider.last_seen() {
            None => {
                lines.push(format!("nothing reached the provider: {}", String::from_utf8_lossy(&got.body)))
            }
            // Where the gateway has to ask for the usage, the body is edited and no more than that.
            Some(seen) if asked_usage && seen.body != self.request.as_bytes() => {
                lines.push("the request was changed".to_owned());
            }
            Some(seen) if !asked_usage => {
                let mut expected: Value = serde_json::from_str(&self.request)?;
                expected["stream_options"] = serde_json::json!({"include_usage": true});
                if serde_json::from_slice::<Value>(&seen.body)? != expected {
                    lines.push("the request was changed beyond stream_options".to_owned());
                }
            }
            Some(_) => {}
        }
        if got.status() != Some(self.status) {
            lines.push(format!("status {:?}, expected {}", got.status(), self.status));
        }
        if got.body != self.answer.as_bytes() {
            lines.push(format!("the answer was changed: {} bytes of {}", got.body.len(), self.answer.len()));
        }
        for (name, value) in &self.headers {
            if got.header(name).is_none() {
                lines.push(format!("header {name}: {value} was lost"));
            }
        }
        Ok(lines)
    }
}

/// The bytes of a stream, cut behind each blank line.
fn events(body: &str) -> Vec<Vec<u8>> {
    body.split_inclusive("\n\n").map(|event| event.as_bytes().to_vec()).collect()
}
