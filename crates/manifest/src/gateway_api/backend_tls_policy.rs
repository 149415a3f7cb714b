//! BackendTLSPolicy: TLS towards a backend, and whom to trust there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DNS_SUBDOMAIN, HOSTNAME, LocalObjectReference, PolicyTargetReference};
use crate::rules::cel;

/// What a BackendTLSPolicy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// The backends that this policy is about.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// How the backend proves itself.
    pub validation: BackendTlsPolicyValidation,
    /// Options of an implementation.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub options: BTreeMap<String, String>,
}

/// How a backend proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) \
         && self.wellKnownCACertificates != '')",
        "must not contain both caCertificateRefs and wellKnownCACertificates",
    ),
    (
        "(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0) || (has(self.wellKnownCACertificates) \
         && self.wellKnownCACertificates != '')",
        "must specify either caCertificateRefs or wellKnownCACertificates",
    ),
])))]
pub struct BackendTlsPolicyValidation {
    /// Certificates of authorities to trust: a ConfigMap or Secret with the key `ca.crt`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// A well-known set of authorities to trust.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Server name to ask for, and to verify unless `subjectAltNames` are given.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub hostname: String,
    /// Names of which the certificate must have one, instead of `hostname`.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A well-known set of certificate authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WellKnownCaCertificates {
    /// Those of the system.
    System,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "!(self.type == 'Hostname' && (!has(self.hostname) || self.hostname == ''))",
        "SubjectAltName element must contain hostname, if type is set to Hostname",
    ),
    (
        "!(self.type == 'URI' && (!has(self.uri) || self.uri == ''))",
        "SubjectAltName element must contain uri, if type is set to URI",
    ),
])))]
pub struct SubjectAltName {
    /// Which of the fields is set.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// A DNS name.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub hostname: Option<String>,
    /// A URI, such as a SPIFFE id.
    #[schemars(length(min = 1, max = 253))]
    pub uri: Option<String>,
}

/// Which kind of name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectAltNameType {
    /// A DNS name.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}
