//! The objects of a world, by kind and name.

use std::collections::BTreeMap;

use tollgate_manifest::{
    AiGatewayRouteSpec, AiServiceBackendSpec, BackendSecurityPolicySpec, BackendSpec, BackendTlsPolicySpec,
    BackendTrafficPolicySpec, BudgetSpec, ClientTrafficPolicySpec, ConfigMap, GatewayClassSpec,
    GatewayConfigSpec, GatewaySpec, HttpRouteSpec, Metadata, NamespaceSpec, Object, QuotaPolicySpec,
    ReferenceGrantSpec, Resource, Secret, SecurityPolicySpec, Unread,
};

use crate::findings::{Findings, ObjectId};
use crate::grant::{GATEWAY, Kind};
use crate::{Unusable, World};

/// One object.
#[derive(Debug)]
pub(crate) struct Item<'a, S> {
    pub(crate) id: ObjectId,
    pub(crate) metadata: &'a Metadata,
    pub(crate) spec: &'a S,
}

impl<S> Item<'_, S> {
    /// `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.id.namespace, self.id.name)
    }

    /// When it was made, Unix seconds; objects without a time count as the oldest.
    pub(crate) fn created_at(&self) -> i64 {
        self.metadata.creation_timestamp.map_or(0, |at| at.unix_seconds())
    }

    /// Who comes first in a conflict, as Gateway API says: the older, then by name.
    pub(crate) fn age(&self) -> (i64, &str, &str) {
        (self.created_at(), &self.id.namespace, &self.id.name)
    }
}

/// All objects of one kind, by namespace and name.
#[derive(Debug)]
pub(crate) struct Items<'a, S>(BTreeMap<(String, String), Item<'a, S>>);

impl<S> Default for Items<'_, S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'a, S> Items<'a, S> {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Item<'a, S>> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item<'a, S>> {
        self.0.values()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Item<'a, S>> {
        self.iter().filter(move |item| item.id.namespace == namespace)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, kind: &'static str, metadata: &'a Metadata, spec: &'a S, findings: &mut Findings) {
        let id = ObjectId { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() };
        match self.0.entry((metadata.namespace.clone(), metadata.name.clone())) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Item { id, metadata, spec });
            }
            std::collections::btree_map::Entry::Occupied(_) => {
                findings.error(&id, "", "defined more than once: the first definition counts");
            }
        }
    }
}

/// All objects.
#[derive(Default)]
pub(crate) struct Index<'a> {
    pub(crate) gateway_classes: Items<'a, GatewayClassSpec>,
    pub(crate) gateways: Items<'a, GatewaySpec>,
    pub(crate) http_routes: Items<'a, HttpRouteSpec>,
    pub(crate) reference_grants: Items<'a, ReferenceGrantSpec>,
    pub(crate) backend_tls_policies: Items<'a, BackendTlsPolicySpec>,
    pub(crate) ai_gateway_routes: Items<'a, AiGatewayRouteSpec>,
    pub(crate) ai_service_backends: Items<'a, AiServiceBackendSpec>,
    pub(crate) backend_security_policies: Items<'a, BackendSecurityPolicySpec>,
    pub(crate) gateway_configs: Items<'a, GatewayConfigSpec>,
    pub(crate) backends: Items<'a, BackendSpec>,
    pub(crate) backend_traffic_policies: Items<'a, BackendTrafficPolicySpec>,
    pub(crate) quota_policies: Items<'a, QuotaPolicySpec>,
    pub(crate) budgets: Items<'a, BudgetSpec>,
    pub(crate) client_traffic_policies: Items<'a, ClientTrafficPolicySpec>,
    pub(crate) security_policies: Items<'a, SecurityPolicySpec>,
    pub(crate) namespaces: Items<'a, NamespaceSpec>,
    pub(crate) config_maps: Items<'a, ConfigMap>,
    pub(crate) secrets: Items<'a, Secret>,
    /// Values that cannot be used, and why.
    unusable: Option<&'a Unusable>,
    /// Objects with mistakes: they are there, and nobody knows what they say.
    invalid: Vec<&'a Unread>,
}

impl<'a> Index<'a> {
    /// Sorts the objects of `world`.
    pub(crate) fn new(world: &'a World, findings: &mut Findings) -> Self {
        let mut index = Self { unusable: Some(&world.unusable), ..Self::default() };
        for object in &world.objects {
            index.add(&object.value, findings);
        }
        index
    }

    /// The objects of `kind` that have mistakes.
    pub(crate) fn invalid_of(&self, kind: Kind) -> impl Iterator<Item = &'a Unread> {
        self.invalid.iter().copied().filter(move |object| {
            let group = object.api_version.split_once('/').map_or("", |(group, _)| group);
            kind.is(group, &object.kind)
        })
    }

    /// Whether the object `name` of `kind` is there and has mistakes.
    pub(crate) fn is_invalid(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.invalid_of(kind)
            .any(|object| object.metadata.namespace == namespace && object.metadata.name == name)
    }

    /// Whether none of `keys` in `object` is known to be unusable; names the first that is.
    ///
    /// # Errors
    /// What to say of it where it is referred to.
    pub(crate) fn usable(
        &self,
        object: &ObjectId,
        keys: &[&str],
        findings: &mut Findings,
    ) -> Result<(), String> {
        for key in keys {
            let known = self.unusable.and_then(|known| known.get(&(object.to_string(), (*key).to_owned())));
            if let Some(reason) = known {
                findings.error(object, format!("data[{key:?}]"), reason.as_str());
                return Err(format!("{key:?} of {object} cannot be used: {reason}"));
            }
        }
        Ok(())
    }

    /// Whether there is any Gateway, be it one with mistakes.
    pub(crate) fn has_gateways(&self) -> bool {
        !self.gateways.is_empty() || self.invalid_of(GATEWAY).next().is_some()
    }

    fn add(&mut self, object: &'a Object, findings: &mut Findings) {
        fn put<'a, S>(
            items: &mut Items<'a, S>,
            kind: &'static str,
            resource: &'a Resource<S>,
            findings: &mut Findings,
        ) {
            items.add(kind, &resource.metadata, &resource.spec, findings);
        }
        match object {
            Object::GatewayClass(it) => put(&mut self.gateway_classes, "GatewayClass", it, findings),
            Object::Gateway(it) => put(&mut self.gateways, "Gateway", it, findings),
            Object::HttpRoute(it) => put(&mut self.http_routes, "HTTPRoute", it, findings),
            Object::ReferenceGrant(it) => put(&mut self.reference_grants, "ReferenceGrant", it, findings),
            Object::BackendTlsPolicy(it) => {
                put(&mut self.backend_tls_policies, "BackendTLSPolicy", it, findings)
            }
            Object::AiGatewayRoute(it) => put(&mut self.ai_gateway_routes, "AIGatewayRoute", it, findings),
            Object::AiServiceBackend(it) => {
                put(&mut self.ai_service_backends, "AIServiceBackend", it, findings)
            }
            Object::BackendSecurityPolicy(it) => {
                put(&mut self.backend_security_policies, "BackendSecurityPolicy", it, findings);
            }
            Object::GatewayConfig(it) => put(&mut self.gateway_configs, "GatewayConfig", it, findings),
            Object::Backend(it) => put(&mut self.backends, "Backend", it, findings),
            Object::BackendTrafficPolicy(it) => {
                put(&mut self.backend_traffic_policies, "BackendTrafficPolicy", it, findings);
            }
            Object::ClientTrafficPolicy(it) => {
                put(&mut self.client_traffic_policies, "ClientTrafficPolicy", it, findings);
            }
            Object::QuotaPolicy(it) => put(&mut self.quota_policies, "QuotaPolicy", it, findings),
            Object::Budget(it) => put(&mut self.budgets, "Budget", it, findings),
            Object::SecurityPolicy(it) => put(&mut self.security_policies, "SecurityPolicy", it, findings),
            Object::Namespace(it) => put(&mut self.namespaces, "Namespace", it, findings),
            Object::ConfigMap(it) => self.config_maps.add("ConfigMap", &it.metadata, it, findings),
            Object::Secret(it) => self.secrets.add("Secret", &it.metadata, it, findings),
            // Findings of the manifest name them.
            Object::Invalid(unread) => self.invalid.push(unread),
            Object::Unsupported(_) => {}
        }
    }
}
