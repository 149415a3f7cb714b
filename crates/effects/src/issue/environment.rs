//! The environment of the process as a value, so that nobody reads it behind the caller's back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use super::IssueError;

/// Variables by name. Cloning it copies one pointer. Make it once, of `std::env::vars_os()`.
#[derive(Clone, Default)]
pub struct Environment(Arc<BTreeMap<String, String>>);

impl Environment {
    /// The value of the variable `name`; an empty one counts as none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All of them, for a program that is run.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// The value of a variable without which nothing goes on.
    pub(super) fn required(&self, name: &str) -> Result<&str, IssueError> {
        self.get(name)
            .ok_or_else(|| IssueError::Misconfigured(format!("the environment variable {name} is not set")))
    }
}

/// Values that are no Unicode are left out.
impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        let variables = variables.into_iter();
        let text =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(Arc::new(text.collect()))
    }
}

/// Tells which variables there are, never what they hold.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_names_and_no_values() {
        let variables = [("KEY", "hidden"), ("EMPTY", "")];
        let environment: Environment =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(environment.get("KEY"), Some("hidden"));
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(format!("{environment:?}"), r#"{"EMPTY", "KEY"}"#);
    }
}
