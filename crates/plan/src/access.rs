//! SecurityPolicy: what callers of a rule have to prove. A policy that cannot be served as written breaks the rules that it is about:
//! without it they would let everybody in.

mod api_keys;
mod curve;
mod rules;
mod tokens;

use std::collections::BTreeMap;

use tollgate_config::bundle::{self, Access, HandedOver};
use tollgate_config::{header_name, is_gateway_owned};
use tollgate_manifest::SecurityPolicySpec;

use crate::findings::{Findings, ObjectId};
use crate::gateway::Origin;
use crate::grant::SECURITY;
use crate::index::{Index, Item};
use crate::target::{Policies, Reach, Several, Targets};

/// What a rule asks whose policy cannot be served: no policy has this name.
const UNKNOWN: &str = "unknown";

type Written<'a> = Item<'a, SecurityPolicySpec>;

/// Every SecurityPolicy, resolved.
pub(crate) struct AccessPolicies<'a> {
    policies: Policies<'a, SecurityPolicySpec>,
    resolved: BTreeMap<ObjectId, Result<Access, String>>,
}

/// What a rule asks of callers.
pub(crate) struct Asked {
    /// By its name in the bundle.
    pub(crate) access: Option<String>,
    /// Why the rule must not be served.
    pub(crate) broken: Option<String>,
}

impl<'a> AccessPolicies<'a> {
    /// Resolves every policy.
    pub(crate) fn resolve(index: &'a Index<'a>, findings: &mut Findings) -> Self {
        let targets = |spec: &'a SecurityPolicySpec| Targets {
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
            selectors: &spec.target_selectors,
        };
        let all = index.security_policies.iter();
        let policies = Policies::attach(
            index,
            (SECURITY, all),
            targets,
            (Reach::GatewaysAndRoutes, Several::Oldest),
            findings,
        );
        let all = index.security_policies.iter();
        let resolved =
            all.map(|policy| (policy.id.clone(), Policy::new(index, policy, findings).access())).collect();
        Self { policies, resolved }
    }

    /// The policy of the Gateway or listener that a route comes through.
    ///
    /// # Errors
    /// When it has mistakes.
    pub(crate) fn of_listener(&self, origin: &Origin<'_>) -> Result<Option<&'a ObjectId>, String> {
        let policy = self.policies.effective(origin.gateway, &origin.listener.name)?;
        Ok(policy.map(|policy| &policy.id))
    }

    /// What holds for a rule: the policy of the rule, else of its route, else of where the route is attached.
    pub(crate) fn of_rule(
        &self,
        route: &ObjectId,
        rule: Option<&str>,
        gateway: &Result<Option<&ObjectId>, String>,
    ) -> Asked {
        let held = self.policies.of_route(route, rule).and_then(|own| match own {
            Some(policy) => Ok(Some(&policy.id)),
            None => gateway.clone(),
        });
        let policy = match held {
            Ok(Some(policy)) => policy,
            Ok(None) => return Asked { access: None, broken: None },
            Err(reason) => return Asked { access: Some(UNKNOWN.to_owned()), broken: Some(reason) },
        };
        match self.resolved.get(policy) {
            Some(Ok(access)) if *access == Access::default() => Asked { access: None, broken: None },
            Some(Ok(_)) => Asked { access: Some(full_name(policy)), broken: None },
            Some(Err(reason)) => {
                Asked { access: Some(full_name(policy)), broken: Some(format!("{policy}: {reason}")) }
            }
            None => {
                Asked { access: Some(UNKNOWN.to_owned()), broken: Some(format!("{policy} is not known")) }
            }
        }
    }

    /// Those of `policies` that some rule names, as they stand in the bundle.
    pub(crate) fn into_bundle(
        self,
        routes: &[bundle::Route],
        plain_routes: &[bundle::PlainRoute],
    ) -> BTreeMap<String, Access> {
        let of_models = routes.iter().flat_map(|route| &route.rules).map(|rule| &rule.access);
        let of_plain = plain_routes.iter().flat_map(|route| &route.rules).map(|rule| &rule.access);
        let named: std::collections::BTreeSet<&String> = of_models.chain(of_plain).flatten().collect();
        let resolved = self.resolved.into_iter().map(|(id, access)| (full_name(&id), access));
        resolved
            .filter(|(name, _)| named.contains(name))
            .filter_map(|(name, it)| Some((name, it.ok()?)))
            .collect()
    }
}

fn full_name(id: &ObjectId) -> String {
    format!("{}/{}", id.namespace, id.name)
}

/// A policy that is being resolved.
struct Policy<'a, 'f> {
    index: &'a Index<'a>,
    item: &'a Written<'a>,
    findings: &'f mut Findings,
    /// The first mistake.
    broken: Option<String>,
}

impl<'a, 'f> Policy<'a, 'f> {
    fn new(index: &'a Index<'a>, item: &'a Written<'a>, findings: &'f mut Findings) -> Self {
        Self { index, item, findings, broken: None }
    }

    fn access(mut self) -> Result<Access, String> {
        let spec = self.item.spec;
        if spec.api_key_auth.is_none() && spec.jwt.is_none() && spec.authorization.is_none() {
            self.warning(
                "spec",
                "has no effect: it lets everybody in, also where the Gateway's own policy would not",
            );
        }
        let access = Access {
            api_keys: spec.api_key_auth.as_ref().map(|written| self.api_keys(written)),
            jwt: spec.jwt.as_ref().map(|written| self.jwt(written)),
            authorization: spec.authorization.as_ref().map(|written| self.authorization(written)),
            handed_over: HandedOver::default(),
        };
        self.broken.map_or(Ok(access), Err)
    }

    /// Tells what is wrong at `path`, for which the policy cannot be served.
    fn mistake(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let message = message.into();
        self.findings.error(&self.item.id, path, message.clone());
        self.broken.get_or_insert(message);
    }

    fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.warning(&self.item.id, path, message);
    }

    /// A header that is read, in lower case.
    fn header(&mut self, path: &str, name: &str) -> Option<String> {
        match header_name(name) {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(message) => {
                self.mistake(path, message);
                None
            }
        }
    }

    /// A header that is set.
    fn own_header(&mut self, path: &str, name: &str) -> Option<String> {
        let name = self.header(path, name)?;
        if is_gateway_owned(&name) {
            self.mistake(path, "is a header of the gateway itself");
            return None;
        }
        Some(name)
    }

    /// The value of an annotation without the white space around it.
    fn annotation(&self, name: &str) -> Option<&'a str> {
        self.item.metadata.annotations.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}
