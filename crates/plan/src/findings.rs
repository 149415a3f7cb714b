//! What is found wrong on the way, and with what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tollgate_config::{Diagnostic, Severity};

/// An object, as findings and references name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    pub(crate) kind: &'static str,
    /// Empty for kinds that are in no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// Why a reference leads nowhere, by the names of Gateway API's `ResolvedRefs` condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The object is not there, or not in the needed shape.
    BackendNotFound,
    /// No ReferenceGrant allows it.
    RefNotPermitted,
    /// The kind cannot be referred to here.
    InvalidKind,
    /// A certificate is not there or not in the needed shape.
    InvalidCertificateRef,
    /// A Secret, ConfigMap or key in one is not there.
    ValueNotFound,
}

impl Unresolved {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::BackendNotFound => "BackendNotFound",
            Self::RefNotPermitted => "RefNotPermitted",
            Self::InvalidKind => "InvalidKind",
            Self::InvalidCertificateRef => "InvalidCertificateRef",
            Self::ValueNotFound => "ValueNotFound",
        }
    }
}

/// Collects findings. The same finding twice is one.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    seen: BTreeSet<(String, String, Severity, String)>,
    diagnostics: Vec<Diagnostic>,
    /// The first reference of each object that leads nowhere.
    unresolved: BTreeMap<String, &'static str>,
}

impl Findings {
    /// Something has no effect, or is likely a mistake.
    pub(crate) fn warning(&mut self, object: &ObjectId, path: impl Into<String>, message: impl Into<String>) {
        self.add(object, path.into(), Severity::Warning, message.into());
    }

    /// Something cannot be served as written.
    pub(crate) fn error(&mut self, object: &ObjectId, path: impl Into<String>, message: impl Into<String>) {
        self.add(object, path.into(), Severity::Error, message.into());
    }

    /// A reference leads nowhere.
    pub(crate) fn unresolved(
        &mut self,
        object: &ObjectId,
        path: impl Into<String>,
        reason: Unresolved,
        message: impl Into<String>,
    ) {
        self.unresolved.entry(object.to_string()).or_insert(reason.reason());
        self.add(object, path.into(), Severity::Error, message.into());
    }

    /// Objects with a reference that leads nowhere, and why, by the names of Gateway API.
    pub(crate) fn take_unresolved(&mut self) -> BTreeMap<String, &'static str> {
        std::mem::take(&mut self.unresolved)
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    fn add(&mut self, object: &ObjectId, path: String, severity: Severity, message: String) {
        let object = object.to_string();
        if self.seen.insert((object.clone(), path.clone(), severity, message.clone())) {
            self.diagnostics.push(Diagnostic { object, path, severity, message });
        }
    }
}
