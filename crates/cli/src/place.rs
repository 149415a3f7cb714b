//! Where the parts of a fleet are: as written on the command line, as listened on, and as told to Envoys.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use tollgate_fleet::{Identity, Place, grpc};

use crate::arguments::{EnvoyArguments, TlsArguments};
use crate::shown::Shown;

/// A place as people write it: `unix:PATH` or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host name or address, and port.
    Tcp(String, u16),
}

impl FromStr for Spot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected HOST:PORT or unix:PATH, and not \"{text}\"");
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(expected()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(expected());
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Spot {
    /// Whether only this machine reaches it.
    fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host, _) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// The place to listen on. Clear text is for this machine only; files of TLS are followed until the process ends.
    ///
    /// # Errors
    /// When it is no address of a socket, or TLS is missing or cannot be had.
    pub(crate) fn listen(&self, tls: &TlsArguments) -> Result<grpc::Place> {
        let (host, port) = match self {
            Self::Unix(path) => return Ok(grpc::Place::Unix(path.clone())),
            Self::Tcp(host, port) => (host, *port),
        };
        let address: IpAddr = host.parse().with_context(|| {
            format!("expected an address of this machine to listen on, and not \"{host}\"")
        })?;
        let tls = match (&tls.tls_cert, &tls.tls_key, &tls.client_ca) {
            (Some(chain), Some(key), Some(authorities)) => {
                let files = [chain, key, authorities].map(Clone::clone);
                Some(Shown(files).follow().context("TLS for Envoys")?)
            }
            _ if self.is_local() => None,
            _ => bail!("expected --tls-cert, --tls-key and --client-ca for {self}, which others reach"),
        };
        Ok(grpc::Place::Tcp(SocketAddr::new(address, port), tls))
    }

    /// The same, of an Envoy on this machine that shows nobody who it is.
    ///
    /// # Errors
    /// When it is on the network.
    pub(crate) fn nearby(&self) -> Result<Place> {
        self.shown_as(None).with_context(|| format!("expected a place on this machine, and not {self}"))
    }

    /// The place as an Envoy is told it.
    ///
    /// # Errors
    /// When it is on the network and nothing says how Envoy shows who it is.
    pub(crate) fn told(&self, envoy: &EnvoyArguments) -> Result<Place> {
        self.shown_as(envoy.identity()).with_context(|| {
            format!("expected --envoy-ca, --envoy-cert and --envoy-key for {self} on the network")
        })
    }

    /// The place, towards which an Envoy shows that it is `tls`; `None` if it is on the network and there is nothing to show.
    fn shown_as(&self, tls: Option<Identity>) -> Option<Place> {
        let (host, port) = match self {
            Self::Unix(path) => return Some(Place::Unix { path: path.to_string_lossy().into_owned() }),
            Self::Tcp(host, port) => (host.clone(), *port),
        };
        (tls.is_some() || self.is_local()).then_some(Place::Tcp { host, port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["unix:/run/x", "127.0.0.1:80", "[::1]:80", "a.example:9001"] {
            assert_eq!(text.parse::<Spot>().map(|spot| spot.to_string()), Ok(text.to_owned()));
        }
        for wrong in ["", "unix:", "80", ":80", "::1:80", "a.example", "a:b", "a:99999"] {
            assert!(wrong.parse::<Spot>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn clear_text_is_for_this_machine_only() {
        let tls = TlsArguments { tls_cert: None, tls_key: None, client_ca: None };
        let listens = |text: &str| text.parse::<Spot>().expect("a place").listen(&tls).is_ok();
        assert!(listens("127.0.0.1:0") && listens("[::1]:0") && listens("unix:/run/x"));
        assert!(!listens("0.0.0.0:0") && !listens("10.0.0.1:0") && !listens("a.example:0"));
        let processor = Spot::Tcp("10.0.0.1".to_owned(), 1);
        let envoy = EnvoyArguments {
            processor,
            rate_limit_service: None,
            envoy_authentication: Vec::new(),
            envoy_ca: None,
            envoy_cert: None,
            envoy_key: None,
            envoy_sds: None,
        };
        assert!(envoy.processor.told(&envoy).is_err());
    }
}
