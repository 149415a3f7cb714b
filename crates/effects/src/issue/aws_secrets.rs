//! Values that AWS Secrets Manager keeps, as a source of what a Secret holds.
//!
//! Source: AWS Secrets Manager API Reference, `GetSecretValue` (JSON 1.1 protocol). Whose keys sign is up to the caller.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollgate_config::bundle::Proof;
use tollgate_terms::Secret;

use super::aws::sign;
use super::form::escaped;
use super::request::post_json;
use super::{Client, Environment, IssueError};

/// A secret that is kept there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSecret {
    /// The region that it is kept in.
    pub region: String,
    /// Its name or ARN.
    pub id: String,
    /// The label of the version that is wanted, if it is not the current one.
    pub version_stage: Option<String>,
    /// Address of another service than that of the region, as for a private endpoint.
    pub endpoint: Option<String>,
}

/// What is kept under one name.
#[derive(Clone)]
pub struct AwsSecretValue {
    /// All of it.
    pub whole: Secret,
    /// Where it is a JSON object: its members, each of which is one key of a Secret. Texts stand for themselves, null for nothing,
    /// other values for their JSON.
    pub members: Option<BTreeMap<String, Secret>>,
}

impl AwsSecretValue {
    /// The value of one key of a Secret. A text that is no JSON object stands for every key, and an object for one that is called as
    /// a JSON file is: a service account of Google Cloud is an object itself.
    pub fn key(&self, key: &str) -> Option<&Secret> {
        match &self.members {
            None => Some(&self.whole),
            Some(members) => members.get(key).or_else(|| key.ends_with(".json").then_some(&self.whole)),
        }
    }
}

/// Addresses that the SDKs take in the place of the service's own.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"];

/// What the service is called in a signature.
const SERVICE: &str = "secretsmanager";

impl AwsSecret {
    /// The current version of a secret, at the service that the environment names, or else at that of the region.
    pub fn current(id: &str, region: &str, environment: &Environment) -> Self {
        let endpoint = ENDPOINTS.into_iter().find_map(|name| environment.get(name));
        Self {
            region: region.to_owned(),
            id: id.to_owned(),
            version_stage: None,
            endpoint: endpoint.map(str::to_owned),
        }
    }

    /// Signs a request for it.
    ///
    /// # Errors
    /// When `keys` are none, or cannot be shown.
    pub fn sign(
        &self,
        request: &mut Request<Bytes>,
        keys: &Proof,
        now: SystemTime,
    ) -> Result<(), IssueError> {
        sign(request, SERVICE, &self.region, keys, now)
    }

    fn endpoint(&self) -> String {
        if let Some(endpoint) = &self.endpoint {
            return endpoint.clone();
        }
        // China has a domain of its own ("AWS Secrets Manager endpoints"); regions cut off from the Internet have others,
        // which `endpoint` can name.
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://secretsmanager.{}.{domain}/", escaped(&self.region))
    }
}

/// Fetches what is kept. `sign` adds what SigV4 wants for the service `secretsmanager`; the header `host` is the
/// authority of the URI, and need not be there.
///
/// # Errors
/// As the service answers, and as `sign` does.
pub async fn get_secret_value<S>(
    client: &Client,
    secret: &AwsSecret,
    sign: S,
) -> Result<AwsSecretValue, IssueError>
where
    S: FnOnce(&mut Request<Bytes>) -> Result<(), IssueError>,
{
    let mut question = json!({ "SecretId": secret.id });
    if let (Some(stage), Some(members)) = (&secret.version_stage, question.as_object_mut()) {
        members.insert("VersionStage".to_owned(), stage.as_str().into());
    }
    let mut request = post_json(&secret.endpoint(), "application/x-amz-json-1.1", &question)?;
    let target = HeaderValue::from_static("secretsmanager.GetSecretValue");
    request.headers_mut().insert("x-amz-target", target);
    sign(&mut request)?;
    let answer = client.send(request, &[]).await?;
    let kept: Kept = answer.json("JSON with a SecretString or a SecretBinary")?;
    let whole = match (kept.secret_string, kept.secret_binary) {
        (Some(text), _) => Some(text),
        (None, Some(binary)) => STANDARD.decode(binary).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
        (None, None) => None,
    };
    let whole =
        whole.ok_or_else(|| answer.unreadable("expected a SecretString, or a SecretBinary of UTF-8"))?;
    let members = serde_json::from_str::<Map<String, Value>>(&whole).ok().map(|members| {
        let members = members.into_iter().filter(|(_, value)| !value.is_null());
        members.map(|(name, value)| (name, Secret::new(text_of(value)))).collect()
    });
    Ok(AwsSecretValue { whole: Secret::new(whole), members })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
