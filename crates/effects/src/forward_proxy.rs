//! What a forward proxy is shown.

use http::HeaderValue;
use tollgate_config::bundle::{ForwardProxy, ProxyCredential};

use crate::Secrets;
use crate::issue::{IssueError, basic, basic_of};

/// The value of `Proxy-Authorization` for `proxy`, if it has a credential.
///
/// # Errors
/// When the credential is not in `secrets`, or not in a form that can be shown. The error has nothing of it.
pub fn proxy_authorization(
    proxy: &ForwardProxy,
    secrets: &Secrets,
) -> Result<Option<HeaderValue>, IssueError> {
    let missing =
        || IssueError::Misconfigured("the credential for the forward proxy is not there".to_owned());
    let value = |reference| secrets.get(reference).map(|value| value.expose().trim()).ok_or_else(missing);
    match &proxy.credential {
        None => Ok(None),
        Some(ProxyCredential::Pair { username, password }) => {
            basic(format!("{}:{}", value(username)?, value(password)?).as_bytes()).map(Some)
        }
        Some(ProxyCredential::Address(address)) => {
            let address = value(address)?;
            let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
            let authority = rest.split('/').next().unwrap_or_default();
            basic_of(authority)?.map(Some).ok_or_else(missing)
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_config::bundle::SecretRef;
    use tollgate_terms::Secret;

    use super::*;

    fn reference(key: &str) -> SecretRef {
        SecretRef { namespace: "default".to_owned(), name: "proxy".to_owned(), key: key.to_owned() }
    }

    fn shown(credential: Option<ProxyCredential>, values: &[(&str, &str)]) -> Result<String, String> {
        let proxy = ForwardProxy { host: "p".to_owned(), port: 1, tls: None, credential, bypass: Vec::new() };
        let secrets = values.iter().map(|(key, value)| (reference(key), Secret::new((*value).to_owned())));
        let shown = proxy_authorization(&proxy, &secrets.collect()).map_err(|error| error.to_string())?;
        Ok(shown.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default())
    }

    #[test]
    fn name_and_password_are_each_by_itself_or_in_an_address() {
        let pair = ProxyCredential::Pair { username: reference("username"), password: reference("password") };
        let expected = Ok("Basic dXNlcjpwQHNz".to_owned());
        assert_eq!(shown(Some(pair.clone()), &[("username", "user"), ("password", "p@ss\n")]), expected);
        let address = ProxyCredential::Address(reference("url"));
        for text in ["http://user:p%40ss@proxy:3128", "user:p%40ss@proxy:3128", "http://user:p%40ss@proxy/"] {
            assert_eq!(shown(Some(address.clone()), &[("url", text)]), expected, "{text}");
        }
        assert_eq!(shown(None, &[]), Ok(String::new()));
        for (credential, values) in [(pair, vec![]), (address, vec![("url", "http://proxy:3128")])] {
            let error = shown(Some(credential), &values).unwrap_err();
            assert_eq!(error, "the credential for the forward proxy is not there");
        }
    }
}
