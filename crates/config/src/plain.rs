//! Plain rules, compiled: which of them serves a request, and in which order they are asked.

use std::cmp::Reverse;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tollgate_terms::RouteName;

use crate::access::{Accesses, Entry};
use crate::bundle::{
    self, HeaderEdit, HeaderMatch, PathMatch, PathRewrite, PlainAction, PlainMatch, PlainRoute, PlainRule,
    QueryMatch, Redirect, TextMatch, Timeouts,
};
use crate::condition::{self, Condition, Expected, MODEL_HEADER, Test};
use crate::limit::CompiledLimit;
use crate::mutation::{header_name, header_value, is_gateway_owned};
use crate::rule::Backends;
use crate::{Diagnostic, Severity};

/// What of a request plain rules look at.
#[derive(Debug, Clone, Copy)]
pub struct PlainRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, as sent, without the query.
    pub path: &'a str,
    /// Its query, as sent, without the question mark.
    pub query: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// One rule, ready to serve.
#[derive(Debug)]
pub struct CompiledPlainRule {
    /// The route it belongs to.
    pub route: RouteName,
    /// Its place in the route, from 0.
    pub index: usize,
    /// Changes of the request's headers.
    pub request_headers: CompiledEdit,
    /// Changes of the response's headers.
    pub response_headers: CompiledEdit,
    /// What is done with a request.
    pub action: CompiledAction,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// Whom it lets in.
    pub entry: Entry,
    /// Set when the rule cannot be served: it answers 500 with this reason.
    pub broken: Option<String>,
    /// What its requests may use.
    pub limits: Vec<Arc<CompiledLimit>>,
}

/// What is done with a request.
#[derive(Debug)]
pub enum CompiledAction {
    /// A backend answers it.
    Forward(CompiledForward),
    /// The client is sent elsewhere.
    Redirect(Redirect),
}

/// Which backends answer, and what they are asked for.
#[derive(Debug, Default)]
pub struct CompiledForward {
    /// The backends, and their shares of the requests. None has weight 0.
    pub targets: Vec<(Arc<bundle::Backend>, u32)>,
    /// The share that is answered 500.
    pub unresolved_weight: u32,
    /// Host to ask for; the client's when absent.
    pub hostname: Option<HeaderValue>,
    /// Change of the path.
    pub path: Option<PathRewrite>,
}

/// Changes of headers: removal first, then what is set, then what is added.
#[derive(Debug, Clone, Default)]
pub struct CompiledEdit {
    /// Headers to set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers to add.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
}

/// One alternative of a plain rule, with what decides its precedence.
#[derive(Debug, Clone)]
pub struct PlainAlternative {
    path: Path,
    method: Option<Method>,
    headers: Arc<[Condition]>,
    query: Arc<[QueryCondition]>,
    created_at: i64,
    /// Its place in its rule.
    place: usize,
    rule: Arc<CompiledPlainRule>,
}

/// A condition on a query parameter.
#[derive(Debug)]
pub struct QueryCondition {
    name: String,
    test: Test,
}

/// A condition on the path.
#[derive(Debug, Clone)]
pub(crate) enum Path {
    Exact(String),
    /// Without a slash at its end: empty is every path.
    Prefix(String),
    RegularExpression {
        test: Arc<Test>,
        length: usize,
    },
}

/// What an alternative asks of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPath<'a> {
    /// The very same path.
    Exact(&'a str),
    /// This path, or one below it. Without a slash at its end: empty is every path.
    Prefix(&'a str),
    /// A match of the whole path with this regular expression.
    RegularExpression(&'a str),
}

impl CompiledEdit {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }

    /// Compiles an edit; names that the gateway owns are left out.
    fn compile(written: &HeaderEdit) -> Result<Self, String> {
        let pairs = |pairs: &[(String, String)]| {
            pairs
                .iter()
                .filter(|(name, _)| !is_gateway_owned(name))
                .map(|(name, value)| Ok((header_name(name)?, header_value(value)?)))
                .collect::<Result<Vec<_>, String>>()
        };
        let names = written.remove.iter().filter(|name| !is_gateway_owned(name));
        Ok(Self {
            set: pairs(&written.set)?,
            add: pairs(&written.add)?,
            remove: names.map(|name| header_name(name)).collect::<Result<_, _>>()?,
        })
    }
}

impl PlainAlternative {
    /// What it asks of the path.
    pub fn path(&self) -> ExpectedPath<'_> {
        match &self.path {
            Path::Exact(path) => ExpectedPath::Exact(path),
            Path::Prefix(prefix) => ExpectedPath::Prefix(prefix),
            Path::RegularExpression { test, .. } => match test.expected() {
                Expected::RegularExpression(pattern) | Expected::Exact(pattern) => {
                    ExpectedPath::RegularExpression(pattern)
                }
                Expected::Any => ExpectedPath::Prefix(""),
            },
        }
    }

    /// The prefix that it asks for, if it does: what a rewrite of the prefix replaces.
    pub fn prefix(&self) -> Option<&str> {
        match &self.path {
            Path::Prefix(prefix) => Some(prefix),
            Path::Exact(_) | Path::RegularExpression { .. } => None,
        }
    }

    /// The method that it asks for.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// What it asks of headers.
    pub fn headers(&self) -> &[Condition] {
        &self.headers
    }

    /// What it asks of the query.
    pub fn query(&self) -> &[QueryCondition] {
        &self.query
    }

    /// What serves a request for which all of it holds.
    pub fn rule(&self) -> &Arc<CompiledPlainRule> {
        &self.rule
    }

    /// Smaller comes first. Source: Gateway API, `HTTPRouteRule.matches`; where regular expressions stand is left open there.
    pub(crate) fn precedence(&self) -> impl Ord + '_ {
        let (rank, length) = match &self.path {
            Path::Exact(path) => (0, path.len()),
            Path::RegularExpression { length, .. } => (1, *length),
            Path::Prefix(prefix) => (2, prefix.len()),
        };
        (
            (
                rank,
                Reverse(length),
                self.method.is_none(),
                Reverse(self.headers.len()),
                Reverse(self.query.len()),
            ),
            (self.created_at, self.rule.route.as_ref() as &str, self.rule.index, self.place),
        )
    }

    pub(crate) fn holds(&self, request: PlainRequest<'_>) -> bool {
        self.path.holds(request.path)
            && self.method.as_ref().is_none_or(|method| method == request.method)
            && self.headers.iter().all(|condition| condition.holds(request.headers, None))
            && self.query.iter().all(|condition| condition.holds(request.query.unwrap_or_default()))
    }
}

impl Path {
    /// Compiles a condition.
    ///
    /// # Errors
    /// What is wrong with its regular expression.
    pub(crate) fn compile(written: &PathMatch) -> Result<Self, String> {
        Ok(match written {
            PathMatch::Exact(path) => Self::Exact(path.clone()),
            PathMatch::Prefix(prefix) => Self::Prefix(prefix.trim_end_matches('/').to_owned()),
            PathMatch::RegularExpression(pattern) => {
                let test = Test::compile(&TextMatch::RegularExpression(pattern.clone()))?;
                Self::RegularExpression { test: Arc::new(test), length: pattern.len() }
            }
        })
    }

    pub(crate) fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                // What has no path, such as `CONNECT`, is below nothing.
                .is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && !path.is_empty())),
            Self::RegularExpression { test, .. } => test.accepts(path.as_bytes()),
        }
    }
}

impl QueryCondition {
    /// The parameter that it is about.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it asks of it.
    pub fn expected(&self) -> Expected<'_> {
        self.test.expected()
    }

    /// Compiles a condition.
    ///
    /// # Errors
    /// What is wrong with its regular expression.
    pub(crate) fn compile(written: &QueryMatch) -> Result<Self, String> {
        Ok(Self { name: written.name.clone(), test: Test::compile(&written.value)? })
    }

    pub(crate) fn holds(&self, query: &str) -> bool {
        parameter(query, &self.name).is_some_and(|value| self.test.accepts(value.as_bytes()))
    }
}

/// The first value of the parameter called `name`, as it was sent.
pub(crate) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// Compiles a route into the alternatives of all its rules.
pub(crate) fn compile(
    route: &PlainRoute,
    known: (&Backends<'_>, &Accesses),
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<PlainAlternative> {
    let mut alternatives = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let mut findings = Vec::new();
        let matches = compile_matches(&rule.matches, &mut findings);
        let compiled = Arc::new(compile_rule(route, index, rule, known, &mut findings));
        alternatives.extend(matches.into_iter().map(|(place, (path, method, headers, query))| {
            let rule = Arc::clone(&compiled);
            PlainAlternative { path, method, headers, query, created_at: route.created_at, place, rule }
        }));
        diagnostics.extend(findings.into_iter().map(|(path, message)| Diagnostic {
            object: format!("HTTPRoute {}", route.name),
            path: format!("spec.rules[{index}].{path}"),
            severity: Severity::Error,
            message,
        }));
    }
    alternatives
}

type Findings = Vec<(String, String)>;
type Conditions = (Path, Option<Method>, Arc<[Condition]>, Arc<[QueryCondition]>);

/// Compiles the alternatives of a rule, each with its place. One that cannot be compiled takes no request.
fn compile_matches(matches: &[PlainMatch], findings: &mut Findings) -> Vec<(usize, Conditions)> {
    let always = [PlainMatch::default()];
    let matches = if matches.is_empty() { &always[..] } else { matches };
    let compile = |(at, written)| Some((at, compile_match(&format!("matches[{at}]"), written, findings)?));
    matches.iter().enumerate().filter_map(compile).collect()
}

fn compile_match(at: &str, written: &PlainMatch, findings: &mut Findings) -> Option<Conditions> {
    let mut readable = true;
    let mut fail = |path: String, reason: String| {
        findings.push((path, reason));
        readable = false;
    };
    let path = Path::compile(&written.path);
    let path = path.map_err(|reason| fail(format!("{at}.path.value"), reason)).ok();
    let method = written.method.as_ref().and_then(|method| {
        let parsed = Method::from_bytes(method.as_bytes());
        parsed.map_err(|_| fail(format!("{at}.method"), format!("expected a method, found {method:?}"))).ok()
    });
    let headers = compile_headers(at, &written.headers, &mut fail);
    let query = compile_query(at, &written.query, &mut fail);
    let can_hold = written.headers.iter().all(|header| can_hold(&header.name));
    (readable && can_hold).then_some((path?, method, headers.into(), query.into()))
}

/// Whether a condition on the header `name`, in lower case, can hold for a request that is for no model.
pub fn can_hold(name: &str) -> bool {
    name != MODEL_HEADER && condition::can_hold(name)
}

/// What stands for the policy of a rule that asks nothing of its callers, where requests of it have to be told apart from those of others.
pub const OPEN: &str = "open";

fn compile_headers(
    at: &str,
    written: &[HeaderMatch],
    fail: &mut impl FnMut(String, String),
) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = Vec::with_capacity(written.len());
    for (place, header) in written.iter().enumerate() {
        match Condition::compile(header) {
            // Gateway API: of several conditions on one header, only the first counts.
            Ok(condition) if conditions.iter().any(|earlier| earlier.is_on_same_header(&condition)) => {}
            Ok(condition) => conditions.push(condition),
            Err((_, reason)) => fail(format!("{at}.headers[{place}]"), reason),
        }
    }
    conditions
}

fn compile_query(
    at: &str,
    written: &[QueryMatch],
    fail: &mut impl FnMut(String, String),
) -> Vec<QueryCondition> {
    let mut conditions: Vec<QueryCondition> = Vec::with_capacity(written.len());
    for (place, parameter) in written.iter().enumerate() {
        match QueryCondition::compile(parameter) {
            // As with headers.
            Ok(_) if conditions.iter().any(|earlier| earlier.name == parameter.name) => {}
            Ok(condition) => conditions.push(condition),
            Err(reason) => fail(format!("{at}.queryParams[{place}].value"), reason),
        }
    }
    conditions
}

fn compile_rule(
    route: &PlainRoute,
    index: usize,
    rule: &PlainRule,
    (backends, accesses): (&Backends<'_>, &Accesses),
    findings: &mut Findings,
) -> CompiledPlainRule {
    let mut broken = rule.broken.clone();
    let known = broken.is_some();
    let mut fail = |path: &str, reason: String| {
        if !known {
            findings.push((path.to_owned(), reason.clone()));
        }
        broken.get_or_insert(reason);
    };
    let mut edit = |written: &HeaderEdit| {
        CompiledEdit::compile(written).map_err(|reason| fail("filters", reason)).unwrap_or_default()
    };
    let (request_headers, response_headers) = (edit(&rule.request_headers), edit(&rule.response_headers));
    let limits = CompiledLimit::compile_all(&rule.limits).unwrap_or_else(|message| {
        fail("limits", message);
        Vec::new()
    });
    let action = match &rule.action {
        PlainAction::Redirect(redirect) => CompiledAction::Redirect(redirect.clone()),
        PlainAction::Forward(written) => {
            let mut forward = CompiledForward {
                unresolved_weight: written.unresolved_weight,
                path: written.path.clone(),
                ..CompiledForward::default()
            };
            for target in written.targets.iter().filter(|target| target.weight > 0) {
                match backends.get(target.backend.as_ref()) {
                    Some(backend) => forward.targets.push((Arc::clone(backend), target.weight)),
                    None => fail(
                        "backendRefs",
                        format!("backend {:?}: not in the configuration", target.backend.as_ref()),
                    ),
                }
            }
            if let Some(hostname) = &written.hostname {
                match header_value(hostname) {
                    Ok(hostname) => forward.hostname = Some(hostname),
                    Err(reason) => fail("filters", reason),
                }
            }
            CompiledAction::Forward(forward)
        }
    };
    // What is wrong with it is told already.
    let (entry, closed) = Entry::find(accesses, rule.access.as_deref());
    CompiledPlainRule {
        route: route.name.clone(),
        index,
        request_headers,
        response_headers,
        action,
        timeouts: rule.timeouts.clone(),
        limits,
        entry,
        broken: broken.or(closed),
    }
}
