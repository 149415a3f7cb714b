//! Where a configuration comes from, and the addresses that the command line puts into it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tollgate_config::{Bundle, Snapshot};

use crate::arguments::RunArguments;
use crate::load::{self, Loaded};
use crate::server::Configuration;

/// Where the configuration comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Files and folders.
    Paths(Vec<PathBuf>),
    /// Manifests made from the environment, which does not change.
    Environment(String),
}

impl Origin {
    /// The paths of the command line, else that of the environment, else the environment itself.
    ///
    /// # Errors
    /// When there are no paths, and nothing in the environment to serve.
    pub(crate) fn choose(arguments: &RunArguments) -> Result<Self> {
        if !arguments.paths.is_empty() {
            return Ok(Self::Paths(arguments.paths.clone()));
        }
        if let Some(path) = std::env::var_os("TOLLGATE_CONFIG").filter(|path| !path.is_empty()) {
            return Ok(Self::Paths(vec![path.into()]));
        }
        let environment = tollgate_plan::environment(&|name| std::env::var(name).ok())?;
        for note in &environment.notes {
            writeln!(std::io::stderr(), "Tollgate: {note}")?;
        }
        Ok(Self::Environment(environment.manifests))
    }

    /// Reads it as it is now. Gateways that name no address listen on `default_address`.
    pub(crate) fn load(&self, default_address: IpAddr) -> Loaded {
        match self {
            Self::Paths(paths) => load::paths(paths, default_address),
            Self::Environment(manifests) => load::text("environment", manifests, default_address),
        }
    }
}

/// The port that the command line wants, instead of that of the manifests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port(Option<u16>);

impl Port {
    /// Chooses once, so that a reload does not move it.
    ///
    /// # Errors
    /// When listeners are on several ports, or no port is free.
    pub(crate) fn choose(wanted: Option<u16>, default_address: IpAddr, bundle: &Bundle) -> Result<Self> {
        let Some(port) = wanted else { return Ok(Self(None)) };
        let ports: BTreeSet<u16> = bundle.listeners.iter().map(|listener| listener.port).collect();
        if ports.len() > 1 {
            bail!("--port is for listeners on one port, and these are on {} ports", ports.len());
        }
        let address = bundle.listeners.first().map_or(default_address, |listener| listener.address);
        Ok(Self(Some(if port == 0 { free_port(address)? } else { port })))
    }

    /// Compiles what was loaded, on this port; what is found on the way joins its findings.
    pub(crate) fn compile(self, loaded: &mut Loaded) -> Configuration {
        let mut bundle = std::mem::take(&mut loaded.bundle);
        for listener in &mut bundle.listeners {
            listener.port = self.0.unwrap_or(listener.port);
        }
        let (snapshot, diagnostics) = Snapshot::compile(bundle);
        loaded.add(diagnostics);
        Configuration {
            snapshot: Arc::new(snapshot.with_prices(Arc::clone(&loaded.prices))),
            secrets: loaded.secrets.clone(),
            findings: loaded.findings.clone(),
        }
    }
}

/// Ports that Linux gives to nobody by itself: one that is free stays so until it is bound, whatever connections are made meanwhile.
const QUIET_PORTS: RangeInclusive<u16> = 20_000..=32_767;
const TRIES: usize = 32;

/// A port of `address` that nobody listens on at the moment.
///
/// # Errors
/// When there is none, or the address is not of this machine.
pub(crate) fn free_port(address: IpAddr) -> Result<u16> {
    let listen = |port| TcpListener::bind(SocketAddr::new(address, port));
    let mut tried = std::iter::repeat_with(|| rand::random_range(QUIET_PORTS)).take(TRIES);
    if let Some(port) = tried.find(|port| listen(*port).is_ok()) {
        return Ok(port);
    }
    let socket = listen(0).with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket.local_addr()?.port())
}
