//! Which secret an attempt shows to its backend: the request's own, or the configured one.

use tollgate_config::bundle::Credential;
use tollgate_terms::Secret;

use crate::Secrets;

/// The backend must not be called: it wants a credential, and there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("missing upstream credential")]
pub struct Missing;

/// Finds the secret for `credential`. `offered` is what the request brought in the header that
/// [`Credential::override_header`] names; it comes first, and is ignored where no such header is configured.
///
/// `Ok(None)` means that the backend is to be called without a credential: neither a configured one nor a header for
/// the request's own is named. White space around a value is cut off, and an empty value counts as none:
/// files of keys end in line breaks.
///
/// # Errors
/// [`Missing`] when a configured secret is not in `secrets` or is empty, and when the request had to bring one
/// (no fallback, or nothing to fall back to) and did not.
pub fn credential(
    secrets: &Secrets,
    credential: &Credential,
    offered: Option<&str>,
) -> Result<Option<Secret>, Missing> {
    if credential.override_header.is_some() {
        if let Some(own) = offered.map(str::trim).filter(|own| !own.is_empty()) {
            return Ok(Some(Secret::new(own.to_owned())));
        }
        if !credential.fallback_to_configured || credential.configured.is_none() {
            return Err(Missing);
        }
    }
    let Some(configured) = &credential.configured else {
        return Ok(None);
    };
    let secret = secrets.get(configured).ok_or(Missing)?;
    match secret.expose().trim() {
        "" => Err(Missing),
        trimmed if trimmed.len() == secret.expose().len() => Ok(Some(secret.clone())),
        trimmed => Ok(Some(Secret::new(trimmed.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_config::bundle::{CredentialKind, SecretRef};

    use super::*;

    const HEADER: &str = "x-aigw-api-key";

    fn reference(key: &str) -> SecretRef {
        SecretRef { namespace: "default".to_owned(), name: "keys".to_owned(), key: key.to_owned() }
    }

    fn secrets() -> Secrets {
        let values = [("good", "sk-1"), ("spaced", " sk-2\n"), ("empty", " \n")];
        values.map(|(key, value)| (reference(key), Secret::new(value.to_owned()))).into_iter().collect()
    }

    fn policy(configured: Option<&str>, header: Option<&str>, fallback: bool) -> Credential {
        Credential {
            kind: CredentialKind::ApiKey,
            configured: configured.map(reference),
            override_header: header.map(str::to_owned),
            fallback_to_configured: fallback,
        }
    }

    fn found(policy: &Credential, offered: Option<&str>) -> Result<Option<String>, Missing> {
        let secret = credential(&secrets(), policy, offered)?;
        Ok(secret.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn the_configured_credential_is_trimmed() {
        assert_eq!(found(&policy(Some("good"), None, true), None), Ok(Some("sk-1".to_owned())));
        assert_eq!(found(&policy(Some("spaced"), None, true), None), Ok(Some("sk-2".to_owned())));
    }

    #[test]
    fn the_credential_of_the_request_comes_first_where_one_is_allowed() {
        let offered = Some(" own ");
        assert_eq!(found(&policy(Some("good"), Some(HEADER), true), offered), Ok(Some("own".to_owned())));
        assert_eq!(found(&policy(None, Some(HEADER), false), offered), Ok(Some("own".to_owned())));
        assert_eq!(found(&policy(Some("good"), None, true), offered), Ok(Some("sk-1".to_owned())));
    }

    #[test]
    fn the_fallback_is_taken_only_where_it_is_allowed() {
        for offered in [None, Some(" ")] {
            assert_eq!(
                found(&policy(Some("good"), Some(HEADER), true), offered),
                Ok(Some("sk-1".to_owned()))
            );
            assert_eq!(found(&policy(Some("good"), Some(HEADER), false), offered), Err(Missing));
            assert_eq!(found(&policy(None, Some(HEADER), true), offered), Err(Missing));
        }
    }

    #[test]
    fn a_secret_that_is_not_there_is_never_replaced_by_no_credential() {
        assert_eq!(found(&policy(Some("absent"), None, true), None), Err(Missing));
        assert_eq!(found(&policy(Some("empty"), None, true), None), Err(Missing));
        assert_eq!(found(&policy(None, None, true), None), Ok(None));
    }
}
