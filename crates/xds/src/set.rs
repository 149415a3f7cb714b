//! Everything that Envoys are to have, at one moment.

use std::collections::BTreeMap;

use tollgate_envoy::Any;
use tollgate_terms::content_hash;

/// A resource with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The message.
    pub body: Any,
    /// Hash of the message: equal content has equal versions, on every replica.
    pub version: u64,
}

/// Resources by type and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceSet {
    types: BTreeMap<String, BTreeMap<String, Resource>>,
}

impl ResourceSet {
    /// Adds a resource. Another one of the same type and name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, body: Any) {
        let version = content_hash(&body.value);
        let named = self.types.entry(body.type_url.clone()).or_default();
        named.insert(name.into(), Resource { body, version });
    }

    /// Adds those resources of `other` whose type is `type_url` and whose names are not here.
    pub fn keep(&mut self, other: &Self, type_url: &str) {
        for (name, resource) in other.of(type_url) {
            let named = self.types.entry(type_url.to_owned()).or_default();
            named.entry(name.clone()).or_insert_with(|| resource.clone());
        }
    }

    /// The resources of one type, by name.
    pub fn of(&self, type_url: &str) -> &BTreeMap<String, Resource> {
        static NONE: BTreeMap<String, Resource> = BTreeMap::new();
        self.types.get(type_url).unwrap_or(&NONE)
    }

    /// Version of everything of one type: changes when a resource does, comes or goes.
    pub fn version_of(&self, type_url: &str) -> u64 {
        let mut text = String::new();
        for (name, resource) in self.of(type_url) {
            text.push_str(name);
            text.push_str(&format!("\n{:016x}\n", resource.version));
        }
        content_hash(text.as_bytes())
    }
}
