//! The forward proxy that the environment names, in the variables that programs have agreed on: `HTTPS_PROXY` and `NO_PROXY`, in capitals or
//! not.
//!
//! There is no standard for them. Where programs differ, this is as most of them: a name in `NO_PROXY` stands for itself and for all below it, and
//! this machine is never reached through a proxy.

use std::net::IpAddr;

use crate::base_url::{BaseUrl, Host};
use crate::environment::EnvironmentError;

/// The variables with the proxy, by their precedence.
const PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// Those with what is reached without it.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy for what is asked with `https://`.
pub(crate) struct ProxyVariables {
    /// The variable that names it.
    pub(crate) variable: &'static str,
    /// Where it is, as `host:port`.
    pub(crate) address: String,
    /// Whether it is spoken to with TLS.
    pub(crate) is_secure: bool,
    /// Whether the variable has a name and a password in it.
    pub(crate) has_credential: bool,
    exceptions: String,
}

impl ProxyVariables {
    /// Reads the variables that `lookup` finds.
    ///
    /// # Errors
    /// When the proxy is not one that can be asked. The error has nothing of the value, which may have a password in it.
    pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, EnvironmentError> {
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, lookup(name)?)));
        let Some((variable, value)) = first(PROXY) else { return Ok(None) };
        let invalid = |expected| EnvironmentError::Invalid { variable, expected };
        let url = if value.contains("://") { value } else { format!("http://{value}") };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (user, rest) =
            match rest.split_once('/').map_or(rest, |(authority, _)| authority).rsplit_once('@') {
                Some((user, rest)) => (Some(user), rest),
                None => (None, rest),
            };
        let without_user = BaseUrl::parse(&format!("{scheme}://{rest}"))
            .map_err(|_| invalid("expected the address of an HTTP proxy, as http://host:port"))?;
        let is_secure = without_user.is_https;
        let host = match without_user.host {
            Host::Name(name) => name,
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
        };
        let exceptions = first(EXCEPTIONS).map(|(_, value)| value).unwrap_or_default();
        let address = format!("{host}:{}", without_user.port);
        Ok(Some(Self { variable, address, is_secure, has_credential: user.is_some(), exceptions }))
    }

    /// Whether `url` is asked through it.
    pub(crate) fn is_for(&self, url: &BaseUrl) -> bool {
        let is_this_machine = match &url.host {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Address(address) => address.is_loopback(),
        };
        let mut exceptions = self.exceptions.split([',', ' ']).map(str::trim).filter(|text| !text.is_empty());
        url.is_https && !is_this_machine && !exceptions.any(|exception| covers(exception, url))
    }
}

/// Whether `exception`, one of `NO_PROXY`, is about `url`.
fn covers(exception: &str, url: &BaseUrl) -> bool {
    let (exception, port) = match exception.rsplit_once(':') {
        // What is left of an IPv6 address without brackets is none of a port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (exception, None),
    };
    if port.is_some_and(|port: u16| port != url.port) {
        return false;
    }
    let bare = exception.trim_start_matches('[').trim_end_matches(']');
    match &url.host {
        Host::Address(address) => bare == "*" || is_within(*address, bare),
        Host::Name(name) => {
            let suffix = bare.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
            bare == "*" || *name == suffix || name.ends_with(&format!(".{suffix}"))
        }
    }
}

/// Whether `network`, an address or a block of them, has `address`.
fn is_within(address: IpAddr, network: &str) -> bool {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, length.parse::<u32>().ok()),
        None => (network, Some(u32::MAX)),
    };
    let (Ok(base), Some(length)) = (base.parse::<IpAddr>(), length) else { return false };
    let is_same = |a: u128, b: u128, bits: u32| {
        let ignored = bits.saturating_sub(length);
        a.checked_shr(ignored).unwrap_or(0) == b.checked_shr(ignored).unwrap_or(0)
    };
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => is_same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => is_same(a.to_bits(), b.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<ProxyVariables>, EnvironmentError> {
        ProxyVariables::read(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_proxy_is_named_with_or_without_a_scheme() {
        for (value, address, has_credential) in [
            ("http://proxy.example:3128", "proxy.example:3128", false),
            ("Proxy.example:3128/", "proxy.example:3128", false),
            ("http://proxy.example", "proxy.example:80", false),
            ("http://user:p%40ss@[::1]:3128", "[::1]:3128", true),
            ("user:p@proxy.example:3128", "proxy.example:3128", true),
        ] {
            let found = read(&[("https_proxy", value)]).unwrap().unwrap();
            assert_eq!((found.address.as_str(), found.has_credential), (address, has_credential), "{value}");
        }
        assert!(read(&[("HTTP_PROXY", "http://proxy.example")]).unwrap().is_none());
        let secure = read(&[("HTTPS_PROXY", "https://proxy.example")]).unwrap().unwrap();
        assert_eq!((secure.address.as_str(), secure.is_secure), ("proxy.example:443", true));
        for value in ["socks5://hidden:hidden@proxy.example", "http://:3128"] {
            let error = read(&[("HTTPS_PROXY", value)]).err().unwrap().to_string();
            assert!(error.starts_with("HTTPS_PROXY: expected ") && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn exceptions_are_names_and_all_below_them_addresses_and_blocks() {
        let is_for = |exceptions: &str, url: &str| {
            let found = read(&[("HTTPS_PROXY", "proxy.example:1"), ("no_proxy", exceptions)]).unwrap();
            found.unwrap().is_for(&BaseUrl::parse(url).unwrap())
        };
        let name = "https://api.models.example/v1";
        for covering in [
            "*",
            "models.example",
            ".models.example",
            "*.models.example",
            "a, Models.Example",
            "api.models.example:443",
        ] {
            assert!(!is_for(covering, name), "{covering}");
        }
        for other in
            ["", "odels.example", "s.example", "api.models.example:8443", "10.0.0.0/8", "example.org"]
        {
            assert!(is_for(other, name), "{other}");
        }
        for covering in ["10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "10.1.2.3:443"] {
            assert!(!is_for(covering, "https://10.1.2.3/v1"), "{covering}");
        }
        for other in ["10.1.2.4", "11.0.0.0/8", "10.0.0.0/x", "::/0"] {
            assert!(is_for(other, "https://10.1.2.3/v1"), "{other}");
        }
        assert!(!is_for("", "http://models.example"), "without TLS");
        for own in ["https://localhost", "https://127.0.0.1:8443", "https://[::1]"] {
            assert!(!is_for("", own), "{own}");
        }
    }
}
