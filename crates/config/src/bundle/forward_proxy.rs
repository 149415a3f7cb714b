//! A proxy through which backends of models are reached, by HTTP CONNECT (RFC 9110 section 9.3.6).

use serde::{Deserialize, Serialize};

use super::{Bundle, Endpoint, Route, SecretRef, Trust};

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForwardProxy {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whom to trust as the proxy, where it is spoken to with TLS; else that is in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Trust>,
    /// How the gateway proves itself to the proxy, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<ProxyCredential>,
    /// Hosts that are reached without it: lower case, exact, or `*.` and a suffix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<String>,
}

/// Where name and password are, for the scheme Basic (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyCredential {
    /// Each by itself.
    Pair {
        /// The name.
        username: SecretRef,
        /// The password.
        password: SecretRef,
    },
    /// Both in an address of the proxy, as variables of the environment have it: `http://name:password@host:port`, percent-encoded.
    Address(SecretRef),
}

impl ProxyCredential {
    /// The values that it refers to.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Pair { username, password } => vec![username, password],
            Self::Address(address) => vec![address],
        }
    }
}

impl ForwardProxy {
    /// What the proxy is asked to connect to for `endpoint`: host and port. `None` where it is not asked: for a socket of this machine, and
    /// for a host that bypasses it.
    pub fn destination(&self, endpoint: &Endpoint) -> Option<String> {
        let (host, destination) = match endpoint {
            Endpoint::Fqdn { hostname, port } => {
                (hostname.to_ascii_lowercase(), format!("{hostname}:{port}"))
            }
            Endpoint::Ip { address, port } if address.is_ipv6() => {
                (address.to_string(), format!("[{address}]:{port}"))
            }
            Endpoint::Ip { address, port } => (address.to_string(), format!("{address}:{port}")),
            Endpoint::Unix { .. } => return None,
        };
        (!self.is_bypassed(&host)).then_some(destination)
    }

    /// Whether `host`, a name in lower case or an address, is reached without it.
    pub fn is_bypassed(&self, host: &str) -> bool {
        self.bypass.iter().any(|name| match name.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => name == host,
        })
    }
}

impl Bundle {
    /// The proxy through which the backends of `route` are reached: that of its listeners, which all have the same.
    pub fn forward_proxy(&self, route: &Route) -> Option<&ForwardProxy> {
        self.forward_proxy_of(&route.listeners)
    }

    /// The proxy of `listeners`: that of the first which has one.
    pub fn forward_proxy_of(&self, listeners: &[String]) -> Option<&ForwardProxy> {
        listeners.iter().find_map(|listener| self.forward_proxies.get(listener))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(bypass: &[&str]) -> ForwardProxy {
        ForwardProxy {
            host: "proxy.example.com".to_owned(),
            port: 3128,
            tls: None,
            credential: None,
            bypass: bypass.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn fqdn(hostname: &str) -> Endpoint {
        Endpoint::Fqdn { hostname: hostname.to_owned(), port: 443 }
    }

    #[test]
    fn names_are_left_to_the_proxy() {
        assert_eq!(proxy(&[]).destination(&fqdn("api.example.com")).as_deref(), Some("api.example.com:443"));
    }

    #[test]
    fn addresses_of_ipv6_have_brackets() {
        let endpoint = Endpoint::Ip { address: std::net::Ipv6Addr::LOCALHOST.into(), port: 80 };
        assert_eq!(proxy(&[]).destination(&endpoint).as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn sockets_of_this_machine_have_no_proxy() {
        assert_eq!(proxy(&[]).destination(&Endpoint::Unix { path: "/run/model.sock".to_owned() }), None);
    }

    #[test]
    fn hosts_bypass_it_by_name_or_by_suffix() {
        let proxy = proxy(&["*.corp.example", "exact.example", "10.0.0.7"]);
        for (host, is_bypassed) in [
            ("models.corp.example", true),
            ("Models.Corp.Example", true),
            ("corp.example", false),
            ("evilcorp.example", false),
            ("exact.example", true),
            ("not.exact.example", false),
        ] {
            assert_eq!(proxy.destination(&fqdn(host)).is_none(), is_bypassed, "{host}");
        }
        let address = Endpoint::Ip { address: std::net::Ipv4Addr::new(10, 0, 0, 7).into(), port: 80 };
        assert_eq!(proxy.destination(&address), None);
    }
}
