//! What is wrong with a source, and where.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::position::{Path, Position};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is read, but something in it has no effect or is likely a mistake.
    Warning,
    /// The object cannot be read as written.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The object: `Kind namespace/name`; empty when there is none to speak of.
    pub object: String,
    /// The field, as a path such as `spec.rules[0].backendRefs[1].name`; empty for the whole object.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what was expected, lower case, without a full stop.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: ", self.file, self.line, self.column, self.severity)?;
        for context in [&self.object, &self.path] {
            if !context.is_empty() {
                write!(f, "{context}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// Collects findings about one object.
pub(crate) struct Findings {
    pub(crate) file: Arc<str>,
    pub(crate) object: String,
    pub(crate) list: Vec<Finding>,
}

impl Findings {
    pub(crate) fn new(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), object: String::new(), list: Vec::new() }
    }

    pub(crate) fn error(&mut self, position: Position, path: Path<'_>, message: impl Into<String>) {
        self.push(Severity::Error, position, path.to_string(), message.into());
    }

    pub(crate) fn warning(&mut self, position: Position, path: Path<'_>, message: impl Into<String>) {
        self.push(Severity::Warning, position, path.to_string(), message.into());
    }

    pub(crate) fn push(&mut self, severity: Severity, position: Position, path: String, message: String) {
        self.list.push(Finding {
            file: self.file.to_string(),
            line: position.line,
            column: position.column,
            object: self.object.clone(),
            path,
            severity,
            message,
        });
    }

    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}
