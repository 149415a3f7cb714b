//! Tokens of other providers that a program prints (AIP-4117, "executable-sourced credentials").

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tollgate_terms::Secret;

use super::super::error::told;
use super::super::{Environment, IssueError, file, program};
use super::found::External;

/// Without this variable at `1`, no program is run: whoever can write the file of credentials could have any run.
const ALLOWED: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";

/// A program that prints a token.
#[derive(Debug, Deserialize)]
pub(super) struct Program {
    /// Its words are parted by white space alone, as the libraries of Google part them.
    command: String,
    timeout_millis: Option<u64>,
    /// Where it leaves its last answer.
    output_file: Option<String>,
}

/// What a program prints, or has left.
#[derive(Deserialize)]
struct Printed {
    version: u64,
    success: bool,
    token_type: Option<String>,
    id_token: Option<String>,
    saml_response: Option<String>,
    /// In seconds since 1970.
    expiration_time: Option<u64>,
    code: Option<String>,
    message: Option<String>,
}

impl Program {
    /// The token for `external`: the one that was left, if it is good at `now`, else the one that the program prints.
    ///
    /// # Errors
    /// When no program may be run, and when it fails.
    pub(super) async fn token(
        &self,
        external: &External,
        environment: &Environment,
        now: SystemTime,
    ) -> Result<Secret, IssueError> {
        if environment.get(ALLOWED) != Some("1") {
            return Err(IssueError::Misconfigured(format!(
                "the file of credentials has a program print the token, which {ALLOWED}=1 would allow"
            )));
        }
        if let Some(path) = &self.output_file
            && file::exists(path).await
            && let Ok(token) = self.read(&file::read(path).await?, external, now)
        {
            return Ok(token);
        }
        let words: Vec<_> = self.command.split_whitespace().map(str::to_owned).collect();
        let limit = self.timeout_millis.map_or(program::TIME_MAX, Duration::from_millis);
        let text = program::printed(&words, environment, self.variables(external), limit).await?;
        let unreadable = |reason| IssueError::Unreadable { service: self.name(), reason };
        self.read(&text, external, now).map_err(unreadable)
    }

    fn name(&self) -> String {
        program::name_of(self.command.split_whitespace().next().unwrap_or_default())
    }

    fn variables(&self, external: &External) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", external.audience.clone()),
            ("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", external.subject_token_type.clone()),
            ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0".to_owned()),
        ];
        let account = external.impersonation_url.as_deref().and_then(|url| url.rsplit('/').next());
        if let Some(account) = account.and_then(|account| account.strip_suffix(":generateAccessToken")) {
            variables.push(("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", account.to_owned()));
        }
        if let Some(path) = &self.output_file {
            variables.push(("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path.clone()));
        }
        variables
    }

    fn read(&self, text: &Secret, external: &External, now: SystemTime) -> Result<Secret, String> {
        let printed: Printed = serde_json::from_str(text.expose())
            .map_err(|_| "expected JSON with version and success".to_owned())?;
        if printed.version != 1 {
            return Err("expected version 1".to_owned());
        }
        if !printed.success {
            let said = told(printed.code.as_deref(), printed.message.as_deref(), &[]);
            return Err(format!("it tells a failure: {said}"));
        }
        let kind = printed.token_type.as_deref();
        if kind != Some(external.subject_token_type.as_str()) {
            return Err(format!("expected a token of type {:?}", external.subject_token_type));
        }
        let token = match kind {
            Some("urn:ietf:params:oauth:token-type:saml2") => printed.saml_response,
            _ => printed.id_token,
        };
        let end =
            printed.expiration_time.map(|end| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end)));
        match end {
            // Who finds it in the file has no other way to know.
            None if self.output_file.is_some() => return Err("expected expiration_time".to_owned()),
            Some(Some(end)) if end <= now => return Err("its token has ended already".to_owned()),
            _ => {}
        }
        token.filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| "expected a token".to_owned())
    }
}
