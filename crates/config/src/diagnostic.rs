//! What is wrong with a configuration, said once for the command line and for status conditions alike.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is served, but something in it has no effect or is likely a mistake.
    Warning,
    /// The object cannot be served as written.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The object: `Kind namespace/name`.
    pub object: String,
    /// The field, as a path such as `spec.rules[0].backendRefs[1].name`; empty for the whole object.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what was expected, lower case, without a full stop.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.object)?;
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}
