//! What callers have to prove, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::Program;
use http::HeaderName;

use crate::bundle::{Access, AccessRule, Authorization, Place};
use crate::{Bundle, Diagnostic, Severity, header_name};

/// What an expression of an authorization rule sees.
const VARIABLES: [&str; 4] = ["request", "principal", "jwt", "source"];

/// Calls that give a variable of their own to their argument.
const BINDING: [&str; 5] = [".all(", ".exists(", ".exists_one(", ".filter(", ".map("];

/// How much the clocks of whoever issues a token and of whoever takes it may differ, seconds.
pub const TOKEN_LEEWAY_S: u64 = 60;

/// What the tokens of a provider of a policy are called by a filter that has verified them, and by whoever believes it.
pub fn provider_name(policy: &str, provider: &str) -> String {
    format!("{policy}/{provider}")
}

/// What callers have to prove, ready to be checked.
#[derive(Debug)]
pub struct CompiledAccess {
    /// `namespace/name` of the SecurityPolicy.
    pub name: Arc<str>,
    /// As it was resolved.
    pub access: Access,
    /// The expressions of the authorization rules, in their order.
    pub expressions: Vec<Option<Program>>,
    /// The header in which backends are told whose API key it was.
    pub client_id_header: Option<HeaderName>,
    /// Headers that only the gateway may set: what a client sends in them is taken out.
    pub owned_headers: Arc<[HeaderName]>,
    /// Headers that it reads keys or tokens from.
    pub credential_headers: Vec<HeaderName>,
}

/// By name: what can be checked, or why it cannot.
pub(crate) type Accesses = BTreeMap<String, Result<Arc<CompiledAccess>, String>>;

/// Compiles everything that callers have to prove in `bundle`.
pub(crate) fn compile(bundle: &Bundle, diagnostics: &mut Vec<Diagnostic>) -> Accesses {
    let compile = |(name, access): (&String, &Access)| {
        let compiled = CompiledAccess::compile(name, access).map(Arc::new).map_err(|(path, message)| {
            let object = format!("SecurityPolicy {name}");
            diagnostics.push(Diagnostic {
                object,
                path,
                severity: Severity::Error,
                message: message.clone(),
            });
            format!("SecurityPolicy \"{name}\": {message}")
        });
        (name.clone(), compiled)
    };
    bundle.access.iter().map(compile).collect()
}

/// Whom a rule lets in.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Everybody.
    Open,
    /// Who proves this.
    Asked(Arc<CompiledAccess>),
    /// Nobody: what callers would have to prove is not known, and the rule is broken.
    Closed,
}

impl Entry {
    /// Whom a rule lets in that names `name`, and why it must not be served if that is nobody.
    pub(crate) fn find(accesses: &Accesses, name: Option<&str>) -> (Self, Option<String>) {
        match name.map(|name| (name, accesses.get(name))) {
            None => (Self::Open, None),
            Some((_, Some(Ok(access)))) => (Self::Asked(Arc::clone(access)), None),
            Some((_, Some(Err(reason)))) => (Self::Closed, Some(reason.clone())),
            Some((name, None)) => {
                (Self::Closed, Some(format!("SecurityPolicy \"{name}\" is not in the configuration")))
            }
        }
    }

    /// What callers have to prove, if anything.
    pub fn access(&self) -> Option<&Arc<CompiledAccess>> {
        match self {
            Self::Asked(access) => Some(access),
            Self::Open | Self::Closed => None,
        }
    }

    /// Whether two rules ask the same.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open, Self::Open) | (Self::Closed, Self::Closed) => true,
            (Self::Asked(a), Self::Asked(b)) => a.name == b.name,
            (Self::Open | Self::Asked(_) | Self::Closed, _) => false,
        }
    }
}

impl CompiledAccess {
    fn compile(name: &str, access: &Access) -> Result<Self, (String, String)> {
        let rules = access.authorization.iter().flat_map(|authorization| &authorization.rules);
        let expressions = rules.enumerate().map(|(at, rule)| {
            let compiled = rule.cel.as_deref().map(expression).transpose();
            compiled.map_err(|message| (format!("spec.authorization.rules[{at}].cel"), message))
        });
        let header = |name: &str| header_name(name).map_err(|message| ("spec".to_owned(), message));
        let read = access.places().filter_map(|place| match place {
            Place::Header { name, .. } => Some(header(name)),
            Place::Query(_) | Place::Cookie(_) => None,
        });
        let of_keys = access.api_keys.iter().filter_map(|api_keys| api_keys.client_id_header.as_deref());
        let providers = access.jwt.iter().flat_map(|jwt| &jwt.providers);
        let of_tokens = providers.flat_map(|provider| &provider.claim_headers);
        let client_id_header = of_keys.clone().next().map(header).transpose()?;
        let owned = of_keys.chain(of_tokens.map(|(name, _)| name.as_str()));
        Ok(Self {
            name: name.into(),
            access: access.clone(),
            expressions: expressions.collect::<Result<_, _>>()?,
            client_id_header,
            owned_headers: owned.map(header).collect::<Result<_, _>>()?,
            credential_headers: read.collect::<Result<_, _>>()?,
        })
    }

    /// The rules on who is let in, each with its expression, and what becomes of others.
    pub fn authorization(
        &self,
    ) -> Option<(impl Iterator<Item = (&AccessRule, Option<&Program>)>, &Authorization)> {
        let authorization = self.access.authorization.as_ref()?;
        let expressions = self.expressions.iter().map(Option::as_ref);
        Some((authorization.rules.iter().zip(expressions), authorization))
    }
}

/// Compiles an expression, and proves that it sees only what is there.
fn expression(text: &str) -> Result<Program, String> {
    let program = Program::compile(text).map_err(|errors| {
        let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
        // What could have stood there instead is nearly every token of the language.
        let first = first.split_once(" expecting ").map_or(first, |(first, _)| first);
        format!(
            "is not CEL: {}",
            first.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ")
        )
    })?;
    if !BINDING.iter().any(|call| text.contains(call)) {
        let references = program.references();
        let mut unknown: Vec<_> =
            references.variables().into_iter().filter(|name| !VARIABLES.contains(name)).collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(format!("unknown variable {name:?}: expected one of {}", VARIABLES.join(", ")));
        }
    }
    Ok(program)
}

/// Proves that an authorization rule's expression can be compiled.
///
/// # Errors
/// Why it cannot.
pub fn check_access_expression(text: &str) -> Result<(), String> {
    expression(text).map(drop)
}
