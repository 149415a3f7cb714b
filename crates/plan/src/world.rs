//! What a plan is made from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use tollgate_config::bundle::SecretRef;
use tollgate_manifest::{Located, Object};
use tollgate_terms::Secret;

/// Every object there is, from files or from the Kubernetes API, and where to listen unless they say.
pub struct World {
    /// The objects, in the order read.
    pub objects: Vec<Located<Object>>,
    /// Where Gateways without an address listen.
    pub default_address: IpAddr,
    /// Certificates and keys that cannot be used. Who plans does not read certificates; who calls may.
    pub unusable: Unusable,
}

/// Values of Secrets and ConfigMaps that cannot be used, and why: by the object, as `Kind namespace/name`, and the key in it.
pub type Unusable = BTreeMap<(String, String), String>;

impl World {
    /// A world whose Gateways listen on 127.0.0.1 unless they name an address: nobody opens a machine to its
    /// network without saying so.
    pub fn new(objects: Vec<Located<Object>>) -> Self {
        let default_address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { objects, default_address, unusable: Unusable::new() }
    }
}

/// Every value of every Secret, as it stands there. Of Secrets with the same name the first counts, as in a plan.
///
/// Keys of an API may have white space around them, from the file they were made of; whoever uses one trims it.
pub fn secrets(world: &World) -> BTreeMap<SecretRef, Secret> {
    let mut values = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for secret in world.objects.iter().filter_map(|object| as_secret(&object.value)) {
        let (namespace, name) = (&secret.metadata.namespace, &secret.metadata.name);
        if !seen.insert((namespace, name)) {
            continue;
        }
        for (key, value) in &secret.data {
            let reference = SecretRef { namespace: namespace.clone(), name: name.clone(), key: key.clone() };
            values.insert(reference, value.clone());
        }
    }
    values
}

fn as_secret(object: &Object) -> Option<&tollgate_manifest::Secret> {
    match object {
        Object::Secret(secret) => Some(secret),
        _ => None,
    }
}
