//! Files of application default credentials: four kinds of identity in JSON (AIP-4110, AIP-4112 to AIP-4117).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tollgate_terms::Secret;

use super::super::IssueError;
use super::program::Program;
use super::service_account::{KeyFile, ServiceAccount};

/// An identity that a file tells of.
pub(super) enum Found {
    /// What can ask for a token by itself.
    Own(Own),
    /// A service account that another identity acts as.
    Impersonated { source: Own, url: String, delegates: Vec<String> },
}

/// An identity that can ask for a token by itself.
pub(super) enum Own {
    ServiceAccount(ServiceAccount),
    User(User),
    External(Box<External>),
}

/// A person who has logged in with `gcloud auth application-default login`.
pub(super) struct User {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_uri: Option<String>,
}

/// An identity of another provider.
pub(super) struct External {
    pub(super) audience: String,
    pub(super) subject_token_type: String,
    pub(super) token_url: String,
    pub(super) source: Source,
    pub(super) format: Format,
    pub(super) impersonation_url: Option<String>,
    pub(super) lifetime_s: Option<u64>,
    pub(super) owner: Option<(String, Secret)>,
    pub(super) user_project: Option<String>,
}

/// Where the token of the other provider is.
pub(super) enum Source {
    File(String),
    Url { url: String, headers: BTreeMap<String, String> },
    Program(Program),
}

/// What is there.
pub(super) enum Format {
    /// The token alone.
    Text,
    /// A JSON object, in which the token is the member of this name.
    Member(String),
}

impl Found {
    /// Reads the text of the file at `path`.
    pub(super) fn parse(text: &Secret, path: &str) -> Result<Self, IssueError> {
        let value = serde_json::from_str(text.expose())
            .map_err(|_| IssueError::Misconfigured(format!("the file {path} is not JSON")))?;
        match kind(&value) {
            "impersonated_service_account" => {
                let file: ImpersonatedFile = read(value, path)?;
                let source = own(file.source_credentials, path)?;
                Ok(Self::Impersonated {
                    source,
                    url: file.service_account_impersonation_url,
                    delegates: file.delegates,
                })
            }
            _ => own(value, path).map(Self::Own),
        }
    }
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn own(value: Value, path: &str) -> Result<Own, IssueError> {
    match kind(&value) {
        "service_account" => Ok(Own::ServiceAccount(read::<KeyFile>(value, path)?.into())),
        "authorized_user" => {
            let file: UserFile = read(value, path)?;
            Ok(Own::User(User {
                client_id: file.client_id,
                client_secret: Secret::new(file.client_secret),
                refresh_token: Secret::new(file.refresh_token),
                token_uri: file.token_uri,
            }))
        }
        "external_account" => Ok(Own::External(Box::new(external(read(value, path)?, path)?))),
        other => {
            let message =
                format!("the file {path} holds credentials of type {other:?}, which are not supported");
            Err(IssueError::Misconfigured(message))
        }
    }
}

/// The errors of JSON repeat values, so that they are not passed on.
fn read<T: serde::de::DeserializeOwned>(value: Value, path: &str) -> Result<T, IssueError> {
    let kind = kind(&value).to_owned();
    serde_json::from_value(value).map_err(|_| {
        IssueError::Misconfigured(format!(
            "the file {path} lacks what credentials of type {kind:?} must have"
        ))
    })
}

fn external(file: ExternalFile, path: &str) -> Result<External, IssueError> {
    let unsupported = |what: &str| {
        IssueError::Misconfigured(format!(
            "the file {path} takes the token from {what}, which is not supported"
        ))
    };
    let source = file.credential_source;
    let format = match source.format {
        None => Format::Text,
        Some(format) => match (format.kind.as_str(), format.subject_token_field_name) {
            ("text", _) => Format::Text,
            ("json", Some(name)) => Format::Member(name),
            _ => return Err(unsupported("an unknown format")),
        },
    };
    let source = match (source.file, source.url, source.executable, source.environment_id) {
        (_, _, _, Some(environment)) => return Err(unsupported(&format!("the environment {environment:?}"))),
        (Some(file), None, None, None) => Source::File(file),
        (None, Some(url), None, None) => Source::Url { url, headers: source.headers },
        (None, None, Some(program), None) => Source::Program(program),
        _ => return Err(unsupported("no or several of a file, an address and a program")),
    };
    let lifetime_s = file.service_account_impersonation.and_then(|options| options.token_lifetime_seconds);
    Ok(External {
        audience: file.audience,
        subject_token_type: file.subject_token_type,
        token_url: file.token_url,
        source,
        format,
        impersonation_url: file.service_account_impersonation_url,
        lifetime_s,
        owner: file.client_id.zip(file.client_secret.map(Secret::new)),
        user_project: file.workforce_pool_user_project,
    })
}

#[derive(Deserialize)]
struct UserFile {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct ImpersonatedFile {
    source_credentials: Value,
    service_account_impersonation_url: String,
    #[serde(default)]
    delegates: Vec<String>,
}

#[derive(Deserialize)]
struct ExternalFile {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: SourceFile,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<ImpersonationFile>,
    client_id: Option<String>,
    client_secret: Option<String>,
    workforce_pool_user_project: Option<String>,
}

#[derive(Deserialize)]
struct ImpersonationFile {
    token_lifetime_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct SourceFile {
    file: Option<String>,
    url: Option<String>,
    environment_id: Option<String>,
    executable: Option<Program>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<FormatFile>,
}

#[derive(Deserialize)]
struct FormatFile {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_understood_is_refused_without_its_content() {
        for (text, reason) in [
            ("hidden", "is not JSON"),
            (r#"{"type":"gdch_service_account"}"#, "\"gdch_service_account\", which are not supported"),
            (r#"{"client_id":"hidden"}"#, "type \"\", which are not supported"),
            (r#"{"type":"authorized_user","client_id":{"hidden":1}}"#, "lacks what"),
            (
                r#"{"type":"impersonated_service_account","service_account_impersonation_url":"u",
                    "source_credentials":{"type":"impersonated_service_account"}}"#,
                "\"impersonated_service_account\", which are not supported",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u",
                    "credential_source":{"environment_id":"aws1","url":"u"}}"#,
                "the environment \"aws1\", which is not supported",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u",
                    "credential_source":{"executable":{"command":"hidden"},"file":"hidden"}}"#,
                "no or several of a file, an address and a program",
            ),
        ] {
            let error = Found::parse(&Secret::new(text.to_owned()), "f.json").err().unwrap().to_string();
            assert!(error.contains(reason) && !error.contains("hidden"), "{text}: {error}");
        }
    }
}
