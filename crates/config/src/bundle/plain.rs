//! Plain routes: requests that are for no model, and go through as they are.

use serde::{Deserialize, Serialize};
use tollgate_terms::{BackendName, RouteName};

use super::{HeaderMatch, TextMatch, Timeouts};

/// One HTTPRoute, attached to its listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainRoute {
    /// `namespace/name`.
    pub name: RouteName,
    /// Names of the listeners that it is attached to.
    pub listeners: Vec<String>,
    /// Host names it serves: exact or `*.` and a suffix. Empty: every host of its listeners.
    pub hostnames: Vec<String>,
    /// Creation time, Unix seconds: the older route wins a tie.
    pub created_at: i64,
    /// Its rules, in the order written.
    pub rules: Vec<PlainRule>,
}

/// One rule: what it matches, what it changes, and where it sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainRule {
    /// The rule's own name, if it has one.
    pub name: Option<String>,
    /// Alternatives: the rule matches when one of them does. Empty: always.
    pub matches: Vec<PlainMatch>,
    /// Changes of the request's headers.
    pub request_headers: HeaderEdit,
    /// Changes of the response's headers.
    pub response_headers: HeaderEdit,
    /// What is done with a request.
    pub action: PlainAction,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// What callers have to prove, by its name in the bundle; `None` lets everybody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Set when the rule cannot be served as written: it answers 500 with this reason and never falls through to another rule.
    pub broken: Option<String>,
    /// What its requests may use: limits on requests, not on what is in them. All that are for a request hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<super::Limit>,
}

/// One alternative of a rule: all of its conditions must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainMatch {
    /// The condition on the path.
    pub path: PathMatch,
    /// The method.
    pub method: Option<String>,
    /// Conditions on headers.
    pub headers: Vec<HeaderMatch>,
    /// Conditions on query parameters.
    pub query: Vec<QueryMatch>,
}

impl Default for PlainMatch {
    /// Matches every request.
    fn default() -> Self {
        Self { path: PathMatch::Prefix("/".to_owned()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

/// A condition on the path, which is taken as it was sent, without the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PathMatch {
    /// The very same path.
    Exact(String),
    /// This path or one below it; a slash at its end makes no difference.
    Prefix(String),
    /// A regular expression (RE2 syntax) over the whole path.
    RegularExpression(String),
}

/// A condition on one query parameter. Nothing is unescaped; of several values the first counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryMatch {
    /// Its name.
    pub name: String,
    /// What its value must be.
    pub value: TextMatch,
}

/// Changes of headers. Removal comes first, then what is set, then what is added. Names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeaderEdit {
    /// Headers to set, replacing what is there.
    pub set: Vec<(String, String)>,
    /// Headers to add to what is there.
    pub add: Vec<(String, String)>,
    /// Headers to remove.
    pub remove: Vec<String>,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PlainAction {
    /// A backend answers it.
    Forward(Forward),
    /// The client is sent elsewhere.
    Redirect(Redirect),
}

/// Which backends answer, and what they are asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forward {
    /// The backends. Empty, or all of weight 0: 500 as Gateway API wants.
    pub targets: Vec<PlainTarget>,
    /// The weight of references that lead nowhere: their share of requests is answered 500.
    pub unresolved_weight: u32,
    /// Host to ask for; the client's when absent.
    pub hostname: Option<String>,
    /// Change of the path.
    pub path: Option<PathRewrite>,
}

/// One backend of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainTarget {
    /// The backend.
    pub backend: BackendName,
    /// Share of the requests; 0 gets nothing.
    pub weight: u32,
}

/// Another path. The query stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PathRewrite {
    /// Instead of the whole path.
    Full(String),
    /// Instead of the prefix that was matched.
    Prefix(String),
}

/// Where a client is sent. What is absent stays as in the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Port; when absent, that of `scheme` if there is one, else that of the listener.
    pub port: Option<u16>,
    /// Change of the path.
    pub path: Option<PathRewrite>,
    /// Status of the response.
    pub status: u16,
}

impl Redirect {
    /// The scheme at which a client of `listener` is to ask.
    pub fn scheme(&self, listener: &super::Listener) -> &str {
        let own = if listener.tls.is_some() { "https" } else { "http" };
        self.scheme.as_deref().unwrap_or(own)
    }

    /// The port at which a client of `listener` is to ask; `None` when it is the usual one of the scheme.
    pub fn port(&self, listener: &super::Listener) -> Option<u16> {
        let usual = if self.scheme(listener) == "https" { 443 } else { 80 };
        let default = if self.scheme.is_some() { usual } else { listener.port };
        Some(self.port.unwrap_or(default)).filter(|port| *port != usual)
    }
}

impl PathRewrite {
    /// `path` rewritten, where a condition on `prefix` took the request.
    ///
    /// Source: Gateway API, `HTTPPathModifier.replacePrefixMatch`, its table.
    pub fn apply(&self, path: &str, prefix: Option<&str>) -> String {
        match self {
            Self::Full(full) => full.clone(),
            Self::Prefix(replacement) => {
                let matched = prefix.unwrap_or_default().trim_end_matches('/');
                let rest = path.strip_prefix(matched).unwrap_or(path);
                match format!("{}{rest}", replacement.trim_end_matches('/')) {
                    empty if empty.is_empty() => "/".to_owned(),
                    path => path,
                }
            }
        }
    }
}
