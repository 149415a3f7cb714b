//! Gateways: which of them are ours, and where they listen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tollgate_config::bundle;
use tollgate_manifest::{ClientTrafficPolicySpec, GatewayListener, GatewaySpec, ProtocolType, TlsMode};

use crate::findings::Findings;
use crate::gateway_config::{GatewayConfig, GatewayConfigs};
use crate::grant;
use crate::index::{Index, Item};
use crate::{client_traffic, listener_tls};

/// The controller whose GatewayClasses are ours: the name that manifests for Envoy AI Gateway have already.
const CONTROLLER: &str = "gateway.envoyproxy.io/gatewayclass-controller";

/// Where requests are taken when there is no Gateway at all.
const DEFAULT_PORT: u16 = 1975;

/// A listener of a Gateway that is served.
#[derive(Debug)]
pub(crate) struct PlannedListener<'a> {
    /// The Gateway; `None` for the listener that is there when no Gateway is.
    pub(crate) origin: Option<Origin<'a>>,
    /// Host name that requests must have, lower case.
    pub(crate) hostname: Option<String>,
    /// Names of the listeners in the bundle: one for each address.
    pub(crate) names: Vec<String>,
    /// What the Gateway's GatewayConfig says for what comes through it.
    pub(crate) config: GatewayConfig<'a>,
    /// Why nothing that comes through it can be served, if so.
    pub(crate) broken: Option<String>,
}

/// Where a listener is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) gateway: &'a Item<'a, GatewaySpec>,
    pub(crate) listener: &'a GatewayListener,
}

/// All listeners, as resolved and as written.
#[derive(Debug, Default)]
pub(crate) struct Listeners<'a> {
    pub(crate) planned: Vec<PlannedListener<'a>>,
    pub(crate) bundle: Vec<bundle::Listener>,
}

/// Plans the listeners of every Gateway that is ours.
pub(crate) fn listeners<'a>(
    index: &'a Index<'a>,
    configs: &GatewayConfigs<'a>,
    default_address: IpAddr,
    findings: &mut Findings,
) -> Listeners<'a> {
    let mut listeners = Listeners::default();
    check_classes(index, findings);
    if !index.has_gateways() {
        listeners.add_default(default_address);
        return listeners;
    }
    let policies = client_traffic::policies(index, findings);
    // Older Gateways keep their place when a younger one wants it too.
    let mut gateways: Vec<_> = index.gateways.iter().collect();
    gateways.sort_by_key(|gateway| gateway.age());
    for gateway in gateways {
        if !is_ours(index, gateway, findings) {
            continue;
        }
        let addresses = addresses(gateway, default_address, findings);
        let config = configs.of(index, gateway, findings);
        for (at, listener) in gateway.spec.listeners.iter().enumerate() {
            let origin = Origin { gateway, listener };
            let policy = policies.effective(gateway, &listener.name);
            listeners.add(index, origin, at, (&addresses, &config, policy), findings);
        }
    }
    listeners
}

fn check_classes(index: &Index<'_>, findings: &mut Findings) {
    for class in index.gateway_classes.iter() {
        if class.spec.controller_name == CONTROLLER && class.spec.parameters_ref.is_some() {
            findings.warning(&class.id, "spec.parametersRef", "has no effect on the embedded data plane");
        }
    }
}

/// Whether `gateway` is of a class of ours. A class that is not there counts as ours, so that a Gateway is enough.
fn is_ours(index: &Index<'_>, gateway: &Item<'_, GatewaySpec>, findings: &mut Findings) -> bool {
    const PATH: &str = "spec.gatewayClassName";
    let name = &gateway.spec.gateway_class_name;
    if index.is_invalid(grant::GATEWAY_CLASS, "", name) {
        findings.error(&gateway.id, PATH, format!("not served: GatewayClass {name:?} has mistakes"));
        return false;
    }
    match index.gateway_classes.iter().find(|class| class.id.name == *name) {
        // Files often have no class at all; one beside others is likely a slip.
        None if index.gateway_classes.is_empty() => true,
        None => {
            findings.warning(&gateway.id, PATH, format!("no GatewayClass {name:?}: served all the same"));
            true
        }
        Some(class) if class.spec.controller_name == CONTROLLER => true,
        Some(class) => {
            let other = &class.spec.controller_name;
            findings.warning(&gateway.id, PATH, format!("not served here: its class belongs to {other:?}"));
            false
        }
    }
}

fn addresses(gateway: &Item<'_, GatewaySpec>, default: IpAddr, findings: &mut Findings) -> Vec<IpAddr> {
    let written = &gateway.spec.addresses;
    if written.is_empty() {
        return vec![default];
    }
    let mut addresses = Vec::new();
    for (at, address) in written.iter().enumerate() {
        let path = format!("spec.addresses[{at}]");
        let is_ip = address.kind.as_deref().is_none_or(|kind| kind == "IPAddress");
        match address.value.as_deref() {
            Some(value) if is_ip => match value.parse() {
                Ok(ip) if !addresses.contains(&ip) => addresses.push(ip),
                Ok(_) => findings.warning(&gateway.id, path, format!("{value:?} stands here twice")),
                Err(_) => {
                    findings.error(
                        &gateway.id,
                        path + ".value",
                        format!("expected an IP address, found {value:?}"),
                    );
                }
            },
            None if is_ip => addresses.push(default),
            _ => findings.error(
                &gateway.id,
                path + ".type",
                "expected IPAddress, the only type that is served",
            ),
        }
    }
    addresses
}

/// What is said for a listener elsewhere: where it listens, by its GatewayConfig, and by its policy.
type Said<'s, 'a> = (
    &'s [IpAddr],
    &'s Result<GatewayConfig<'a>, String>,
    Result<Option<&'s Item<'a, ClientTrafficPolicySpec>>, String>,
);

impl<'a> Listeners<'a> {
    /// Adds the listener that takes requests when there is no Gateway.
    fn add_default(&mut self, address: IpAddr) {
        let name = "default/tollgate/http".to_owned();
        self.bundle.push(bundle::Listener {
            name: name.clone(),
            address,
            port: DEFAULT_PORT,
            hostname: None,
            tls: None,
            request_body_bytes_max: client_traffic::REQUEST_BODY_BYTES_MAX,
        });
        self.planned.push(PlannedListener {
            origin: None,
            hostname: None,
            names: vec![name],
            config: GatewayConfig::default(),
            broken: None,
        });
    }

    /// Adds a listener at each address, unless it cannot be served.
    fn add(
        &mut self,
        index: &'a Index<'a>,
        origin: Origin<'a>,
        at: usize,
        (addresses, config, policy): Said<'_, 'a>,
        findings: &mut Findings,
    ) {
        let Some(tls) = tls(index, origin, at, findings) else { return };
        let hostname = origin.listener.hostname.as_ref().map(|name| name.to_ascii_lowercase());
        let broken = policy.as_ref().err().or(config.as_ref().err()).cloned();
        let request_body_bytes_max = client_traffic::request_body_bytes_max(policy.ok().flatten());
        let full_name = format!("{}/{}", origin.gateway.full_name(), origin.listener.name);
        let mut names = Vec::new();
        for (nth, &address) in addresses.iter().enumerate() {
            let name = if nth == 0 { full_name.clone() } else { format!("{full_name}@{address}") };
            let listener = bundle::Listener {
                name: name.clone(),
                address,
                port: origin.listener.port,
                hostname: hostname.clone(),
                tls: tls.clone(),
                request_body_bytes_max,
            };
            if let Some(conflict) = self.conflict(&listener) {
                findings.error(&origin.gateway.id, format!("spec.listeners[{at}]"), conflict);
                continue;
            }
            self.bundle.push(listener);
            names.push(name);
        }
        if !names.is_empty() {
            let config = config.clone().unwrap_or_default();
            self.planned.push(PlannedListener { origin: Some(origin), hostname, names, config, broken });
        }
    }

    /// Why `listener` cannot be served beside those that are there already.
    fn conflict(&self, listener: &bundle::Listener) -> Option<String> {
        let overlap = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
        let on_same_port = |other: &&bundle::Listener| {
            other.port == listener.port && overlap(other.address, listener.address)
        };
        self.bundle.iter().filter(on_same_port).find_map(|other| {
            let (port, name) = (other.port, &other.name);
            if other.address != listener.address {
                return Some(format!(
                    "port {port} of every address and of one is taken twice, here and by {name}"
                ));
            }
            if other.tls.is_some() != listener.tls.is_some() {
                return Some(format!(
                    "port {port} cannot be with and without TLS: {name} has it the other way"
                ));
            }
            (other.hostname == listener.hostname)
                .then(|| format!("port {port} and host name are taken by {name}"))
        })
    }
}

/// The TLS of a listener: `None` when it cannot be served, `Some(None)` when it is cleartext.
fn tls(
    index: &Index<'_>,
    origin: Origin<'_>,
    at: usize,
    findings: &mut Findings,
) -> Option<Option<bundle::ListenerTls>> {
    let gateway = &origin.gateway.id;
    match origin.listener.protocol {
        ProtocolType::Http => Some(None),
        ProtocolType::Https => {
            let Some(tls) = &origin.listener.tls else {
                findings.error(gateway, format!("spec.listeners[{at}]"), "expected tls with protocol HTTPS");
                return None;
            };
            if tls.mode == TlsMode::Passthrough {
                let path = format!("spec.listeners[{at}].tls.mode");
                findings.error(gateway, path, "Passthrough is not served: the gateway has to read requests");
                return None;
            }
            listener_tls::resolve(index, origin.gateway, at, tls, findings).map(Some)
        }
        ProtocolType::Tls | ProtocolType::Tcp | ProtocolType::Udp => {
            let path = format!("spec.listeners[{at}].protocol");
            findings.error(gateway, path, "expected HTTP or HTTPS, the only protocols that are served");
            None
        }
    }
}

/// Names by which a route can find listeners: those of one Gateway.
pub(crate) fn by_gateway<'a, 'p>(
    planned: &'p [PlannedListener<'a>],
) -> BTreeMap<(&'a str, &'a str), Vec<&'p PlannedListener<'a>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for listener in planned {
        if let Some(origin) = listener.origin {
            let id = &origin.gateway.id;
            found.entry((id.namespace.as_str(), id.name.as_str())).or_default().push(listener);
        }
    }
    found
}
