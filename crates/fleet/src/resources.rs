//! A configuration as Envoy gets it: what `plan` writes, with secrets put in, in protobuf.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tollgate_config::{Bundle, Diagnostic, Severity, Snapshot};
use tollgate_effects::Secrets;
use tollgate_plan::envoy::{self, AccessLog, Patience, Place, Resource, Resources, SecretNeed, Slot};
use tollgate_terms::content_hash;
use tollgate_xds::ResourceSet;

/// The id of a configuration: the same in every process that has read the same, on whichever addresses its listeners are.
///
/// # Errors
/// Never in practice: when it cannot be written as JSON.
pub fn snapshot_id(bundle: &Bundle) -> Result<String> {
    let mut bundle = bundle.clone();
    for listener in &mut bundle.listeners {
        (listener.address, listener.port) = (Ipv4Addr::UNSPECIFIED.into(), 0);
    }
    Ok(format!("{:016x}", content_hash(&serde_json::to_vec(&bundle)?)))
}

/// Where an Envoy finds what it asks.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The external processor.
    pub processor: Place,
    /// The rate limit service, if limits were handed over to one.
    pub rate_limits: Option<Place>,
}

/// What Envoys are programmed with to serve `bundle`, secrets named only.
///
/// # Errors
/// As [`snapshot_id`].
pub fn written(bundle: &Bundle, parts: &Parts, patience: Patience) -> Result<Resources> {
    let fleet = envoy::Fleet {
        snapshot: snapshot_id(bundle)?,
        processor: parts.processor.clone(),
        rate_limits: parts.rate_limits.clone(),
        access_log: AccessLog::Off,
        patience,
    };
    Ok(envoy::resources(bundle, &fleet))
}

/// What of `bundle` cannot be said to an Envoy, or not as it is meant; wherever its processor is.
///
/// # Errors
/// As [`snapshot_id`].
pub fn obstacles(bundle: &Bundle) -> Result<Vec<Diagnostic>> {
    let processor = Place::Unix { path: "extproc.sock".to_owned() };
    let anywhere = Parts { processor, rate_limits: None };
    Ok(written(bundle, &anywhere, Patience::default())?.diagnostics)
}

/// A configuration, ready to be sent.
pub(crate) struct Programmed {
    pub(crate) set: ResourceSet,
    /// Where clients connect.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Those of them without TLS.
    pub(crate) cleartext: Vec<SocketAddr>,
}

impl Programmed {
    /// Writes what Envoy needs to serve `snapshot`, with its parts at `parts`.
    ///
    /// # Errors
    /// When something cannot be said to Envoy, or a certificate is not there.
    pub(crate) fn new(
        snapshot: &Snapshot,
        secrets: &Secrets,
        parts: &Parts,
        patience: Patience,
    ) -> Result<Self> {
        let bundle = snapshot.bundle();
        let resources = written(bundle, parts, patience)?;
        for diagnostic in &resources.diagnostics {
            match diagnostic.severity {
                Severity::Error => bail!("{} {}: {}", diagnostic.object, diagnostic.path, diagnostic.message),
                Severity::Warning => {
                    tracing::warn!("{} {}: {}", diagnostic.object, diagnostic.path, diagnostic.message)
                }
            }
        }
        let mut set = ResourceSet::default();
        let filled = resources
            .route_configurations
            .iter()
            .map(|written| {
                let slots = resources.slots.iter().filter(|slot| slot.resource == written.name);
                filled(written, slots, secrets)
            })
            .collect::<Result<Vec<_>>>()?;
        let written = [&resources.clusters, &resources.listeners, &filled];
        for resource in written.into_iter().flatten() {
            let body = tollgate_envoy::to_any(&resource.body)
                .with_context(|| format!("resource {:?} is not one of Envoy's", resource.name))?;
            set.insert(resource.name.clone(), body);
        }
        for need in &resources.secrets {
            set.insert(need.name.clone(), tollgate_envoy::to_any(&certificate(need, secrets)?)?);
        }
        let address =
            |listener: &tollgate_config::bundle::Listener| SocketAddr::new(listener.address, listener.port);
        let addresses: BTreeSet<_> = bundle.listeners.iter().map(address).collect();
        let cleartext: BTreeSet<_> =
            bundle.listeners.iter().filter(|listener| listener.tls.is_none()).map(address).collect();
        Ok(Self {
            set,
            addresses: addresses.into_iter().collect(),
            cleartext: cleartext.into_iter().collect(),
        })
    }
}

/// A route configuration with its secrets put in. Not to be shown.
///
/// # Errors
/// When a secret is not there, or has no place.
fn filled<'a>(
    written: &Resource,
    slots: impl Iterator<Item = &'a Slot>,
    secrets: &Secrets,
) -> Result<Resource> {
    let mut filled = written.clone();
    for Slot { resource, pointer, secret } in slots {
        let value = secrets.get(secret).map(|secret| Value::from(secret.expose().trim()));
        let place = filled.body.pointer_mut(pointer);
        let (Some(value), Some(place)) = (value, place) else {
            bail!("a key of {}/{} is not there for {resource}", secret.namespace, secret.name)
        };
        *place = value;
    }
    Ok(filled)
}

/// The certificate that Envoy asks for. Not to be shown: it has the key in it.
fn certificate(need: &SecretNeed, secrets: &Secrets) -> Result<Value> {
    let text = |reference| secrets.get(reference).map(|secret| secret.expose().to_owned());
    let (chain, key) = (text(&need.chain), text(&need.key));
    let (Some(chain), Some(key)) = (chain, key) else { bail!("certificate {} is not there", need.name) };
    Ok(json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": need.name,
        "tls_certificate": {
            "certificate_chain": { "inline_string": chain },
            "private_key": { "inline_string": key },
        },
    }))
}
