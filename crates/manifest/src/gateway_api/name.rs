//! Table: the patterns of names that Gateway API defines, and the lengths that go with them.

/// A host name, possibly with a wildcard as its first label (`Hostname`); 1 to 253 characters.
pub(crate) const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A host name without a wildcard (`PreciseHostname`); also names of objects and, with a dot, of groups.
pub(crate) const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// An API group, empty for the core group (`Group`); at most 253 characters.
pub(crate) const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A kind (`Kind`); 1 to 63 characters.
pub(crate) const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// A namespace (`Namespace`); 1 to 63 characters.
pub(crate) const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A section of an object, such as a listener or a rule (`SectionName`); 1 to 253 characters.
pub(crate) const SECTION_NAME: &str = DNS_SUBDOMAIN;
/// A header or query parameter name (`HTTPHeaderName`); 1 to 256 characters.
pub(crate) const HEADER_NAME: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
