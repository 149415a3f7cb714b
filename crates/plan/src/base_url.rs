//! The base URL of a provider, as SDKs take it from the environment.

use std::fmt;
use std::net::IpAddr;

/// The parts of `http://` or `https://` URLs that tell where a backend is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    pub(crate) is_https: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Without slashes at its ends; may be empty.
    pub(crate) path: String,
}

/// A host in a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl BaseUrl {
    /// Parses `text`; the error says what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (is_https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err("expected a URL that begins with https:// or http://"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("expected a URL without user name and password");
        }
        if rest.contains(['?', '#']) {
            return Err("expected a URL without query and fragment");
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self { is_https, host: Host::parse(host)?, port, path: path.trim_matches('/').to_owned() })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if text.is_empty() || !text.bytes().all(is_name) {
            return Err("expected a URL with a host name or address");
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => match port.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err("expected a URL with a port from 1 to 65535"),
        },
        _ => Ok((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let url = BaseUrl::parse("HTTPS://API.example.com/v1beta/openai/").expect("a URL");
        assert!(url.is_https);
        assert_eq!((url.host, url.port), (Host::Name("api.example.com".to_owned()), 443));
        assert_eq!(url.path, "v1beta/openai");
        let url = BaseUrl::parse("http://[::1]:8080").expect("a URL");
        assert_eq!((url.host, url.port), (Host::Address([0, 0, 0, 0, 0, 0, 0, 1].into()), 8080));
    }

    #[test]
    fn refuses_what_is_no_base_url() {
        for text in [
            "",
            "api.example.com",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a?b",
            "http://a:0",
            "http://a b",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }
}
