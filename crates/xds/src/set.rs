//! Everything that Envoys are to have, at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tollgate_envoy::Any;
use tollgate_terms::content_hash;

/// A hash of content: equal content has equal versions, on every replica and after every restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of some content.
    fn of(content: &[u8]) -> Self {
        Self(content_hash(content))
    }

    /// The version of resources together: changes when one does, comes or goes.
    pub(crate) fn of_all<'a>(resources: impl IntoIterator<Item = (&'a String, &'a Arc<Resource>)>) -> Self {
        let mut text = String::new();
        for (name, resource) in resources {
            // With its length in front, no name can pass for two.
            text.push_str(&format!("{} {name} {}\n", name.len(), resource.version));
        }
        Self::of(text.as_bytes())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A resource with its version. It is never shown: a secret is a resource too.
#[derive(Clone, PartialEq)]
pub struct Resource {
    /// The message.
    pub body: Any,
    /// The version of the message.
    pub version: Version,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.body.type_url, self.version)
    }
}

/// The resources of one type, by name.
pub(crate) type Named = BTreeMap<String, Arc<Resource>>;

/// Resources by type and name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceSet {
    types: BTreeMap<String, Named>,
}

impl ResourceSet {
    /// Adds a resource. Another one of the same type and name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, body: Any) {
        let resource = Resource { version: Version::of(&body.value), body };
        let named = self.types.entry(resource.body.type_url.clone()).or_default();
        named.insert(name.into(), Arc::new(resource));
    }

    /// The resources of one type, by name.
    pub fn of(&self, type_url: &str) -> &BTreeMap<String, Arc<Resource>> {
        static NONE: Named = Named::new();
        self.types.get(type_url).unwrap_or(&NONE)
    }

    /// The version of everything of one type.
    pub fn version_of(&self, type_url: &str) -> Version {
        Version::of_all(self.of(type_url))
    }

    /// The version of everything.
    pub fn version(&self) -> Version {
        let mut text = String::new();
        for (type_url, named) in &self.types {
            text.push_str(&format!("{type_url} {}\n", Version::of_all(named)));
        }
        Version::of(text.as_bytes())
    }

    /// Every type with its resources.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&String, &Named)> {
        self.types.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(content: &str) -> Any {
        Any { type_url: "type".to_owned(), value: content.as_bytes().to_vec() }
    }

    #[test]
    fn equal_sets_have_equal_versions_in_whichever_order_they_were_made() {
        let (mut one, mut other) = (ResourceSet::default(), ResourceSet::default());
        one.insert("a", any("1"));
        one.insert("b", any("2"));
        other.insert("b", any("2"));
        other.insert("a", any("1"));
        assert_eq!(one.version(), other.version());
        other.insert("a", any("2"));
        assert_ne!(one.version(), other.version());
    }

    #[test]
    fn a_version_comes_back_from_its_text() {
        let version = Version::of(b"some");
        assert_eq!(version.to_string().parse(), Ok(version));
    }

    #[test]
    fn what_a_resource_holds_is_not_shown() {
        let mut set = ResourceSet::default();
        set.insert("a", any("sesame"));
        assert!(!format!("{set:?}").contains("sesame"));
        assert!(!format!("{set:?}").contains("115"), "nor as bytes");
    }
}
